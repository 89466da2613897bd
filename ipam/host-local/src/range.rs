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
    /// The first address that may be leased.
    pub(crate) start: u128,
    /// The last address that may be leased.
    pub(crate) end: u128,
    /// The subnet's gateway, which is never leased from this range.
    pub(crate) gateway: IpAddr,
}

impl Range {
    /// A range whose missing parts get their defaults: the gateway the subnet's first host, the start the same (the
    /// gateway is skipped), the end the last address, on IPv4 the one before the broadcast address.
    pub(crate) fn new(
        subnet: IpNetwork,
        start: Option<IpAddr>,
        end: Option<IpAddr>,
        gateway: Option<IpAddr>,
    ) -> Result<Self, RangeFault> {
        if subnet.ip() != subnet.network() {
            let network = IpNetwork::new(subnet.network(), subnet.prefix()).unwrap_or(subnet);
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
mod tests;
