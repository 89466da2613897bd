//! Typed values: what a set's key or a map's data consists of.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Ifname, Type};

/// One value of a [`Type`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// [`Type::Ipv4Addr`].
    Ipv4(Ipv4Addr),
    /// [`Type::Ipv6Addr`].
    Ipv6(Ipv6Addr),
    /// [`Type::EtherAddr`].
    Ether([u8; 6]),
    /// [`Type::EtherType`]: an `ETH_P_*` number.
    EtherType(u16),
    /// [`Type::InetProto`]: an `IPPROTO_*` number.
    Proto(u8),
    /// [`Type::InetService`].
    Port(u16),
    /// [`Type::Mark`].
    Mark(u32),
    /// [`Type::CtDirection`]: one of `enum ip_conntrack_dir`.
    CtDirection(u8),
    /// [`Type::Icmpv6Type`] (`linux/icmpv6.h`; RFC 4861 for neighbour discovery).
    Icmpv6Type(u8),
    /// [`Type::Ifname`].
    Ifname(Ifname),
}

impl Field {
    /// `IPPROTO_TCP`.
    pub const TCP: Self = Self::Proto(6);
    /// `IPPROTO_UDP`.
    pub const UDP: Self = Self::Proto(17);
    /// `IPPROTO_ICMP`.
    pub const ICMP: Self = Self::Proto(1);
    /// `IPPROTO_ICMPV6`.
    pub const ICMPV6: Self = Self::Proto(58);
    /// `IPPROTO_SCTP`.
    pub const SCTP: Self = Self::Proto(132);
    /// `ETH_P_IP`.
    pub const ETHER_IP: Self = Self::EtherType(0x0800);
    /// `ETH_P_IPV6`.
    pub const ETHER_IP6: Self = Self::EtherType(0x86dd);
    /// `ETH_P_ARP`.
    pub const ETHER_ARP: Self = Self::EtherType(0x0806);
    /// `ETH_P_8021Q`.
    pub const ETHER_VLAN: Self = Self::EtherType(0x8100);
    /// `ETH_P_8021AD`.
    pub const ETHER_SERVICE_VLAN: Self = Self::EtherType(0x88a8);
    /// `IP_CT_DIR_REPLY`.
    pub const REPLY: Self = Self::CtDirection(1);
    /// `NDISC_ROUTER_ADVERTISEMENT`.
    pub const ROUTER_ADVERTISEMENT: Self = Self::Icmpv6Type(134);
    /// `NDISC_REDIRECT`.
    pub const REDIRECT: Self = Self::Icmpv6Type(137);
    /// `NDISC_NEIGHBOUR_SOLICITATION`.
    pub const NEIGHBOUR_SOLICITATION: Self = Self::Icmpv6Type(135);
    /// `NDISC_NEIGHBOUR_ADVERTISEMENT`.
    pub const NEIGHBOUR_ADVERTISEMENT: Self = Self::Icmpv6Type(136);

    /// The type that the value is of.
    #[must_use]
    pub const fn kind(self) -> Type {
        match self {
            Self::Ipv4(_) => Type::Ipv4Addr,
            Self::Ipv6(_) => Type::Ipv6Addr,
            Self::Ether(_) => Type::EtherAddr,
            Self::EtherType(_) => Type::EtherType,
            Self::Proto(_) => Type::InetProto,
            Self::Port(_) => Type::InetService,
            Self::Mark(_) => Type::Mark,
            Self::CtDirection(_) => Type::CtDirection,
            Self::Icmpv6Type(_) => Type::Icmpv6Type,
            Self::Ifname(_) => Type::Ifname,
        }
    }

    /// Appends the value as the kernel compares it, without padding.
    pub(crate) fn push(self, bytes: &mut Vec<u8>) {
        match self {
            Self::Proto(number) | Self::CtDirection(number) | Self::Icmpv6Type(number) => bytes.push(number),
            Self::Ipv4(address) => bytes.extend_from_slice(&address.octets()),
            Self::Ipv6(address) => bytes.extend_from_slice(&address.octets()),
            Self::Ether(address) => bytes.extend_from_slice(&address),
            Self::EtherType(number) | Self::Port(number) => {
                bytes.extend_from_slice(&number.to_be_bytes());
            }
            Self::Mark(mark) => bytes.extend_from_slice(&mark.to_ne_bytes()),
            Self::Ifname(name) => bytes.extend_from_slice(&name.0),
        }
    }

    /// Reads a value of type `kind` from the beginning of `bytes`.
    pub(crate) fn read(kind: Type, bytes: &[u8]) -> Option<Self> {
        Some(match kind {
            Type::Verdict => return None,
            Type::InetProto => Self::Proto(*bytes.first()?),
            Type::CtDirection => Self::CtDirection(*bytes.first()?),
            Type::Icmpv6Type => Self::Icmpv6Type(*bytes.first()?),
            Type::Ipv4Addr => Self::Ipv4(Ipv4Addr::from(*bytes.first_chunk::<4>()?)),
            Type::Ipv6Addr => Self::Ipv6(Ipv6Addr::from(*bytes.first_chunk::<16>()?)),
            Type::EtherAddr => Self::Ether(*bytes.first_chunk()?),
            Type::EtherType => Self::EtherType(u16::from_be_bytes(*bytes.first_chunk()?)),
            Type::InetService => Self::Port(u16::from_be_bytes(*bytes.first_chunk()?)),
            Type::Mark => Self::Mark(u32::from_ne_bytes(*bytes.first_chunk()?)),
            Type::Ifname => Self::Ifname(Ifname::from_bytes(*bytes.first_chunk()?)?),
        })
    }
}

impl From<IpAddr> for Field {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::Ipv4(address),
            IpAddr::V6(address) => Self::Ipv6(address),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proto(6) => f.write_str("tcp"),
            Self::Proto(17) => f.write_str("udp"),
            Self::Proto(132) => f.write_str("sctp"),
            Self::CtDirection(1) => f.write_str("reply"),
            Self::Proto(number) | Self::CtDirection(number) | Self::Icmpv6Type(number) => {
                write!(f, "{number}")
            }
            Self::EtherType(number) => write!(f, "{number:#06x}"),
            Self::Ipv4(address) => write!(f, "{address}"),
            Self::Ipv6(address) => write!(f, "{address}"),
            Self::Ether(address) => {
                let bytes: Vec<String> = address.iter().map(|byte| format!("{byte:02x}")).collect();
                f.write_str(&bytes.join(":"))
            }
            Self::Port(port) => write!(f, "{port}"),
            Self::Mark(mark) => write!(f, "{mark:#010x}"),
            Self::Ifname(name) => write!(f, "\"{name}\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_comes_back() {
        let fields = [
            Field::Ipv4(Ipv4Addr::new(10, 1, 0, 11)),
            Field::Ipv6(Ipv6Addr::LOCALHOST),
            Field::Ether([2, 0, 0, 0, 0, 1]),
            Field::ETHER_IP6,
            Field::TCP,
            Field::Port(8080),
            Field::Mark(0x2000),
            Field::REPLY,
            Field::NEIGHBOUR_ADVERTISEMENT,
            Field::Ifname(Ifname::new("eth0").unwrap()),
        ];
        for field in fields {
            let mut bytes = Vec::new();
            field.push(&mut bytes);
            assert_eq!(bytes.len(), field.kind().size());
            assert_eq!(Field::read(field.kind(), &bytes), Some(field));
            assert_eq!(Field::read(field.kind(), &bytes[1..]), None);
        }
    }

    #[test]
    fn ids_are_unique_and_fit_six_bits() {
        for kind in Type::ALL {
            assert_eq!(Type::from_id(kind.id()), Some(kind));
            assert!(kind.id() < 64);
        }
    }
}
