//! The networks of one container, by preference.

use std::cmp::Reverse;
use std::path::Path;

use cni::{Attachment, ContainerId, NetworkName};
use netlink::Namespace;

use super::cached::CachedAttachment;
use super::routes;
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

/// The networks of one container, the preferred one first. The caller holds the container.
pub(crate) struct Networks<'a> {
    pub(super) runtime: &'a Runtime<'a>,
    pub(super) netns: &'a Path,
    pub(super) all: Vec<CachedAttachment>,
}

impl<'a> Networks<'a> {
    /// The networks of a container in the cache; `netns` is its namespace.
    pub(crate) fn read(
        runtime: &'a Runtime<'a>,
        container_id: &ContainerId,
        netns: &'a Path,
    ) -> Result<Self, Error> {
        let entries =
            runtime.cache.entries_of(container_id).map_err(Error::contract("read the result cache"))?;
        let cached = |entry| CachedAttachment::of(entry, runtime, netns);
        let mut all: Vec<CachedAttachment> = entries.into_iter().filter_map(cached).collect();
        // The clock of a file system ticks every few milliseconds: interfaces of one tick go by their numbers.
        all.sort_by_key(|cached| {
            let name = cached.attachment.ifname.as_str();
            (Reverse(cached.priority()), cached.since, name.len(), name.to_owned())
        });
        Ok(Self { runtime, netns, all })
    }

    /// Whether the container is on a network.
    pub(crate) fn has(&self, network: &NetworkName) -> bool {
        self.all.iter().any(|cached| cached.attachment.network == *network)
    }

    /// Takes networks off the list, as the container is about to leave them.
    pub(crate) fn without(mut self, leaving: &[&Attachment]) -> Self {
        self.all.retain(|cached| !leaving.contains(&&cached.attachment));
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
