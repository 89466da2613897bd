//! A running container, of any runtime, that is to be connected to a network or disconnected from one.

use std::path::PathBuf;

use cni::{ContainerId, NetworkList, PortRange};
use registry::{Member, short_id};
use serde_json::Value;

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::inventory::{Attached, Inventory};
use crate::mounts;
use crate::registered::registry_folder;
use crate::runs::{self, Run};
use crate::runtime::Runtime;
use crate::spec::{HOST, Joined, NONE, Networks, Spec};

/// Docker's words.
const ON_HOST: &str = "container cannot be disconnected from host network or connected to host network";

/// A container.
pub(super) struct Container<'a> {
    /// Its ID.
    pub(super) id: ContainerId,
    /// Its namespace; empty where none is known.
    pub(super) netns: PathBuf,
    /// The networks that it is on.
    pub(super) attachments: Vec<&'a Attached>,
    /// Its record and its options, if it is one of `cleat run`.
    run: Option<(Run, Spec)>,
    /// Its name, unless that is made of its ID.
    name: Option<String>,
    hostname: String,
    exposed: Vec<PortRange>,
}

impl<'a> Container<'a> {
    /// The container of a name or an ID. Refuses one with the host's network.
    pub(super) fn find(inventory: &'a Inventory, container: &str, doing: &str) -> Result<Self, Error> {
        let attachments = match inventory.container(container) {
            Err(Error::NoContainer { .. }) => Vec::new(),
            found => found?,
        };
        let run = match attachments.first() {
            Some(attached) => runs::running(attached.attachment.container_id.as_str())?,
            None => runs::running(container)?,
        };
        // Where another version started it with options that are not known here, its attachments have to do.
        let run = run.and_then(|run| run.record.spec().ok().map(|spec| (run, spec)));
        if run.as_ref().is_some_and(|(_, spec)| spec.is_on_host()) {
            return Err(Error::Refused { doing: doing.to_owned(), reason: ON_HOST.to_owned(), cure: None });
        }
        let alive = attachments.iter().find(|known| !known.is_gone() && !known.netns.as_os_str().is_empty());
        let netns = alive.map(|known| known.netns.clone()).or_else(|| run.as_ref()?.0.netns());
        let id = match (attachments.first(), &run) {
            (Some(attached), _) => attached.attachment.container_id.clone(),
            (None, Some((run, _))) => run.container_id()?,
            (None, None) => return Err(Error::NoContainer { container: container.to_owned() }),
        };
        let name = match &run {
            Some((run, _)) => run.record.name.clone(),
            None => attachments.iter().map(|it| it.name()).find(|name| *name != short_id(id.as_str())),
        };
        let member = attachments.iter().find_map(|attached| attached.member.as_ref());
        let of_run = run.as_ref().and_then(|(_, spec)| spec.hostname.clone());
        let hostname = of_run.or_else(|| member.map(|member| member.hostname.clone()));
        let hostname = hostname.unwrap_or_else(|| short_id(id.as_str()));
        let exposed = member.map(Member::ports).unwrap_or_default();
        Ok(Self { id, netns: netns.unwrap_or_default(), attachments, run, name, hostname, exposed })
    }

    /// What is passed to the plugins of a network.
    pub(super) fn endpoint<'b>(&'b self, joined: &'b Joined) -> Endpoint<'b> {
        let endpoint = match &self.run {
            Some((_, spec)) => spec.endpoint(&self.hostname, joined, false, false),
            None => Endpoint {
                aliases: &joined.aliases,
                links: joined.links.as_deref().unwrap_or_default(),
                addresses: joined.addresses.clone(),
                expose: &self.exposed,
                gw_priority: joined.gw_priority,
                ..Endpoint::of_host(&self.hostname)
            },
        };
        Endpoint { name: self.name.as_deref(), ..endpoint }
    }

    /// The ports to publish, for a container of `cleat run`: with the host ports that it had last, or where those are in use,
    /// with those of its options.
    pub(super) fn wanted_ports(&self) -> Result<Vec<Value>, Error> {
        let Some((run, spec)) = &self.run else { return Ok(Vec::new()) };
        let kept = run.networks()?.and_then(|networks| networks.port_mappings);
        Ok(kept.into_iter().chain(spec.port_mappings()).collect())
    }

    /// Changes the networks on which a container of `cleat run` is started again. The caller has its lock.
    pub(super) fn keep_networks(
        &self,
        runtime: &Runtime<'_>,
        change: impl FnOnce(&mut Networks),
    ) -> Result<(), Error> {
        let Some((run, spec)) = &self.run else { return Ok(()) };
        let mut networks = match run.networks()? {
            Some(networks) => networks,
            None => Networks { joined: spec.networks(runtime)?, port_mappings: None },
        };
        change(&mut networks);
        run.write_networks(&networks)
    }

    /// Mounts the present hosts file into a container of `cleat run`.
    pub(super) fn show_hosts(&self, list: &NetworkList) -> Result<(), Error> {
        let process = self.run.as_ref().and_then(|(run, _)| run.record.process);
        let Some((process, folder)) = process.zip(registry_folder(list, &self.id)) else { return Ok(()) };
        let hosts = folder.join("hosts");
        mounts::show_hosts(process, &hosts).map_err(mounts::failed(&hosts))
    }
}

/// Refuses `host` and `none`.
pub(super) fn refuse_built_in(network: &str, doing: &str) -> Result<(), Error> {
    let reason = match network {
        HOST => ON_HOST,
        NONE => {
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        }
        _ => return Ok(()),
    };
    Err(Error::Refused { doing: doing.to_owned(), reason: reason.to_owned(), cure: None })
}
