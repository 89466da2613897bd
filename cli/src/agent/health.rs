//! What the agent says of a network.

use serde::{Deserialize, Serialize};

/// The state of a network. Keys of newer agents are skipped, those of older ones are empty.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Health {
    /// The network's ID.
    pub(crate) id: Option<String>,
    /// What the agent is at: `watching` once all is as it should be.
    pub(crate) state: String,
    /// Why it is there.
    pub(crate) reason: Option<String>,
    /// Since when it has been there (RFC 3339).
    pub(crate) since: Option<String>,
    /// The engine.
    pub(crate) engine: Engine,
    /// The name of the device that leads to the other nodes.
    pub(crate) device: Option<String>,
    /// The device's, in bytes.
    pub(crate) mtu: Option<u32>,
    /// The address that this node sends from.
    pub(crate) local: Option<String>,
    /// The node's blocks.
    pub(crate) blocks: Vec<String>,
    /// The other nodes.
    pub(crate) peers: Vec<Peer>,
    /// Nodes whose removal is held back, as too many went at once.
    pub(crate) held: Vec<String>,
}

/// The agent's connection to the engine.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Engine {
    /// Whether it answers.
    pub(crate) up: bool,
    /// Since when what is known may have changed (RFC 3339).
    pub(crate) stale_since: Option<String>,
    /// Why it is not reached.
    pub(crate) error: Option<String>,
}

/// Another node, as this one's kernel knows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Peer {
    /// Its name.
    pub(crate) name: String,
    /// Where packets to it are sent; empty where nowhere.
    pub(crate) address: Option<String>,
    /// Its blocks of addresses.
    pub(crate) blocks: Vec<String>,
    /// Of its device, in bytes.
    pub(crate) mtu: Option<u32>,
    /// `ok`, or what is wrong with it.
    pub(crate) state: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

impl Health {
    /// Whether the agent will not take part until something is changed.
    pub(crate) fn is_refused(&self) -> bool {
        ["conflict", "refused"].contains(&self.state.as_str())
    }

    /// The state with its reason.
    pub(crate) fn told(&self) -> String {
        match &self.reason {
            Some(reason) => format!("{}: {reason}", self.state),
            None => self.state.clone(),
        }
    }
}

impl Peer {
    /// Whether packets get there, as far as this node can say.
    pub(crate) fn is_ok(&self) -> bool {
        self.state == "ok"
    }
}
