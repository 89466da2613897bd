//! A running container whose networks are to change, whichever runtime it is of and however many networks it is on.

use std::net::IpAddr;
use std::path::PathBuf;

use cni::{ContainerId, PortRange, case_blind};
use registry::{DEFAULT_STATE_DIR, Registry};
use serde_json::Value;

use crate::endpoint::{self, Endpoint, LINK_ENV, Link};
use crate::error::Error;
use crate::inventory::{Attached, Inventory};
use crate::mounts;
use crate::runs::{self, Run};
use crate::runtime::Runtime;
use crate::spec::{HOST, Joined, NONE, Networks, Spec};

/// Docker's words.
const ON_HOST: &str = "container cannot be disconnected from host network or connected to host network";

/// A container.
pub(super) struct Container<'a> {
    /// Its ID.
    pub(super) id: ContainerId,
    /// Its namespace; empty where nobody knows of any.
    pub(super) netns: PathBuf,
    /// The networks that it is on.
    pub(super) attachments: Vec<&'a Attached>,
    /// What `cleat run` keeps of it, and with what it was started.
    pub(super) run: Option<(Run, Spec)>,
}

impl<'a> Container<'a> {
    /// The container of a name or an ID; one that has the host's network has no networks of its own to change.
    pub(super) fn find(inventory: &'a Inventory, container: &str, doing: &str) -> Result<Self, Error> {
        let attachments = match inventory.container(container) {
            Err(Error::NoContainer { .. }) => Vec::new(),
            found => found?,
        };
        let run = match attachments.first() {
            Some(attached) => runs::running(attached.attachment.container_id.as_str())?,
            None => runs::running(container)?,
        };
        // With what another version started it is told by its attachments alone.
        let run = run.and_then(|run| run.record.spec().ok().map(|spec| (run, spec)));
        if run.as_ref().is_some_and(|(_, spec)| spec.is_on_host()) {
            return Err(Error::Refused { doing: doing.to_owned(), reason: ON_HOST.to_owned(), cure: None });
        }
        let alive = attachments.iter().find(|known| !known.is_gone() && !known.netns.as_os_str().is_empty());
        let netns = match (alive, &run) {
            (Some(known), _) => known.netns.clone(),
            (None, Some((run, _))) => run.netns().unwrap_or_default(),
            (None, None) => PathBuf::new(),
        };
        let id = match (attachments.first(), &run) {
            (Some(attached), _) => attached.attachment.container_id.clone(),
            (None, Some((run, _))) => run.container_id()?,
            (None, None) => return Err(Error::NoContainer { container: container.to_owned() }),
        };
        Ok(Self { id, netns, attachments, run })
    }

    /// The name that it has on other networks, unless that is but its ID.
    pub(super) fn name(&self) -> Option<String> {
        if let Some((run, _)) = &self.run {
            return run.record.name.clone();
        }
        let names = self.attachments.iter().map(|attached| (attached.name(), attached.short_id()));
        names.into_iter().find_map(|(name, short)| (name != short).then_some(name))
    }

    fn member(&self) -> Option<&registry::Member> {
        self.attachments.iter().find_map(|attached| attached.member.as_ref())
    }

    /// Its host name.
    pub(super) fn hostname(&self) -> String {
        let told = self.run.as_ref().and_then(|(_, spec)| spec.hostname.clone());
        let told = told.or_else(|| self.member().map(|member| member.hostname.clone()));
        told.unwrap_or_else(|| registry::short_id(self.id.as_str()))
    }

    /// The ports that it exposes.
    pub(super) fn exposed(&self) -> Vec<PortRange> {
        self.member().map(registry::Member::ports).unwrap_or_default()
    }

    /// What it tells a network of itself.
    pub(super) fn endpoint<'b>(
        &'b self,
        (name, hostname, exposed): (&'b Option<String>, &'b str, &'b [PortRange]),
        joined: &'b Joined,
    ) -> Endpoint<'b> {
        if let Some((_, spec)) = &self.run {
            return Endpoint { name: name.as_deref(), ..spec.endpoint(hostname, joined, false, false) };
        }
        Endpoint {
            name: name.as_deref(),
            aliases: &joined.aliases,
            links: joined.links.as_deref().unwrap_or_default(),
            addresses: joined.addresses.clone(),
            expose: exposed,
            gw_priority: joined.gw_priority,
            ..Endpoint::of_host(hostname)
        }
    }

    /// What it wants to be published, as far as `cleat run` knows: by the numbers that it had last, or where those are taken
    /// by now, as it was asked for.
    pub(super) fn wanted_ports(&self) -> Result<Vec<Value>, Error> {
        let Some((run, spec)) = &self.run else { return Ok(Vec::new()) };
        let kept = run.networks()?.and_then(|networks| networks.port_mappings);
        Ok(kept.into_iter().chain(spec.port_mappings()).collect())
    }

    /// Keeps with a container of `cleat run` on which networks it is, for when it is started again. The container is held.
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

    /// Has a container of `cleat run` see the hosts file that the plugins keep for it by now.
    pub(super) fn show_hosts(&self, list: &cni::NetworkList) -> Result<(), Error> {
        let (Some((run, _)), Some(plugin)) = (&self.run, endpoint::plugin(list, LINK_ENV)) else {
            return Ok(());
        };
        let Some(process) = run.record.process else { return Ok(()) };
        let state = case_blind::get(plugin, "stateDir").and_then(Value::as_str);
        let folder = Registry::at(state.unwrap_or(DEFAULT_STATE_DIR)).container_dir(self.id.as_str());
        mounts::show_hosts(process, &folder.join("hosts"))
    }
}

/// What `network connect` asks of the network.
pub(super) fn joined(
    network: &str,
    aliases: &[String],
    addresses: impl Iterator<Item = IpAddr>,
    links: &[Link],
    gw_priority: i64,
) -> Joined {
    Joined {
        network: network.to_owned(),
        aliases: aliases.to_vec(),
        addresses: addresses.collect(),
        links: Some(links.to_vec()),
        gw_priority,
    }
}

/// Refuses the networks that are none.
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
