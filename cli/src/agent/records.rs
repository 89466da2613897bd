//! The nodes of a network, as `cleat-overlay nodes` prints them from the engine.

use std::net::IpAddr;

use serde::Deserialize;

/// All nodes.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Nodes {
    /// In the order of their names.
    pub(crate) nodes: Vec<Node>,
}

/// A node's record. Keys of newer agents are skipped.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Node {
    /// The node's name.
    pub(crate) name: String,
    /// Whether its agent has been heard of in the last minutes.
    pub(crate) alive: bool,
    /// Since when it has been heard of without a break (RFC 3339).
    pub(crate) since: Option<String>,
    /// The node's machine ID.
    pub(crate) machine: String,
    /// Where packets to the node are sent.
    pub(crate) addresses: Vec<IpAddr>,
    /// The hardware address of its device.
    pub(crate) mac: Option<String>,
    /// Its blocks of addresses.
    pub(crate) blocks: Vec<String>,
    /// Of its device, in bytes.
    pub(crate) mtu: u32,
    /// The agent's.
    pub(crate) version: String,
    /// Counts the changes that the node made to its record.
    pub(crate) incarnation: u64,
}
