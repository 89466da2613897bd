//! A subnet of a network: gateway, what is leased of it, and what is not. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use serde::Serialize;
use serde_json::{Map, Value};

/// A subnet with its gateway, and the part of it that addresses are leased from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    /// The subnet.
    pub(crate) subnet: IpNetwork,
    /// The bridge's address in it.
    pub(crate) gateway: IpAddr,
    /// Where leases come from, unless from all of it.
    pub(crate) part: Option<IpNetwork>,
    /// Addresses that are somebody else's, by name: no container gets them.
    pub(crate) auxiliary: BTreeMap<String, IpAddr>,
}

/// A range that host-local leases, in the order in which people read its keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Range {
    subnet: String,
    #[serde(rename = "rangeStart", skip_serializing_if = "Option::is_none")]
    first: Option<IpAddr>,
    #[serde(rename = "rangeEnd", skip_serializing_if = "Option::is_none")]
    last: Option<IpAddr>,
    gateway: IpAddr,
}

impl Pool {
    /// A pool whose parts fit together; without a gateway, its first host is the gateway.
    pub(crate) fn new(
        subnet: IpNetwork,
        gateway: Option<IpAddr>,
        part: Option<IpNetwork>,
    ) -> Result<Self, String> {
        let room = if subnet.is_ipv4() { 30 } else { 126 };
        if subnet.prefix() > room {
            return Err(format!("subnet {subnet} has no room for a gateway and a container"));
        }
        if subnet.ip() != subnet.network() {
            return Err(format!(
                "{subnet} is an address: its subnet is {}/{}",
                subnet.network(),
                subnet.prefix()
            ));
        }
        if let Some(gateway) = gateway.filter(|gateway| !subnet.contains(*gateway)) {
            return Err(format!("gateway {gateway} is outside subnet {subnet}"));
        }
        if let Some(part) = part
            && !(subnet.contains(part.network()) && subnet.contains(part.broadcast()))
        {
            return Err(format!("range {part} is outside subnet {subnet}"));
        }
        let gateway = gateway.unwrap_or_else(|| first_host(subnet));
        Ok(Self { subnet, gateway, part, auxiliary: BTreeMap::new() })
    }

    /// The same with addresses that no container gets.
    pub(crate) fn with_auxiliary(self, auxiliary: BTreeMap<String, IpAddr>) -> Result<Self, String> {
        if let Some((name, address)) = auxiliary.iter().find(|(_, address)| **address == self.gateway) {
            return Err(format!("auxiliary address {name}={address} is the gateway's"));
        }
        let pool = Self { auxiliary, ..self };
        if pool.ranges().is_empty() {
            return Err(format!("no address of {} is left for containers", pool.part.unwrap_or(pool.subnet)));
        }
        Ok(pool)
    }

    /// The first and the last address that are leased, where that is not what the whole subnet gives.
    pub(crate) fn ends(&self) -> Option<(IpAddr, IpAddr)> {
        let part = self.part?;
        let (mut start, mut end) = (part.network(), part.broadcast());
        if start == self.subnet.network() {
            start = first_host(self.subnet);
        }
        if let (IpAddr::V4(last), true) = (end, end == self.subnet.broadcast()) {
            end = Ipv4Addr::from_bits(last.to_bits() - 1).into();
        }
        Some((start, end))
    }

    /// What host-local leases of it: a set of ranges, in which auxiliary addresses are gaps.
    pub(crate) fn ranges(&self) -> Vec<Range> {
        let range =
            |first, last| Range { subnet: self.subnet.to_string(), first, last, gateway: self.gateway };
        let whole = Self { part: self.part.or(Some(self.subnet)), ..self.clone() };
        let Some((first, last)) = whole.ends().filter(|_| !self.auxiliary.is_empty()) else {
            let (first, last) = self.ends().unzip();
            return vec![range(first, last)];
        };
        let mut gaps: Vec<u128> = self.auxiliary.values().map(|address| bits(*address)).collect();
        gaps.sort_unstable();
        gaps.retain(|gap| (bits(first)..=bits(last)).contains(gap));
        let mut ranges = Vec::new();
        let mut next = bits(first);
        for gap in gaps.into_iter().chain([bits(last) + 1]) {
            if next < gap {
                let address = |bits| address(bits, self.subnet.is_ipv4());
                ranges.push(range(Some(address(next)), Some(address(gap - 1))));
            }
            next = gap + 1;
        }
        ranges
    }

    /// The destination of the default route of its family.
    pub(crate) fn everything(&self) -> &'static str {
        if self.subnet.is_ipv4() { "0.0.0.0/0" } else { "::/0" }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn address(bits: u128, is_ipv4: bool) -> IpAddr {
    match u32::try_from(bits) {
        Ok(bits) if is_ipv4 => Ipv4Addr::from_bits(bits).into(),
        _ => Ipv6Addr::from_bits(bits).into(),
    }
}

fn first_host(subnet: IpNetwork) -> IpAddr {
    match subnet.network() {
        IpAddr::V4(network) => Ipv4Addr::from_bits(network.to_bits() | 1).into(),
        IpAddr::V6(network) => Ipv6Addr::from_bits(network.to_bits() | 1).into(),
    }
}

/// The note in `ipam` that keeps the names of auxiliary addresses; host-local has no use for it.
pub(crate) const AUXILIARY: &str = "_auxiliaryAddresses";

/// The auxiliary addresses of some pools, as the note has them; `None` where there are none.
pub(crate) fn auxiliary(pools: &[Pool]) -> Option<Value> {
    let all: Map<String, Value> = pools
        .iter()
        .flat_map(|pool| &pool.auxiliary)
        .map(|(name, address)| (name.clone(), address.to_string().into()))
        .collect();
    (!all.is_empty()).then_some(all.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auxiliary_addresses_are_gaps() {
        let ranges = |part: Option<&str>, auxiliary: &[&str]| {
            let pool =
                Pool::new("10.1.0.0/24".parse().unwrap(), None, part.map(|part| part.parse().unwrap()));
            let named = auxiliary.iter().enumerate().map(|(n, text)| (n.to_string(), text.parse().unwrap()));
            let pool = pool.unwrap().with_auxiliary(named.collect())?;
            let end = |end: Option<IpAddr>| end.map(|end| end.to_string()).unwrap_or_default();
            Ok(pool
                .ranges()
                .iter()
                .map(|range| end(range.first) + "-" + &end(range.last))
                .collect::<Vec<_>>())
        };
        assert_eq!(ranges(None, &[]), Ok(vec!["-".to_owned()]));
        let expected = ["10.1.0.1-10.1.0.4", "10.1.0.6-10.1.0.254"].map(str::to_owned);
        assert_eq!(ranges(None, &["10.1.0.5"]), Ok(expected.to_vec()));
        let expected = ["10.1.0.66-10.1.0.67", "10.1.0.69-10.1.0.126"].map(str::to_owned);
        assert_eq!(
            ranges(
                Some("10.1.0.64/26"),
                &["10.1.0.68", "10.1.0.64", "10.1.0.65", "10.1.0.127", "10.1.0.200"]
            ),
            Ok(expected.to_vec())
        );
        let refused: Result<_, String> = ranges(Some("10.1.0.8/31"), &["10.1.0.8", "10.1.0.9"]);
        assert!(refused.unwrap_err().contains("no address of 10.1.0.8/31 is left"));
        assert!(ranges(None, &["10.1.0.1"]).unwrap_err().contains("is the gateway's"));
    }

    #[test]
    fn a_pool_fits_together() {
        let pool = |subnet: &str, gateway: &str, part: &str| {
            Pool::new(subnet.parse().unwrap(), gateway.parse().ok(), part.parse().ok())
        };
        assert_eq!(pool("10.1.0.0/24", "", "").unwrap().gateway.to_string(), "10.1.0.1");
        assert_eq!(pool("fd00::/64", "", "").unwrap().gateway.to_string(), "fd00::1");
        let upper = pool("10.1.0.0/24", "10.1.0.9", "10.1.0.128/25").unwrap();
        assert_eq!(upper.ends(), Some(("10.1.0.128".parse().unwrap(), "10.1.0.254".parse().unwrap())));
        for (subnet, gateway, part, words) in [
            ("10.1.0.5/24", "", "", "its subnet is 10.1.0.0/24"),
            ("10.1.0.0/31", "", "", "no room"),
            ("10.1.0.0/24", "10.2.0.1", "", "gateway 10.2.0.1 is outside"),
            ("10.1.0.0/24", "fd00::1", "", "gateway fd00::1 is outside"),
            ("10.1.0.0/24", "", "10.1.0.0/16", "range 10.1.0.0/16 is outside"),
        ] {
            let refusal = pool(subnet, gateway, part).unwrap_err();
            assert!(refusal.contains(words), "{refusal}");
        }
    }
}
