//! A network as `network inspect` shows it: read from its conflist, which any program may have written.

use std::net::IpAddr;
use std::time::SystemTime;

use cni::{NetworkList, NetworkName, case_blind, cidr, hex};
use ipnetwork::IpNetwork;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::plugins::{OVERLAY, overlay, text};
use super::pool::{AUXILIARY, Pool};

/// What a conflist says of a network.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the network by its own name")]
pub(crate) struct Described {
    /// The network's name.
    pub(crate) name: String,
    /// 64 hexadecimal digits, as Docker's networks have: the hash of the name, which is unique on a host.
    pub(crate) id: String,
    /// When its file was written.
    pub(crate) created: Option<SystemTime>,
    /// The plugin that makes the interfaces, which Docker calls a driver; `overlay` where it is one node's part of such a network.
    pub(crate) driver: String,
    /// The bridge's name, where there is one.
    pub(crate) bridge: Option<String>,
    /// The overlay network that it is one node's part of.
    pub(crate) overlay: Option<NetworkName>,
    /// The interface of the host that containers are put on, where it is named: of macvlan and ipvlan.
    pub(crate) parent: Option<String>,
    /// Whom containers on a parent reach.
    pub(crate) mode: Option<String>,
    /// The host reaches containers on a parent.
    pub(crate) host_access: bool,
    /// The plugin that gives the addresses.
    pub(crate) ipam: String,
    /// Its subnets. Those of an overlay network are as long known as its agent has a block of them for this node.
    pub(crate) pools: Vec<Pool>,
    /// Nothing goes in or out.
    pub(crate) internal: bool,
    /// Who may come in from outside the bridge, where it is set.
    pub(crate) ingress: Option<String>,
    /// Members may talk to each other without a link.
    pub(crate) icc: bool,
    /// What leaves takes the host's address.
    pub(crate) masquerade: bool,
    /// In bytes, where it is set.
    pub(crate) mtu: Option<u64>,
}

impl Described {
    /// Reads a network's conflist.
    pub(crate) fn of(list: &NetworkList) -> Self {
        let nothing = Map::new();
        let main = list.plugins.first().unwrap_or(&nothing);
        let set = |key: &str| Some(text(main, key)).filter(|text| !text.is_empty()).map(str::to_owned);
        let flag = |key: &str| case_blind::get(main, key).and_then(Value::as_bool);
        let ipam = case_blind::get(main, "ipam").and_then(Value::as_object).unwrap_or(&nothing);
        let driver = text(main, "type").to_owned();
        let overlay = overlay(list);
        let file = list.file.as_ref().and_then(|file| file.metadata().ok());
        Self {
            name: list.name.to_string(),
            id: id(list.name.as_str()),
            created: file.and_then(|metadata| metadata.modified().ok()),
            parent: set("master"),
            mode: set("mode"),
            host_access: flag("hostAccess").unwrap_or_default(),
            bridge: set("bridge").or_else(|| (driver == "bridge").then(|| "cni0".to_owned())),
            driver: if overlay.is_some() { OVERLAY.to_owned() } else { driver },
            ipam: text(ipam, "type").to_owned(),
            pools: overlay.as_ref().map_or_else(|| pools(ipam), pools_of_node),
            overlay,
            internal: flag("internal").unwrap_or_default(),
            ingress: set("ingress"),
            icc: flag("icc").unwrap_or(true),
            masquerade: flag("ipMasq").unwrap_or_default(),
            mtu: case_blind::get(main, "mtu").and_then(Value::as_u64).filter(|mtu| *mtu != 0),
        }
    }

    /// Where the network is: on this host, or on many.
    pub(crate) fn scope(&self) -> &'static str {
        if self.overlay.is_some() { "global" } else { "local" }
    }

    /// A network that every host has, without a configuration.
    pub(crate) fn built_in(name: &str, driver: &str) -> Self {
        Self {
            name: name.to_owned(),
            id: id(name),
            created: None,
            driver: driver.to_owned(),
            parent: None,
            mode: None,
            host_access: false,
            bridge: None,
            overlay: None,
            ipam: String::new(),
            pools: Vec::new(),
            internal: false,
            ingress: None,
            icc: true,
            masquerade: false,
            mtu: None,
        }
    }
}

/// The prefixes of an overlay network, each with this node's block; none where its agent has not said them.
fn pools_of_node(network: &NetworkName) -> Vec<Pool> {
    let node = ::overlay::read(network).ok().flatten();
    let pool = |node: &::overlay::Node, prefix: IpNetwork| {
        let block = node.blocks.iter().find(|block| prefix.contains(block.subnet.ip()));
        let own = block.and_then(|block| Pool::new(block.subnet, block.gateway, None).ok());
        Pool::new(prefix, own.as_ref().map(|own| own.gateway), own.map(|own| own.subnet)).ok()
    };
    node.iter().flat_map(|node| node.prefixes.iter().filter_map(|prefix| pool(node, *prefix))).collect()
}

/// A network's ID.
pub(crate) fn id(name: &str) -> String {
    hex(&Sha256::digest(name.as_bytes()))
}

/// The subnets of an IPAM's configuration as host-local's keys have them; what cannot be read is skipped.
fn pools(ipam: &Map<String, Value>) -> Vec<Pool> {
    let sets = case_blind::get(ipam, "ranges").and_then(Value::as_array).into_iter().flatten();
    let sets = sets.filter_map(Value::as_array);
    let sets = sets.map(|set| set.iter().filter_map(Value::as_object).collect::<Vec<_>>());
    let auxiliary = ipam.get(AUXILIARY).and_then(Value::as_object);
    std::iter::once(vec![ipam]).chain(sets).flat_map(|set| pools_of(&set, auxiliary)).collect()
}

/// The subnets of a set of ranges. Where auxiliary addresses are gaps in it, it is one subnet all the same.
fn pools_of(set: &[&Map<String, Value>], auxiliary: Option<&Map<String, Value>>) -> Vec<Pool> {
    let read = |range: &&Map<String, Value>| pool(range, range);
    let (Some(first), Some(last), Some(auxiliary)) = (set.first(), set.last(), auxiliary) else {
        return set.iter().filter_map(read).collect();
    };
    let is_one = set.iter().all(|range| text(range, "subnet") == text(first, "subnet"));
    let Some(pool) = pool(first, last).filter(|_| is_one) else {
        return set.iter().filter_map(read).collect();
    };
    let address = |(name, address): (&String, &Value)| Some((name.clone(), address.as_str()?.parse().ok()?));
    let all = auxiliary.iter().filter_map(address);
    vec![Pool { auxiliary: all.filter(|(_, address)| pool.subnet.contains(*address)).collect(), ..pool }]
}

/// The subnet that leases run through from a first range to a last one.
fn pool(first: &Map<String, Value>, last: &Map<String, Value>) -> Option<Pool> {
    let address = |range, key: &str| text(range, key).parse().ok();
    let subnet = cidr::parse(text(first, "subnet")).ok()?;
    let ends = address(first, "rangeStart").zip(address(last, "rangeEnd"));
    Pool::new(subnet, address(first, "gateway"), ends.and_then(|(start, end)| part(subnet, start, end))).ok()
}

/// The part of a subnet that is leased between two addresses, where it is a subnet itself.
fn part(subnet: IpNetwork, start: IpAddr, end: IpAddr) -> Option<IpNetwork> {
    let longest = if start.is_ipv4() { 32 } else { 128 };
    let parts = (subnet.prefix()..=longest).filter_map(|prefix| IpNetwork::new(start, prefix).ok());
    let mut whole = parts.filter_map(|part| IpNetwork::new(part.network(), part.prefix()).ok());
    whole
        .find(|part| Pool::new(subnet, None, Some(*part)).is_ok_and(|pool| pool.ends() == Some((start, end))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_read_also_one_of_another_program() {
        let text = br#"{"cniVersion":"0.4.0","name":"podman","plugins":[{"type":"bridge","bridge":"cni-podman0",
            "ipMasq":true,"ipam":{"type":"host-local","ranges":[[{"subnet":"10.88.0.0/16","gateway":"10.88.0.1",
            "rangeStart":"10.88.1.0","rangeEnd":"10.88.1.255"}],[{"subnet":"fd00::/64"}]]}},{"type":"portmap"}]}"#;
        let network = Described::of(&NetworkList::from_slice(text).unwrap());
        assert_eq!((network.driver.as_str(), network.bridge.as_deref()), ("bridge", Some("cni-podman0")));
        assert!(network.masquerade && network.icc && !network.internal);
        assert_eq!(network.pools[0].part, Some("10.88.1.0/24".parse().unwrap()));
        assert_eq!(network.pools[1].gateway.to_string(), "fd00::1");
        assert_eq!(network.id.len(), 64);
    }
}
