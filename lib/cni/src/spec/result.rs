//! The result of an ADD, held in the shape of the newest version; `result_version` converts it from and to the others.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// What an ADD set up (specification 1.1.0, "ADD Success").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AddResult {
    /// Interfaces created, on the host (no sandbox) and in the container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    /// Addresses assigned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<Ip>,
    /// Routes of the container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Name servers of the container.
    pub dns: Dns,
}

/// One interface of a result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// The kernel's name for it.
    pub name: String,
    /// The hardware address, colon-separated; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// The MTU in bytes; since 1.1.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The namespace's path as the runtime gave it; empty for an interface of the host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
    /// Path of a socket that belongs to the interface; since 1.1.0.
    #[serde(rename = "socketPath", skip_serializing_if = "String::is_empty")]
    pub socket_path: String,
    /// PCI address of the device; since 1.1.0.
    #[serde(rename = "pciID", skip_serializing_if = "String::is_empty")]
    pub pci_id: String,
}

/// One address of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// Index into [`AddResult::interfaces`]; a negative one is read as none, as the reference's plugins take it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "index")]
    pub interface: Option<usize>,
    /// The address with the length of its subnet's prefix.
    #[serde(with = "crate::spec::cidr")]
    pub address: IpNetwork,
    /// The subnet's gateway.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::spec::cidr::optional_address"
    )]
    pub gateway: Option<IpAddr>,
}

/// One route of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    /// The destination, such as `0.0.0.0/0`.
    #[serde(with = "crate::spec::cidr")]
    #[schemars(with = "String")]
    pub dst: IpNetwork,
    /// The next hop; `0.0.0.0` or `::` is the link itself.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::spec::cidr::optional_address"
    )]
    #[schemars(with = "String", extend("x-default" = "the gateway of the address of the same family"))]
    pub gw: Option<IpAddr>,
    /// The path's MTU, in bytes.
    // In results since 1.1.0, as all that follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The TCP maximal segment size to announce, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// The metric: of two routes to one destination the lowest wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-default" = "the kernel's; a further network's routes come behind those that are there"))]
    pub priority: Option<u32>,
    /// The routing table's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-default" = "the main one, 254"))]
    pub table: Option<u32>,
    /// The scope (`RT_SCOPE_*`, linux/rtnetlink.h).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
}

fn index<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let index = Option::<i64>::deserialize(deserializer)?;
    Ok(index.and_then(|index| usize::try_from(index).ok()))
}

impl Route {
    /// A route by destination and next hop alone.
    #[must_use]
    pub fn new(dst: IpNetwork, gw: Option<IpAddr>) -> Self {
        Self { dst, gw, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }
}

/// Name resolution of a result or a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Dns {
    /// Addresses of name servers, in order of preference.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Domains to search for short names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options of the resolver, such as `ndots:2`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Dns {
    /// Whether nothing at all is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl AddResult {
    /// The addresses that belong to an interface inside the container: those of the sandboxed interface of
    /// that name, or without any interface, as IPAM plugins and old versions leave them.
    pub fn container_ips<'a>(&'a self, ifname: &'a str) -> impl Iterator<Item = &'a Ip> {
        self.ips.iter().filter(move |ip| match ip.interface.and_then(|index| self.interfaces.get(index)) {
            Some(interface) => interface.name == ifname && !interface.sandbox.is_empty(),
            None => true,
        })
    }
}
