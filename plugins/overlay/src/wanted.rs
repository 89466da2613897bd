//! What a node's kernel is to have of a network: plain values, which `kernel` compares with what there is.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::key::{PrivateKey, PublicKey};
use crate::networks;
use crate::record::{Backend, Mac};

/// The protocol number of the agent's routes (`RTA_PROTOCOL`; those of known programs are in iproute2's `rt_protos`). Only
/// routes with it are ever removed.
pub const ROUTE_PROTOCOL: u8 = 76;

/// All of a network on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The device that leads to the other nodes.
    pub device: Device,
    /// The other nodes by name.
    pub peers: BTreeMap<String, Peer>,
    /// The network's prefixes: packets to them that no route leads on are dropped, and do not leave by the default route.
    pub prefixes: Vec<IpNetwork>,
}

/// The device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// What kind of device it is.
    pub backend: Backend,
    /// VXLAN network identifier.
    pub vni: u32,
    /// The UDP port.
    pub port: u16,
    /// The address to send from.
    pub local: IpAddr,
    /// The interface with that address, by index.
    pub underlay: u32,
    /// The device's own; with [`Backend::Wireguard`] it has none.
    pub mac: Mac,
    /// The device's own, with [`Backend::Wireguard`].
    pub key: Option<PrivateKey>,
    /// In bytes.
    pub mtu: u32,
    /// The node's blocks, the present ones first. The device has the network's own address of each, as a host address
    /// (10.201.7.0/32): from it the node itself sends to members on other nodes.
    pub blocks: Vec<IpNetwork>,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Where to send to.
    pub address: IpAddr,
    /// What its device is known by.
    #[serde(flatten)]
    pub identity: Identity,
    /// Its blocks. With [`Backend::Vxlan`] the network's own address of each is the gateway of the route to it.
    #[serde(with = "networks")]
    pub blocks: Vec<IpNetwork>,
}

/// What a device is known by on the wire. No two nodes of a network have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Identity {
    /// With [`Backend::Vxlan`].
    Mac(Mac),
    /// With [`Backend::Wireguard`].
    Key(PublicKey),
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => write!(formatter, "MAC address {mac}"),
            Self::Key(key) => write!(formatter, "public key {key}"),
        }
    }
}
