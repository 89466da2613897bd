//! Data types: what values are in a set's key or a map's data.

/// A data type of `nft`, with its number (`enum datatypes` in `datatype.h`). The kernel keeps the number with a set and
/// makes no use of it; `nft list` needs it to print elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// `verdict`: the data of a verdict map, never a key.
    Verdict = 1,
    /// `ipv4_addr`.
    Ipv4Addr = 7,
    /// `ipv6_addr`.
    Ipv6Addr = 8,
    /// `ether_addr`.
    EtherAddr = 9,
    /// `ether_type`: what a frame carries.
    EtherType = 10,
    /// `inet_proto`: the protocol number above IP.
    InetProto = 12,
    /// `inet_service`: a port.
    InetService = 13,
    /// `mark`: packet or connection mark.
    Mark = 19,
    /// `ct_dir`: which way of its flow a packet goes.
    CtDirection = 27,
    /// `icmpv6_type`.
    Icmpv6Type = 29,
    /// `ifname`.
    Ifname = 41,
}

impl Type {
    pub(crate) const ALL: [Self; 11] = [
        Self::Verdict,
        Self::Ipv4Addr,
        Self::Ipv6Addr,
        Self::EtherAddr,
        Self::EtherType,
        Self::InetProto,
        Self::InetService,
        Self::Mark,
        Self::CtDirection,
        Self::Icmpv6Type,
        Self::Ifname,
    ];

    /// The number in `nft`'s `enum datatypes`, which fits into six bits. For [`Type::Verdict`] as the data of a map
    /// the kernel's own `NFT_DATA_VERDICT` takes its place.
    #[must_use]
    pub const fn id(self) -> u32 {
        self as u32
    }

    /// Length of a value in bytes, without the padding that it has in a concatenation.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Verdict => 0,
            Self::InetProto | Self::CtDirection | Self::Icmpv6Type => 1,
            Self::EtherType | Self::InetService => 2,
            Self::Ipv4Addr | Self::Mark => 4,
            Self::EtherAddr => 6,
            Self::Ipv6Addr | Self::Ifname => 16,
        }
    }

    /// Whether values are in host byte order.
    pub(crate) const fn is_host_order(self) -> bool {
        matches!(self, Self::Verdict | Self::Mark | Self::Ifname)
    }

    pub(crate) fn from_id(id: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.id() == id)
    }
}
