//! The networks that a container of `cleat run` is to be on, once they differ from those it was started with.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::endpoint::Link;

/// The file `networks.json`: made when the container is first connected or disconnected, and what counts from then on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Networks {
    /// In the order in which they were joined.
    pub(crate) joined: Vec<Joined>,
    /// The ports, with the numbers they have come to have, of a container that has left the network which published them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port_mappings: Option<Value>,
}

/// One network, and what the container asked of it.
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
    /// Links; `None` means those that it was started with, each on the network where its source is.
    #[serde(default)]
    pub(crate) links: Option<Vec<Link>>,
    /// `--gw-priority`.
    #[serde(default)]
    pub(crate) gw_priority: i64,
}
