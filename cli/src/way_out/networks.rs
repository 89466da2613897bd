//! The networks of one container, by preference.

use std::cmp::Reverse;
use std::path::Path;

use cni::cache::Entry;
use cni::{Attachment, ContainerId, NetworkList, NetworkName};
use netlink::Namespace;

use super::routes;
use super::standing::Standing;
use crate::container_id::attachment;
use crate::error::Error;
use crate::runtime::Runtime;

/// Puts the default routes of a container in the order of its networks.
pub(crate) fn put_in_order(
    runtime: &Runtime<'_>,
    container_id: &ContainerId,
    netns: &Path,
) -> Result<(), Error> {
    let _hold = runtime.hold(container_id)?;
    Networks::read(runtime, container_id, netns)?.order_routes()
}

/// The networks of one container, the preferred one first. The container is held.
pub(crate) struct Networks<'a> {
    pub(super) runtime: &'a Runtime<'a>,
    pub(super) netns: &'a Path,
    pub(super) all: Vec<Standing>,
}

impl<'a> Networks<'a> {
    /// Those that the cache knows of a container, whose namespace is `netns`.
    pub(crate) fn read(
        runtime: &'a Runtime<'a>,
        container_id: &ContainerId,
        netns: &'a Path,
    ) -> Result<Self, Error> {
        let entries =
            runtime.cache.entries_of(container_id).map_err(Error::contract("read the result cache"))?;
        let standing = |entry: Entry| {
            let attachment = attachment(&entry.network, container_id.as_str(), &entry.ifname).ok()?;
            let list = NetworkList::from_slice(&entry.config).ok()?;
            let since = runtime.cache.written(&attachment);
            Some(Standing { attachment, entry, list, since })
        };
        let mut all: Vec<Standing> = entries.into_iter().filter_map(standing).collect();
        // The clock of a file system ticks every few milliseconds: interfaces of one tick go by their numbers.
        all.sort_by_key(|standing| {
            let name = standing.attachment.ifname.as_str();
            (Reverse(standing.priority()), standing.since, name.len(), name.to_owned())
        });
        Ok(Self { runtime, netns, all })
    }

    /// Whether the container is on a network.
    pub(crate) fn has(&self, network: &NetworkName) -> bool {
        self.all.iter().any(|standing| standing.attachment.network == *network)
    }

    /// Takes networks off the list, as the container is about to leave them.
    pub(crate) fn without(mut self, leaving: &[&Attachment]) -> Self {
        self.all.retain(|standing| !leaving.contains(&&standing.attachment));
        self
    }

    /// Puts the container's default routes in their order.
    pub(crate) fn order_routes(&self) -> Result<(), Error> {
        if self.all.len() < 2 {
            return Ok(());
        }
        let namespace = Namespace::open(self.netns)
            .map_err(|source| Error::Netns { given: self.netns.to_owned(), source })?;
        routes::order(&namespace, &self.all)
    }
}
