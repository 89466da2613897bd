//! What a network's task is doing, as health and metrics show it.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use ipnetwork::IpNetwork;
use serde::Serialize;

use crate::networks;

/// How a network is on this node. The JSON is that of `GET /networks/NET`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    /// The network's name.
    pub(crate) network: String,
    /// Its ID, once it is known.
    pub(crate) id: Option<String>,
    /// Where the task is.
    pub(crate) state: State,
    /// Why it is not further.
    pub(crate) reason: Option<String>,
    /// Since when it is there (RFC 3339).
    pub(crate) since: String,
    /// The engine.
    pub(crate) engine: EngineStatus,
    /// The device's name.
    pub(crate) device: Option<String>,
    /// The device's MTU, in bytes.
    pub(crate) mtu: Option<u32>,
    /// The address that packets are sent from.
    pub(crate) local: Option<IpAddr>,
    /// The node's blocks.
    #[serde(with = "networks")]
    pub(crate) blocks: Vec<IpNetwork>,
    /// The other nodes.
    pub(crate) peers: Vec<PeerStatus>,
    /// The names of those that are gone from the engine and kept in the kernel until somebody agrees.
    pub(crate) held: Vec<String>,
    /// How often something was put back that others had taken from the kernel.
    pub(crate) repairs: u64,
    /// Whether LOCAL was done: what the node knew from before is in the kernel.
    #[serde(skip)]
    pub(crate) local_done: bool,
    /// Whether the engine's list was in the kernel at least once.
    #[serde(skip)]
    pub(crate) listed: bool,
    /// When the kernel last agreed with the engine.
    #[serde(skip)]
    pub(crate) last_sync: Option<SystemTime>,
    /// How long it took to write the last difference to the kernel.
    #[serde(skip)]
    pub(crate) program_time: Duration,
    /// Claims and records that contradict this node's.
    #[serde(skip)]
    pub(crate) conflicts: u64,
    /// Calls to the engine that failed.
    #[serde(skip)]
    pub(crate) engine_errors: u64,
}

/// Where a task is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// It puts into the kernel what the node knows from before.
    #[default]
    Local,
    /// It claims its block.
    Claiming,
    /// It publishes its record.
    Publishing,
    /// All is well.
    Watching,
    /// Another node has its block, name, address or MAC.
    Conflict,
    /// The network is another one, or cannot be on this node.
    Refused,
    /// The engine does not answer.
    WaitingEngine,
}

/// The engine, as the task sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EngineStatus {
    /// Whether it answers.
    pub(crate) up: bool,
    /// Since when what is known may be stale (RFC 3339).
    pub(crate) stale_since: Option<String>,
    /// The revision that the kernel agrees with.
    pub(crate) revision: i64,
    /// What the last call said that failed.
    pub(crate) error: Option<String>,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PeerStatus {
    /// Its name.
    pub(crate) name: String,
    /// Where packets to it are sent.
    pub(crate) address: Option<IpAddr>,
    /// Its blocks.
    #[serde(with = "networks")]
    pub(crate) blocks: Vec<IpNetwork>,
    /// Its device's MTU, in bytes.
    pub(crate) mtu: u32,
    /// Whether packets get there.
    pub(crate) state: PeerState,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// Whether packets get to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PeerState {
    /// They do.
    Ok,
    /// It is gone from the engine and kept in the kernel.
    Held,
    /// It has no address of the family that this node sends from.
    NoCommonFamily,
    /// Another one has its address, MAC or block.
    Conflict,
    /// The kernel refused it.
    Refused,
}
