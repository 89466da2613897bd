//! The networks of a container of `cleat run`, which are kept once they differ from those of its options.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::endpoint::Link;

/// The file `networks.json`, which is made when the container is first connected or disconnected. It then replaces the networks
/// of the container's options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Networks {
    /// In the order in which they were joined.
    pub(crate) joined: Vec<Joined>,
    /// The published ports, with their host ports, while no network of the container can publish them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port_mappings: Option<Value>,
}

/// One network, with the container's options for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Joined {
    /// The network's name.
    pub(crate) network: String,
    /// Further names of the container there.
    #[serde(default)]
    pub(crate) aliases: Vec<String>,
    /// Addresses that were asked for.
    #[serde(default)]
    pub(crate) addresses: Vec<IpAddr>,
    /// Links; `None` means those of its options, each on the network of its source.
    #[serde(default)]
    pub(crate) links: Option<Vec<Link>>,
    /// `--gw-priority`.
    #[serde(default)]
    pub(crate) gw_priority: i64,
}
