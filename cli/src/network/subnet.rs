//! Subnets: which are taken on this host, and a free one. Pure but for [`Taken::on_host`] and the agent's file.

use std::net::{Ipv4Addr, Ipv6Addr};

use cni::{NetworkList, cidr};
use ipnetwork::{IpNetwork, Ipv4Network};
use netlink::Socket;
use serde_json::{Map, Value};

use super::described::Described;
use super::plugins::overlay;
use crate::container_id::random_bytes;
use crate::error::Error;

/// Subnets in use, each with its holder.
#[derive(Debug, Default)]
pub(crate) struct Taken(Vec<(IpNetwork, String)>);

impl Taken {
    /// The subnets of networks, whether their lists are in the folder of configurations or kept with attachments; and the
    /// destinations of this host's routes. Routes to everything, or to half of it, do not count, nor do the network's own: those
    /// by its bridge, and those within `own`, the prefixes of an overlay network that this host is on.
    pub(crate) fn on_host<'a>(
        networks: impl IntoIterator<Item = &'a NetworkList>,
        bridge: &str,
        own: &[IpNetwork],
    ) -> Result<Self, Error> {
        let mut taken = Self::default();
        for list in networks {
            taken.add_network(list);
        }
        let mut socket = Socket::open()?;
        let link = socket.get_link(bridge)?.map(|link| link.index);
        for route in socket.all_routes()? {
            let is_own = link.is_some() && route.oif == link
                || own
                    .iter()
                    .any(|prefix| prefix.prefix() <= route.dst.prefix() && overlap(*prefix, route.dst));
            if route.dst.prefix() > 1 && !is_own {
                taken.0.push((route.dst, format!("a route or an address of this host to {}", route.dst)));
            }
        }
        Ok(taken)
    }

    /// The subnets of networks alone, those of overlay networks as the agent says them: one that this host is on itself may be a
    /// network's of macvlan, whose containers are on it too.
    pub(crate) fn by_networks<'a>(networks: impl IntoIterator<Item = &'a NetworkList>) -> Self {
        let mut taken = Self::default();
        for list in networks {
            taken.add_network(list);
            if overlay(list).is_some() {
                let prefixes = Described::of(list).pools.into_iter().map(|pool| pool.subnet);
                taken.0.extend(prefixes.map(|prefix| (prefix, format!("network {}", list.name))));
            }
        }
        taken
    }

    fn add_network(&mut self, list: &NetworkList) {
        let subnets = list.plugins.iter().flat_map(subnets_of);
        self.0.extend(subnets.map(|subnet| (subnet, format!("network {}", list.name))));
    }

    /// The holder of a subnet that has addresses of this one.
    pub(crate) fn holder(&self, subnet: IpNetwork) -> Option<&str> {
        self.0.iter().find(|(taken, _)| overlap(*taken, subnet)).map(|(_, holder)| holder.as_str())
    }

    /// A free IPv4 subnet, of the ranges that Docker takes its networks from; after them, of 10.192.0.0/10.
    pub(crate) fn free_v4(&self) -> Option<IpNetwork> {
        let large = (18..32).map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
        let middle = (0..16).map(|third| (Ipv4Addr::new(192, 168, third * 16, 0), 20));
        let small = (192..=255)
            .flat_map(|second| (0..=255).map(move |third| (Ipv4Addr::new(10, second, third, 0), 24)));
        large
            .chain(middle)
            .chain(small)
            .filter_map(|(address, prefix)| Ipv4Network::new(address, prefix).ok().map(IpNetwork::V4))
            .find(|subnet| self.holder(*subnet).is_none())
    }

    /// A free IPv4 prefix for many hosts, of which each gets a /24: of 10.128.0.0/9 and 172.16.0.0/12, where the hosts' own
    /// networks are less often. Another host may use it: that one cannot join.
    pub(crate) fn free_wide_v4(&self) -> Option<IpNetwork> {
        let first = (201..=254).chain(128..=200).map(|second| Ipv4Addr::new(10, second, 0, 0));
        first
            .chain((16..32).map(|second| Ipv4Addr::new(172, second, 0, 0)))
            .filter_map(|address| Ipv4Network::new(address, 16).ok().map(IpNetwork::V4))
            .find(|subnet| self.holder(*subnet).is_none())
    }

    /// A free IPv6 subnet of a length from 48 on: a random unique local one (RFC 4193, section 3.2).
    pub(crate) fn free_v6(&self, length: u8) -> Result<IpNetwork, Error> {
        loop {
            let global: [u8; 5] = random_bytes()?;
            let mut octets = [0; 16];
            octets[0] = 0xfd;
            octets[1..6].copy_from_slice(&global);
            let subnet = IpNetwork::new(Ipv6Addr::from(octets).into(), length)
                .map_err(|error| Error::io("make an IPv6 subnet", std::io::Error::other(error)))?;
            if self.holder(subnet).is_none() {
                return Ok(subnet);
            }
        }
    }
}

/// The subnets that a plugin's configuration names: every value of a key `subnet`, wherever an IPAM plugin has it.
pub(crate) fn subnets_of(plugin: &Map<String, Value>) -> Vec<IpNetwork> {
    let of_entry = |(key, value): (&String, &Value)| match value {
        Value::String(text) if key.eq_ignore_ascii_case("subnet") => cidr::parse(text).into_iter().collect(),
        value => subnets_within(value),
    };
    plugin.iter().flat_map(of_entry).collect()
}

fn subnets_within(value: &Value) -> Vec<IpNetwork> {
    match value {
        Value::Object(object) => subnets_of(object),
        Value::Array(list) => list.iter().flat_map(subnets_within).collect(),
        _ => Vec::new(),
    }
}

/// Whether two subnets have an address in common.
pub(crate) fn overlap(one: IpNetwork, other: IpNetwork) -> bool {
    one.contains(other.network()) || other.contains(one.network())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(subnets: &[&str]) -> Taken {
        Taken(subnets.iter().map(|text| (text.parse().unwrap(), (*text).to_owned())).collect())
    }

    fn free(subnets: &[&str]) -> String {
        taken(subnets).free_v4().map(|subnet| subnet.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_first_free_subnet_is_taken() {
        assert_eq!(free(&[]), "172.18.0.0/16");
        assert_eq!(free(&["172.18.7.0/24", "172.19.0.1/32", "fd00::/64"]), "172.20.0.0/16");
        assert_eq!(free(&["172.16.0.0/12"]), "192.168.0.0/20");
        assert_eq!(free(&["172.16.0.0/12", "192.168.0.0/16", "10.192.0.0/24"]), "10.192.1.0/24");
        assert_eq!(free(&["172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/8"]), "");
        assert!(taken(&["fd00::/8"]).holder("fd00:1::/64".parse().unwrap()).is_some());
    }

    #[test]
    fn a_network_of_many_hosts_gets_a_wide_prefix() {
        let free = |subnets: &[&str]| taken(subnets).free_wide_v4().map(|subnet| subnet.to_string());
        assert_eq!(free(&[]).as_deref(), Some("10.201.0.0/16"));
        assert_eq!(free(&["10.201.7.0/24", "10.202.0.0/15"]).as_deref(), Some("10.204.0.0/16"));
        assert_eq!(free(&["10.0.0.0/8", "172.16.0.0/15"]).as_deref(), Some("172.18.0.0/16"));
        assert_eq!(free(&["10.0.0.0/8", "172.16.0.0/12"]), None);
        let v6 = taken(&[]).free_v6(48).unwrap();
        assert!(
            v6.to_string().starts_with("fd") && v6.to_string().ends_with("/48") && v6.ip() == v6.network()
        );
    }

    #[test]
    fn what_networks_say_is_found_wherever_it_stands() {
        let text = br#"{"name":"n","plugins":[{"type":"bridge","ipam":{"subnet":"10.1.0.0/24",
            "ranges":[[{"subnet":"10.2.0.0/24"}],[{"Subnet":"fd00:2::/64"}]],"routes":[{"dst":"0.0.0.0/0"}]}}]}"#;
        let mut taken = Taken::default();
        taken.add_network(&NetworkList::from_slice(text).unwrap());
        let found: Vec<String> = taken.0.iter().map(|(subnet, _)| subnet.to_string()).collect();
        assert_eq!(found, ["10.2.0.0/24", "fd00:2::/64", "10.1.0.0/24"]);
        assert_eq!(taken.holder("10.1.0.128/25".parse().unwrap()), Some("network n"));
    }
}
