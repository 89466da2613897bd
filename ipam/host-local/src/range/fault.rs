//! What can be wrong with ranges, with the cure.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

/// What is wrong with a range or a set of ranges, in words that name the cure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RangeFault {
    /// The subnet is an address inside a network rather than the network.
    #[error("subnet {subnet} has host bits: write {network}")]
    HostBits {
        /// What was configured.
        subnet: IpNetwork,
        /// What was meant.
        network: IpNetwork,
    },
    /// The subnet has no room for a gateway and a container.
    #[error("subnet {0} is too small: use a prefix length of at most {most}", most = longest_prefix(*.0))]
    TooSmall(IpNetwork),
    /// An end of the range is not an address of its subnet.
    #[error("{key} {address} is outside subnet {subnet}: choose an address of the subnet")]
    Outside {
        /// `rangeStart` or `rangeEnd`.
        key: &'static str,
        /// Its value.
        address: IpAddr,
        /// The range's subnet.
        subnet: IpNetwork,
    },
    /// The range has its ends the wrong way round.
    #[error("rangeStart {start} is after rangeEnd {end}: exchange them")]
    Reversed {
        /// The first address.
        start: IpAddr,
        /// The last address.
        end: IpAddr,
    },
    /// The gateway cannot be reached from the subnet's family.
    #[error("gateway {gateway} is of another address family than subnet {subnet}")]
    GatewayFamily {
        /// The gateway.
        gateway: IpAddr,
        /// The range's subnet.
        subnet: IpNetwork,
    },
    /// A set without ranges.
    #[error("the range set is empty: give it a range with a subnet, or leave it out")]
    EmptySet,
    /// Both families in one set, which yields one address.
    #[error(
        "{first} and {second} are of different address families: give each family a range set of its own"
    )]
    MixedFamilies {
        /// The set's first subnet.
        first: IpNetwork,
        /// The one that differs.
        second: IpNetwork,
    },
    /// The same address in two ranges.
    #[error("ranges {first} and {second} overlap: give each its own addresses")]
    Overlap {
        /// One range.
        first: String,
        /// The other.
        second: String,
    },
}

/// The longest prefix that leaves a gateway and a container, as in the reference: /30 and /126.
pub(super) fn longest_prefix(subnet: IpNetwork) -> u8 {
    if subnet.is_ipv4() { 30 } else { 126 }
}
