//! What `network inspect` shows of an overlay network besides what every network has: its engine, its agent and the other nodes.

use cni::NetworkName;
use serde_json::{Value, json};

use crate::agent::{self, Answer, Conf, Health, Peer};
use crate::output::Table;

/// An overlay network, as this host knows it without asking its engine.
pub(super) struct Wide {
    node: Option<::overlay::Node>,
    conf: Option<Conf>,
    health: Option<Health>,
    /// What is to be said of the agent.
    agent: String,
}

impl Wide {
    /// Reads the files, and asks the agent. What cannot be read is left out: `cleat check` says why.
    pub(super) fn of(network: &NetworkName) -> Self {
        let (health, agent) = match agent::health(network) {
            Ok(Answer::Health(health)) => {
                let told = health.told();
                (Some(*health), told)
            }
            Ok(Answer::NotRunning) => (None, "does not run".to_owned()),
            Ok(Answer::Unknown) => (None, "does not know the network".to_owned()),
            Err(error) => (None, error.to_string()),
        };
        let node = ::overlay::read(network).ok().flatten();
        Self { node, conf: Conf::read(network).ok().flatten(), health, agent }
    }

    /// Names and values.
    pub(super) fn properties(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        if let Some(node) = &self.node {
            pairs.push(("Overlay ID", node.id.clone()));
            pairs.push(("Device", format!("{}, MTU {}", node.device, node.mtu)));
        }
        if let Some(conf) = &self.conf {
            pairs.push(("Engine", conf.engine.endpoints.join(", ")));
        }
        pairs.push(("Agent", self.agent.clone()));
        if let Some(health) = self.health.as_ref().filter(|health| !health.engine.up) {
            let since = health.engine.stale_since.as_deref().unwrap_or("its start");
            pairs.push(("Engine reached", format!("not since {since}")));
        }
        pairs
    }

    /// The other nodes.
    pub(super) fn peers(&self) -> Table {
        let row = |peer: &Peer| {
            [
                peer.name.as_str().into(),
                peer.address.clone().unwrap_or_default().into(),
                peer.blocks.join(", ").into(),
                peer.state.as_str().into(),
                peer.reason.clone().unwrap_or_default().into(),
            ]
        };
        let peers = self.health.iter().flat_map(|health| &health.peers);
        Table::of(["NODE", "ADDRESS", "BLOCK", "STATE", "WHY"], peers.map(row))
    }

    /// Adds to the object of `docker network inspect` what Docker's has of an overlay network, `Peers`, and the rest as `Overlay`.
    /// There are no secrets in it: the agent's file has only their paths.
    pub(super) fn describe(&self, object: &mut Value) {
        let peers = self.health.iter().flat_map(|health| &health.peers);
        let peers = peers.map(|peer| json!({"Name": peer.name, "IP": peer.address}));
        object["Peers"] = peers.collect();
        object["Overlay"] = json!({"Node": self.node, "Engine": self.conf.as_ref().map(|conf| &conf.engine),
            "Agent": self.agent, "Health": self.health});
    }
}
