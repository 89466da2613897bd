//! Ranges and range sets: arithmetic on addresses, without any file. A range that could not serve is refused here.
//!
//! Addresses are counted as `u128` within their family, so that one arithmetic serves both.

mod fault;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

pub(crate) use fault::RangeFault;
use fault::longest_prefix;

/// How many ranges a network may have.
pub(crate) const MAX_RANGES: usize = 1024;

/// An address as a number within its family; an IPv4 address written as IPv6 counts as IPv4.
pub(crate) fn number(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Addresses of one subnet that may be leased, ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    subnet: IpNetwork,
    start: u128,
    end: u128,
    gateway: IpAddr,
}

impl Range {
    /// A range whose missing parts get their defaults: the gateway the subnet's first host, the start the same (the
    /// gateway is passed over), the end the last address, on IPv4 the one before the broadcast address.
    pub(crate) fn new(
        subnet: IpNetwork,
        start: Option<IpAddr>,
        end: Option<IpAddr>,
        gateway: Option<IpAddr>,
    ) -> Result<Self, RangeFault> {
        let network = network_of(subnet);
        if subnet.ip() != subnet.network() {
            return Err(RangeFault::HostBits { subnet, network });
        }
        if subnet.prefix() > longest_prefix(subnet) {
            return Err(RangeFault::TooSmall(subnet));
        }
        let inside = |key, address: Option<IpAddr>| match address.map(|address| address.to_canonical()) {
            Some(address) if !subnet.contains(address) => Err(RangeFault::Outside { key, address, subnet }),
            address => Ok(address.map(number)),
        };
        let first_host = number(subnet.network()) + 1;
        let last = number(subnet.broadcast()) - u128::from(subnet.is_ipv4());
        let range = Self {
            subnet,
            start: inside("rangeStart", start)?.unwrap_or(first_host),
            end: inside("rangeEnd", end)?.unwrap_or(last),
            gateway: gateway.map_or_else(|| address_in(subnet, first_host), |gateway| gateway.to_canonical()),
        };
        if range.start > range.end {
            return Err(RangeFault::Reversed {
                start: range.address(range.start),
                end: range.address(range.end),
            });
        }
        // A gateway outside the subnet is allowed, as in the reference: link-local next hops are in use.
        if range.gateway.is_ipv4() != subnet.is_ipv4() {
            return Err(RangeFault::GatewayFamily { gateway: range.gateway, subnet });
        }
        Ok(range)
    }

    /// The first address that may be leased.
    pub(crate) fn start(&self) -> u128 {
        self.start
    }

    /// The last address that may be leased.
    pub(crate) fn end(&self) -> u128 {
        self.end
    }

    /// The subnet's gateway, which is never leased from this range.
    pub(crate) fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// The gateway as a number, where it is one of the range's own addresses.
    pub(crate) fn gateway_inside(&self) -> Option<u128> {
        self.contains(self.gateway).then(|| number(self.gateway))
    }

    /// A number of this range's family as an address.
    pub(crate) fn address(&self, number: u128) -> IpAddr {
        address_in(self.subnet, number)
    }

    /// An address with the length of the subnet's prefix, as results carry it.
    pub(crate) fn with_prefix(&self, address: IpAddr) -> IpNetwork {
        // The prefix comes from a network of the same family, so it always fits.
        IpNetwork::new(address, self.subnet.prefix()).unwrap_or_else(|_| address.into())
    }

    /// Whether an address may be leased from the range, or is its gateway.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.subnet.is_ipv4() && (self.start..=self.end).contains(&number(address))
    }

    /// Whether an address may be leased to somebody who asks for it: besides those of the range, any host's of the subnet.
    pub(crate) fn serves(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let is_end =
            address == self.subnet.network() || (self.subnet.is_ipv4() && address == self.subnet.broadcast());
        self.contains(address) || (self.subnet.contains(address) && !is_end)
    }

    /// How many addresses can be leased at once.
    pub(crate) fn size(&self) -> u128 {
        let last = self.end - self.start;
        last.saturating_add(1).saturating_sub(u128::from(self.gateway_inside().is_some()))
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.subnet.is_ipv4() == other.subnet.is_ipv4() && self.start <= other.end && other.start <= self.end
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.address(self.start), self.address(self.end))
    }
}

fn address_in(subnet: IpNetwork, number: u128) -> IpAddr {
    match subnet {
        IpNetwork::V4(_) => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        IpNetwork::V6(_) => Ipv6Addr::from_bits(number).into(),
    }
}

fn network_of(subnet: IpNetwork) -> IpNetwork {
    IpNetwork::new(subnet.network(), subnet.prefix()).unwrap_or(subnet)
}

/// Ranges of one family of which an attachment gets one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RangeSet(Vec<Range>);

impl RangeSet {
    /// A set whose ranges fit together.
    pub(crate) fn new(ranges: Vec<Range>) -> Result<Self, RangeFault> {
        let first = ranges.first().ok_or(RangeFault::EmptySet)?.subnet;
        if let Some(other) = ranges.iter().find(|range| range.subnet.is_ipv4() != first.is_ipv4()) {
            return Err(RangeFault::MixedFamilies { first, second: other.subnet });
        }
        for (index, range) in ranges.iter().enumerate() {
            refuse_overlap(range, &ranges[..index])?;
        }
        Ok(Self(ranges))
    }

    /// Refuses a set that has an address in common with others.
    pub(crate) fn refuse_overlaps(&self, others: &[Self]) -> Result<(), RangeFault> {
        let mut pairs = self.0.iter().flat_map(|range| others.iter().map(move |other| (range, other)));
        pairs.try_for_each(|(range, other)| refuse_overlap(range, &other.0))
    }

    /// The ranges in their order; never empty.
    pub(crate) fn ranges(&self) -> &[Range] {
        &self.0
    }

    /// The range that an address is leased from.
    pub(crate) fn range_of(&self, address: IpAddr) -> Option<&Range> {
        self.0.iter().find(|range| range.contains(address))
    }

    /// The range that says prefix and gateway of an address that is asked for: its own, or one beside it in its subnet.
    pub(crate) fn range_beside(&self, address: IpAddr) -> Option<&Range> {
        self.range_of(address).or_else(|| self.0.iter().find(|range| range.serves(address)))
    }

    /// How many addresses can be leased at once.
    pub(crate) fn size(&self) -> u128 {
        self.0.iter().fold(0, |sum, range| sum.saturating_add(range.size()))
    }

    /// Whether the set yields IPv4 addresses.
    pub(crate) fn is_ipv4(&self) -> bool {
        self.0.first().is_some_and(|range| range.subnet.is_ipv4())
    }
}

impl fmt::Display for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            write!(f, "{}{range}", if index > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

fn refuse_overlap(range: &Range, others: &[Range]) -> Result<(), RangeFault> {
    match others.iter().find(|other| other.overlaps(range)) {
        Some(other) => Err(RangeFault::Overlap { first: other.to_string(), second: range.to_string() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(subnet: &str, start: &str, end: &str, gateway: &str) -> Result<Range, RangeFault> {
        let address = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
        Range::new(subnet.parse().unwrap(), address(start), address(end), address(gateway))
    }

    #[test]
    fn defaults_are_those_of_the_reference() {
        for (subnet, shown, gateway, size) in [
            ("10.1.0.0/24", "10.1.0.1-10.1.0.254", "10.1.0.1", 253),
            ("10.1.0.0/30", "10.1.0.1-10.1.0.2", "10.1.0.1", 1),
            ("255.255.255.0/24", "255.255.255.1-255.255.255.254", "255.255.255.1", 253),
            ("fd00::/126", "fd00::1-fd00::3", "fd00::1", 2),
            ("::/0", "::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::1", u128::MAX - 1),
        ] {
            let range = range(subnet, "", "", "").unwrap();
            assert_eq!((range.to_string().as_str(), range.size()), (shown, size));
            assert_eq!(range.gateway().to_string(), gateway);
        }
    }

    #[test]
    fn the_whole_of_ipv6_can_be_counted() {
        let range = range("::/0", "::", "", "").unwrap();
        assert_eq!((range.size(), range.start()), (u128::MAX - 1, 0));
    }

    #[test]
    fn ends_may_be_the_subnets_own_and_the_gateway_elsewhere() {
        let range = range("10.1.0.0/24", "10.1.0.0", "10.1.0.255", "169.254.1.1").unwrap();
        assert_eq!((range.size(), range.gateway_inside()), (256, None));
        assert_eq!(range.with_prefix("10.1.0.9".parse().unwrap()).to_string(), "10.1.0.9/24");
        assert!(range.contains("::ffff:10.1.0.9".parse().unwrap()));
        assert!(!range.contains("::10.1.0.9".parse().unwrap()));
    }

    #[test]
    fn hosts_beside_the_range_can_be_asked_for() {
        let v4 = range("10.1.0.0/24", "10.1.0.128", "10.1.0.191", "").unwrap();
        let v6 = range("fd00::/64", "fd00::10", "fd00::20", "").unwrap();
        for (range, address, serves) in [
            (&v4, "10.1.0.128", true),
            (&v4, "10.1.0.5", true),
            (&v4, "::ffff:10.1.0.254", true),
            (&v4, "10.1.0.0", false),
            (&v4, "10.1.0.255", false),
            (&v4, "10.1.1.5", false),
            (&v4, "fd00::5", false),
            (&v6, "fd00::ffff:ffff:ffff:ffff", true),
            (&v6, "fd00::", false),
        ] {
            assert_eq!(range.serves(address.parse().unwrap()), serves, "{address}");
        }
    }

    #[test]
    fn ranges_that_cannot_serve_are_refused_with_the_cure() {
        for (subnet, start, end, gateway, words) in [
            ("10.1.2.3/24", "", "", "", "subnet 10.1.2.3/24 has host bits: write 10.1.2.0/24"),
            ("10.1.0.0/31", "", "", "", "subnet 10.1.0.0/31 is too small: use a prefix length of at most 30"),
            ("10.1.0.0/32", "", "", "", "too small"),
            ("fd00::/127", "", "", "", "at most 126"),
            ("fd00::/128", "", "", "", "too small"),
            ("10.1.0.0/24", "10.1.1.1", "", "", "rangeStart 10.1.1.1 is outside subnet 10.1.0.0/24"),
            ("10.1.0.0/24", "", "10.2.0.1", "", "rangeEnd 10.2.0.1 is outside"),
            ("10.1.0.0/24", "fd00::1", "", "", "rangeStart fd00::1 is outside"),
            ("10.1.0.0/24", "10.1.0.9", "10.1.0.8", "", "rangeStart 10.1.0.9 is after rangeEnd 10.1.0.8"),
            ("10.1.0.0/24", "", "", "fd00::1", "gateway fd00::1 is of another address family"),
        ] {
            let fault = range(subnet, start, end, gateway).unwrap_err().to_string();
            assert!(fault.contains(words), "{fault}");
        }
    }

    #[test]
    fn sets_hold_one_family_and_each_address_once() {
        let set = |subnets: &[&str]| {
            RangeSet::new(subnets.iter().map(|subnet| range(subnet, "", "", "").unwrap()).collect())
        };
        assert_eq!(set(&[]).unwrap_err(), RangeFault::EmptySet);
        assert!(
            set(&["10.1.0.0/24", "fd00::/64"])
                .unwrap_err()
                .to_string()
                .contains("different address families")
        );
        assert!(set(&["10.1.0.0/24", "10.1.0.128/25"]).unwrap_err().to_string().contains("overlap"));
        let sets = [set(&["10.1.0.0/24"]).unwrap(), set(&["10.2.0.0/24", "10.1.0.0/16"]).unwrap()];
        assert!(sets[1].refuse_overlaps(&sets[..1]).is_err());
        let sets = [set(&["10.1.0.0/24", "10.1.1.0/24"]).unwrap(), set(&["fd00::/64"]).unwrap()];
        assert_eq!(sets[1].refuse_overlaps(&sets[..1]), Ok(()));
        assert_eq!((sets[0].size(), sets[1].is_ipv4()), (506, false));
    }
}
