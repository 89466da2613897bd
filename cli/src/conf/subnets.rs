//! Subnets that clash: those of two networks, as an address would be leased twice, and those that the host has routes to,
//! which the network would hide.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::document::Node;
use super::file::{Finding, Network};
use super::keys::Fault;
use crate::network::overlap;

/// How many ranges of a plugin are compared.
const MAX_RANGES: usize = 1024;

/// A range of addresses that a network leases.
struct Range<'a> {
    network: &'a Network,
    /// What the network's containers share: the bridge that has the gateway's address, or the host's interface that they are on.
    link: Option<&'a str>,
    /// The link is a bridge.
    is_bridge: bool,
    subnet: IpNetwork,
    ends: (IpAddr, IpAddr),
    at: usize,
}

/// Every clash, reported once, at the later of the two subnets.
pub(super) fn clashes(networks: &[Network], routes: &[(IpNetwork, String)]) -> Vec<Finding> {
    let ranges: Vec<Range<'_>> = networks.iter().flat_map(ranges).collect();
    let bridges: Vec<&str> =
        ranges.iter().filter(|range| range.is_bridge).filter_map(|range| range.link).collect();
    let mut findings = Vec::new();
    for (index, range) in ranges.iter().enumerate() {
        let subnet = range.subnet;
        if let Some(other) = ranges[..index].iter().find(|other| other.clashes_with(range)) {
            let problem = format!(
                "subnet {subnet} clashes with {} of network {:?} ({})",
                other.subnet,
                other.network.name,
                other.network.at(other.at)
            );
            findings.push(range.finding(problem, "give each network a subnet of its own"));
        }
        // Routes by bridges of the networks do not count: a clash with another network is reported above.
        // Nor do those by the interface that containers are put on: the host is on their network itself.
        let foreign = routes.iter().find(|(dst, link)| {
            overlap(*dst, subnet) && !bridges.contains(&link.as_str()) && range.link != Some(link)
        });
        if let Some((dst, link)) = foreign {
            let problem = format!("subnet {subnet} clashes with the host's route to {dst} by {link}");
            findings.push(range.finding(problem, "give the network a subnet that the host has no route to"));
        }
    }
    findings
}

impl Range<'_> {
    fn finding(&self, problem: String, cure: &str) -> Finding {
        self.network.finding(Fault::new(self.at, problem, cure))
    }

    /// Whether an address could be given twice. On one link networks may share a subnet, each with a part of it; of
    /// networks with one name only the first is used.
    fn clashes_with(&self, other: &Self) -> bool {
        if self.network.name == other.network.name || !overlap(self.subnet, other.subnet) {
            return false;
        }
        let is_shared = self.link.is_some() && self.link == other.link;
        !is_shared || (self.ends.0 <= other.ends.1 && other.ends.0 <= self.ends.1)
    }
}

/// The ranges that a network leases by host-local, and that are valid.
fn ranges(network: &Network) -> impl Iterator<Item = Range<'_>> {
    network.plugins().iter().flat_map(move |plugin| {
        let ipam =
            plugin.get("ipam").filter(|ipam| ipam.get("type").and_then(Node::text) == Some("host-local"));
        let sets = ipam.and_then(|ipam| ipam.get("ranges")).map(Node::items).unwrap_or_default();
        let named = |key: &str| plugin.get(key).and_then(Node::text);
        let is_bridge = named("type") == Some("bridge");
        let link = match named("type") {
            Some("bridge") => Some(named("bridge").unwrap_or("cni0")),
            Some("macvlan" | "ipvlan") => named("master"),
            _ => None,
        };
        // host-local refuses more.
        let objects = ipam.into_iter().chain(sets.iter().flat_map(Node::items).take(MAX_RANGES));
        objects.filter_map(move |object| range(network, (link, is_bridge), object))
    })
}

fn range<'a>(
    network: &'a Network,
    (link, is_bridge): (Option<&'a str>, bool),
    object: &'a Node,
) -> Option<Range<'a>> {
    let node = object.get("subnet")?;
    let subnet = cni::cidr::parse(node.text()?).ok()?;
    let end = |key: &str, default| {
        object.get(key).and_then(Node::text).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let ends = (end("rangeStart", subnet.network()), end("rangeEnd", subnet.broadcast()));
    Some(Range { network, link, is_bridge, subnet, ends, at: node.at })
}
