//! Of a container's networks, the one that is its way out and publishes its ports: the one with the highest priority, and
//! of several with one priority, the one that was attached first. So it is with Docker.
//!
//! What the container wants is kept with its attachments, in the runtimes' cache, by keys that no plugin asks for: the
//! priority, and the ports while it is on no network that could publish them. Everything here is done while the container
//! is held, and each step is recorded before it is taken, so that `check` names what a killed process left undone, and
//! `repair` does it.

mod ports;
mod routes;

use std::cmp::Reverse;
use std::path::Path;
use std::time::SystemTime;

use cni::cache::Entry;
use cni::{AddResult, Attachment, ContainerId, IfName, NetworkList, NetworkName, Version};
use netlink::Namespace;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::runtime::{Making, Runtime};

pub(crate) use ports::numbered;

/// Under which key of its capabilities an attachment has its priority.
const PRIORITY: &str = "io.cleat.gwPriority";

/// Puts the default routes of a container in the order of its networks, whoever has just made some of them.
pub(crate) fn put_in_order(
    runtime: &Runtime<'_>,
    container_id: &ContainerId,
    netns: &Path,
) -> Result<(), Error> {
    let _hold = runtime.hold(container_id)?;
    Networks::read(runtime, container_id, netns)?.order_routes()
}

/// What is kept of a priority: nothing of the usual one.
pub(crate) fn priority(priority: i64) -> Option<(String, Value)> {
    (priority != 0).then(|| (PRIORITY.to_owned(), priority.into()))
}

/// The networks of one container, the preferred one first. The container is held.
pub(crate) struct Networks<'a> {
    runtime: &'a Runtime<'a>,
    netns: &'a Path,
    all: Vec<Standing>,
}

/// One network that a container is on.
struct Standing {
    attachment: Attachment,
    entry: Entry,
    list: NetworkList,
    since: Option<SystemTime>,
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
            let attachment = Attachment {
                network: NetworkName::new(entry.network.as_str()).ok()?,
                container_id: container_id.clone(),
                ifname: IfName::new(entry.ifname.as_str()).ok()?,
            };
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

impl Standing {
    fn priority(&self) -> i64 {
        self.capability(PRIORITY).and_then(Value::as_i64).unwrap_or_default()
    }

    fn capability(&self, key: &str) -> Option<&Value> {
        self.entry.capability_args.as_ref().and_then(|capabilities| capabilities.get(key))
    }

    fn result(&self) -> AddResult {
        let value = self.entry.result.as_ref();
        value.and_then(|value| AddResult::parse(value, Version::NEWEST).ok()).unwrap_or_default()
    }

    fn making(&self, netns: &Path) -> Making {
        Making {
            list: self.list.clone(),
            netns: netns.to_owned(),
            args: self.entry.args.clone().unwrap_or_default(),
            capabilities: self.entry.capability_args.clone().unwrap_or_default(),
        }
    }

    /// Keeps a value under a key, or nothing; the attachment stays as old as it was.
    fn keep(&mut self, runtime: &Runtime<'_>, key: &str, value: Option<Value>) -> Result<(), Error> {
        let capabilities = self.entry.capability_args.get_or_insert_with(Map::new);
        let before = match value {
            Some(value) => capabilities.insert(key.to_owned(), value.clone()) == Some(value),
            None => capabilities.remove(key).is_none(),
        };
        if capabilities.is_empty() {
            self.entry.capability_args = None;
        }
        if before {
            return Ok(());
        }
        let doing = format!("keep what {} is to have", self.attachment);
        runtime.cache.amend(&self.attachment, &self.entry).map_err(Error::contract(doing))
    }
}
