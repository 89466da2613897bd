//! Chooses the overlay network that is meant, and joins what the engine and this host's agent know of its nodes.

use std::time::SystemTime;

use cni::{NetworkList, NetworkName};
use serde_json::{Value, json};

use crate::age;
use crate::agent::{self, Answer, Health, Node, Own, Program};
use crate::environment::Environment;
use crate::error::Error;
use crate::network::overlay;
use crate::output::{self, BAD, Cell, FAINT, GOOD};
use crate::suggestion::nearest;

/// The overlay network of a name, or of a network that is a part of it; without a name the only one.
pub(super) fn choose(
    environment: &Environment,
    given: Option<&str>,
    doing: &str,
) -> Result<NetworkName, Error> {
    let lists = NetworkList::all(&environment.folder).map(|(lists, _)| lists).unwrap_or_default();
    let refuse = |reason: String, cure: String| Err(Error::refused(doing, reason, cure));
    let mut all: Vec<NetworkName> = lists.iter().filter_map(overlay).collect();
    all.sort();
    all.dedup();
    let names: Vec<&str> = all.iter().map(NetworkName::as_str).collect();
    if let Some(given) = given {
        if let Some(list) = lists.iter().find(|list| list.name.as_str() == given) {
            let of_one =
                || refuse(format!("network {given} is of this host alone"), "it has no nodes".to_owned());
            return overlay(list).map_or_else(of_one, Ok);
        }
        let name = NetworkName::new(given).map_err(Error::contract(doing))?;
        // Its conflist may have gone.
        if all.contains(&name) || agent::file(&name).exists() {
            return Ok(name);
        }
        let cure = match nearest(given, names.iter().copied()) {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => format!("`cleat network join {given} --engine …` takes it in"),
        };
        return refuse(format!("this host is on no overlay network {given}"), cure);
    }
    match all.as_slice() {
        [one] => Ok(one.clone()),
        [] => refuse(
            "this host is on no overlay network".to_owned(),
            "`cleat network join` takes it into one, `cleat network create -d overlay` makes one".to_owned(),
        ),
        _ => refuse(format!("this host is on {}", names.join(", ")), "name one of them".to_owned()),
    }
}

/// A node, as the engine and this host's agent know it.
pub(super) struct View {
    pub(super) node: Node,
    /// Whether it is this host.
    pub(super) is_own: bool,
    /// As this host's agent says; `unknown` where it does not.
    pub(super) state: String,
    pub(super) reason: Option<String>,
}

/// The nodes of a network, in the order of their names. The agent of this host need not run.
pub(super) fn nodes(network: &NetworkName, doing: &str) -> Result<Vec<View>, Error> {
    let nodes = Program::find(doing)?.nodes(network).inspect_err(|_| {
        output::tell(&format!("cleat: `cleat network inspect {network}` shows what this host knows of it\n"));
    })?;
    let own = Own::of(network);
    let health = match agent::health(network) {
        Ok(Answer::Health(health)) => Some(health),
        // What is wrong with the agent is for `cleat check` to say.
        _ => None,
    };
    let view = |node: Node| View::new(node, &own, health.as_deref());
    let mut all: Vec<View> = nodes.nodes.into_iter().map(view).collect();
    all.sort_by(|one, other| one.node.name.cmp(&other.node.name));
    Ok(all)
}

impl View {
    fn new(node: Node, own: &Own, health: Option<&Health>) -> Self {
        let is_own = own.is(&node);
        let peer = health.and_then(|health| health.peers.iter().find(|peer| peer.name == node.name));
        let (state, reason) = match (health, peer) {
            (Some(health), _) if is_own => {
                (if health.state == "watching" { "ok" } else { &health.state }, health.reason.clone())
            }
            (_, Some(peer)) => (peer.state.as_str(), peer.reason.clone()),
            _ => ("unknown", None),
        };
        Self { state: state.to_owned(), reason, is_own, node }
    }

    /// The state as a cell of a table.
    pub(super) fn cell(&self) -> Cell {
        let style = match self.state.as_str() {
            "ok" => GOOD,
            "unknown" => FAINT,
            _ => BAD,
        };
        Cell::styled(&*self.state, style)
    }

    /// Whether the node's agent is heard of, and for how long.
    pub(super) fn seen(&self) -> String {
        let since = self.node.since.as_deref().and_then(|since| humantime::parse_rfc3339(since).ok());
        match since.filter(|since| *since <= SystemTime::now()) {
            _ if !self.node.alive => "no".to_owned(),
            Some(since) => format!("for {}", age::since(since)),
            None => "yes".to_owned(),
        }
    }

    /// The addresses that others send to.
    pub(super) fn addresses(&self) -> String {
        let addresses: Vec<String> = self.node.addresses.iter().map(ToString::to_string).collect();
        addresses.join(", ")
    }

    /// All of it as JSON.
    pub(super) fn object(&self, network: &NetworkName) -> Value {
        let node = &self.node;
        json!({"network": network.as_str(), "name": node.name, "own": self.is_own, "addresses": node.addresses,
            "blocks": node.blocks, "state": self.state, "reason": self.reason, "alive": node.alive,
            "since": node.since, "version": node.version, "mtu": node.mtu, "mac": node.mac, "machine": node.machine,
            "incarnation": node.incarnation})
    }
}
