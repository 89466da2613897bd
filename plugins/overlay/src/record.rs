//! What an engine holds of a network: the records that its nodes share.
//!
//! ```text
//! config             Network   written once, when the network is created
//! blocks/SUBNET      Claim     a node's own; made by a transaction, without a lease
//! nodes/NAME         Record    put by that node, on change; without a lease
//! alive/NAME                   with a lease; nothing but `cleat node ls` depends on it
//! ```
//!
//! Keys that a reader does not know are ignored, so that nodes of several versions can share a network.

mod check;

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::networks;

pub use check::{LONGEST, block_key, block_of_key, is_node_name};

/// A network, as all its nodes know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// A random UUID, which tells two networks of one name apart, and a store that was made anew from the one before.
    pub id: String,
    /// The addresses of all members on all nodes: one prefix a family.
    #[serde(with = "networks")]
    pub prefixes: Vec<IpNetwork>,
    /// The length of a node's block in the prefix of the same place.
    #[serde(rename = "blockLengths")]
    pub block_lengths: Vec<u8>,
    /// How packets get from node to node.
    pub backend: Backend,
    /// VXLAN network identifier (RFC 7348), 1 to 2^24 - 1.
    pub vni: u32,
    /// The UDP port of the nodes.
    pub port: u16,
    /// The largest MTU of the device on any node, in bytes; 0: whatever the underlay lets through.
    #[serde(default)]
    pub mtu: u32,
}

/// How packets get from node to node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// RFC 7348.
    #[default]
    Vxlan,
    /// Encrypted.
    Wireguard,
}

/// Whose a block is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The node's name.
    pub node: String,
    /// Its machine ID.
    pub machine: String,
}

/// A node, as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The machine ID, which tells two nodes of one name apart.
    pub machine: String,
    /// Where packets to the node are sent; at most one a family. Packets that come from elsewhere are none of the node's.
    pub addresses: Vec<IpAddr>,
    /// The device's, with [`Backend::Vxlan`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// The public key in base64, with [`Backend::Wireguard`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The node's blocks, and earlier ones that containers still have addresses of.
    #[serde(with = "networks")]
    pub blocks: Vec<IpNetwork>,
    /// The device's MTU, in bytes.
    pub mtu: u32,
    /// The agent's version.
    pub version: String,
    /// Counts the changes that the node itself made.
    pub incarnation: u64,
}

/// A MAC address. As text: six pairs of hexadecimal digits with colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.map(|byte| format!("{byte:02x}")).join(":"))
    }
}

impl Serialize for Mac {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let pairs: Option<Vec<u8>> = text
            .split(':')
            .map(|pair| (pair.len() == 2).then(|| u8::from_str_radix(pair, 16).ok()).flatten())
            .collect();
        let bytes = pairs.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a MAC address")))
    }
}
