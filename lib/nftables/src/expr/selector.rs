//! What of a packet a rule can look at, and how the kernel loads it.

use nix::libc::{
    NFT_CT_DIRECTION, NFT_CT_LABELS, NFT_CT_PROTO_DST, NFT_CT_PROTOCOL, NFT_CT_STATE, NFT_CT_STATUS,
    NFT_META_IIFNAME, NFT_META_IIFTYPE, NFT_META_L4PROTO, NFT_META_MARK, NFT_META_NFPROTO, NFT_META_OIFNAME,
    NFT_META_PROTOCOL, NFT_PAYLOAD_LL_HEADER as LINK, NFT_PAYLOAD_NETWORK_HEADER as NETWORK,
    NFT_PAYLOAD_TRANSPORT_HEADER as TRANSPORT, c_int,
};

use crate::{Family, Type};

/// Bits of `ct state` (`NF_CT_STATE_BIT`).
pub mod state {
    /// Of a flow that has seen packets both ways.
    pub const ESTABLISHED: u32 = 2;
    /// Begins a flow that an existing one announced.
    pub const RELATED: u32 = 4;
    /// Begins a flow.
    pub const NEW: u32 = 8;
}

/// Bits of `ct status` (`enum ip_conntrack_status`).
pub mod status {
    /// `IPS_DST_NAT`.
    pub const DNAT: u32 = 1 << 5;
}

/// What of a packet is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// `meta l4proto`.
    L4Proto,
    /// `meta mark`.
    Mark,
    /// `iifname`.
    Iifname,
    /// `oifname`.
    Oifname,
    /// `meta protocol`: what a frame carries, after one VLAN's tag.
    Protocol,
    /// `ether saddr`.
    EtherSaddr,
    /// `ether type`: that of a VLAN's tag, where the frame has one.
    EtherType,
    /// `ip saddr`.
    IpSaddr,
    /// `ip daddr`.
    IpDaddr,
    /// `ip6 saddr`.
    Ip6Saddr,
    /// `ip6 daddr`.
    Ip6Daddr,
    /// `th sport`. In a rule that was read, a comparison with four bytes is one of both ports: programs compare what lies side by
    /// side at once.
    ThSport,
    /// `th dport`: of TCP, UDP, SCTP and protocols that have their ports in the same place.
    ThDport,
    /// `@th,96,24`: the network identifier in the VXLAN header (RFC 7348) of a UDP datagram.
    Vni,
    /// `ct state`, see [`state`].
    CtState,
    /// `ct status`, see [`status`].
    CtStatus,
    /// `ct label`: one of 128 bits that a flow can be given.
    CtLabel,
    /// `ct direction`.
    CtDirection,
    /// `ct protocol`: the flow's protocol above IP.
    CtProtocol,
    /// `ct original proto-dst`: the port that the flow's first packet went to.
    CtOriginalDport,
    /// `icmpv6 type`.
    Icmpv6Type,
    /// `icmpv6 taddr`: the address that a message of neighbour discovery is about.
    Icmpv6Target,
    /// `arp saddr ether`.
    ArpSaddrEther,
    /// `arp saddr ip`.
    ArpSaddrIp,
    /// `arp daddr ip`.
    ArpDaddrIp,
    /// `fib saddr type`.
    FibSaddrType,
    /// `fib daddr type`.
    FibDaddrType,
}

/// What must hold of a packet before a selector means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dependency {
    Ip,
    Ip6,
    Ethernet,
    Icmpv6,
    Arp,
}

impl Dependency {
    /// The number to load and what it must be; `None` where the table's family implies it.
    pub(crate) fn test(self, family: Family) -> Option<(c_int, Vec<u8>)> {
        match (self, family) {
            (Self::Ip, Family::Ip) | (Self::Ip6, Family::Ip6) | (Self::Ethernet, Family::Bridge) => None,
            // IPPROTO_ICMPV6.
            (Self::Icmpv6, _) => Some((NFT_META_L4PROTO, vec![58])),
            // ETH_P_ARP.
            (Self::Arp, _) => Some((NFT_META_PROTOCOL, 0x0806u16.to_be_bytes().to_vec())),
            // ARPHRD_ETHER of the input interface.
            (Self::Ethernet, _) => Some((NFT_META_IIFTYPE, 1u16.to_ne_bytes().to_vec())),
            // A bridge sees frames of any protocol: ETH_P_IP, ETH_P_IPV6.
            (Self::Ip, Family::Bridge) => Some((NFT_META_PROTOCOL, 0x0800u16.to_be_bytes().to_vec())),
            (Self::Ip6, Family::Bridge) => Some((NFT_META_PROTOCOL, 0x86ddu16.to_be_bytes().to_vec())),
            (Self::Ip, _) => Some((NFT_META_NFPROTO, vec![Family::Ip.number()])),
            (Self::Ip6, _) => Some((NFT_META_NFPROTO, vec![Family::Ip6.number()])),
        }
    }
}

impl Selector {
    /// The type that a set's key must have for it; `None` for what only matches use.
    #[must_use]
    pub const fn kind(self) -> Option<Type> {
        Some(match self {
            Self::L4Proto | Self::CtProtocol => Type::InetProto,
            Self::Mark => Type::Mark,
            Self::Iifname | Self::Oifname => Type::Ifname,
            Self::EtherSaddr | Self::ArpSaddrEther => Type::EtherAddr,
            Self::EtherType | Self::Protocol => Type::EtherType,
            Self::CtDirection => Type::CtDirection,
            Self::Icmpv6Type => Type::Icmpv6Type,
            Self::IpSaddr | Self::IpDaddr | Self::ArpSaddrIp | Self::ArpDaddrIp => Type::Ipv4Addr,
            Self::Ip6Saddr | Self::Ip6Daddr | Self::Icmpv6Target => Type::Ipv6Addr,
            Self::ThSport | Self::ThDport | Self::CtOriginalDport => Type::InetService,
            Self::Vni
            | Self::CtState
            | Self::CtStatus
            | Self::CtLabel
            | Self::FibSaddrType
            | Self::FibDaddrType => return None,
        })
    }

    /// Bytes that are loaded.
    pub(crate) fn size(self) -> usize {
        self.kind().map_or(4, Type::size)
    }

    /// In the order in which they are tested.
    pub(crate) const fn dependencies(self) -> &'static [Dependency] {
        match self {
            Self::IpSaddr | Self::IpDaddr => &[Dependency::Ip],
            Self::Ip6Saddr | Self::Ip6Daddr => &[Dependency::Ip6],
            Self::EtherSaddr | Self::EtherType => &[Dependency::Ethernet],
            Self::Icmpv6Type | Self::Icmpv6Target => &[Dependency::Ip6, Dependency::Icmpv6],
            Self::ArpSaddrEther | Self::ArpSaddrIp | Self::ArpDaddrIp => &[Dependency::Arp],
            _ => &[],
        }
    }

    /// What is loaded from there, of all that is looked for in rules of other programs.
    pub(crate) fn of(source: Source) -> Option<Self> {
        Self::ALL.into_iter().find(|selector| selector.source() == source)
    }

    const ALL: [Self; 14] = [
        Self::L4Proto,
        Self::Mark,
        Self::Iifname,
        Self::Oifname,
        Self::EtherSaddr,
        Self::IpSaddr,
        Self::IpDaddr,
        Self::Ip6Saddr,
        Self::Ip6Daddr,
        Self::ThSport,
        Self::ThDport,
        Self::Vni,
        Self::CtState,
        Self::CtStatus,
    ];

    /// Where the kernel takes it from.
    pub(crate) const fn source(self) -> Source {
        match self {
            Self::L4Proto => Source::Meta(NFT_META_L4PROTO),
            Self::Mark => Source::Meta(NFT_META_MARK),
            Self::Iifname => Source::Meta(NFT_META_IIFNAME),
            Self::Oifname => Source::Meta(NFT_META_OIFNAME),
            Self::Protocol => Source::Meta(NFT_META_PROTOCOL),
            // Offsets in struct ethhdr, iphdr, ipv6hdr, icmp6hdr, and arphdr with what follows it for Ethernet and IPv4; the
            // ports lead the TCP, UDP and SCTP headers. UDP's header has eight bytes, before the VNI in VXLAN's are four.
            Self::EtherSaddr => Source::Payload { base: LINK, offset: 6 },
            Self::EtherType => Source::Payload { base: LINK, offset: 12 },
            Self::ArpSaddrIp => Source::Payload { base: NETWORK, offset: 14 },
            Self::IpSaddr => Source::Payload { base: NETWORK, offset: 12 },
            Self::IpDaddr => Source::Payload { base: NETWORK, offset: 16 },
            Self::Ip6Saddr | Self::ArpSaddrEther => Source::Payload { base: NETWORK, offset: 8 },
            Self::Ip6Daddr | Self::ArpDaddrIp => Source::Payload { base: NETWORK, offset: 24 },
            Self::Icmpv6Type | Self::ThSport => Source::Payload { base: TRANSPORT, offset: 0 },
            Self::Icmpv6Target => Source::Payload { base: TRANSPORT, offset: 8 },
            Self::ThDport => Source::Payload { base: TRANSPORT, offset: 2 },
            Self::Vni => Source::Payload { base: TRANSPORT, offset: 12 },
            Self::CtState => Source::Ct(NFT_CT_STATE),
            Self::CtStatus => Source::Ct(NFT_CT_STATUS),
            Self::CtLabel => Source::Ct(NFT_CT_LABELS),
            Self::CtDirection => Source::Ct(NFT_CT_DIRECTION),
            Self::CtProtocol => Source::Ct(NFT_CT_PROTOCOL),
            Self::CtOriginalDport => Source::CtOriginal(NFT_CT_PROTO_DST),
            Self::FibSaddrType => Source::FibAddrtype(NFTA_FIB_F_SADDR),
            Self::FibDaddrType => Source::FibAddrtype(NFTA_FIB_F_DADDR),
        }
    }
}

/// The expression that loads a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// `meta`, with an `NFT_META_*` key.
    Meta(c_int),
    /// `ct`, with an `NFT_CT_*` key.
    Ct(c_int),
    /// `ct original`, with an `NFT_CT_*` key that is asked for by direction.
    CtOriginal(c_int),
    /// `payload`, from one of `enum nft_payload_bases` on.
    Payload { base: c_int, offset: u32 },
    /// `fib ... type`, with one of `enum nft_fib_flags`.
    FibAddrtype(u32),
}

const NFTA_FIB_F_SADDR: u32 = 1;
const NFTA_FIB_F_DADDR: u32 = 2;
