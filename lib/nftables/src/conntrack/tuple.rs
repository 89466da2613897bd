//! One direction of a flow: as the kernel lists it, or as a filter wants it.

use std::net::IpAddr;

use wire::attribute::{self, find};

/// Addresses and ports of one direction of a flow, as far as they are known, or as far as they matter to a filter: of the source
/// and of the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tuple {
    pub(super) protocol: u8,
    pub(super) addresses: [Option<IpAddr>; 2],
    /// ICMP has no ports.
    pub(super) ports: [Option<u16>; 2],
}

impl Tuple {
    /// Any flow of a protocol.
    pub(super) const fn of(protocol: u8) -> Self {
        Self { protocol, addresses: [None; 2], ports: [None; 2] }
    }

    /// Whether a flow's tuple has all that this one has.
    pub(super) fn matches(&self, found: &Self) -> bool {
        fn agree<T: PartialEq>(wanted: &[Option<T>; 2], found: &[Option<T>; 2]) -> bool {
            wanted.iter().zip(found).all(|(wanted, found)| wanted.is_none() || wanted == found)
        }
        self.protocol == found.protocol
            && agree(&self.addresses, &found.addresses)
            && agree(&self.ports, &found.ports)
    }

    pub(super) fn read(attributes: &[u8]) -> Option<Self> {
        let (ip, proto) = (find(attributes, CTA_TUPLE_IP)?, find(attributes, CTA_TUPLE_PROTO)?);
        let address = |v4, v6| find(ip, v4).or_else(|| find(ip, v6)).and_then(attribute::address);
        let port = |kind| Some(u16::from_be_bytes(find(proto, kind)?.try_into().ok()?));
        Some(Self {
            protocol: *find(proto, CTA_PROTO_NUM)?.first()?,
            addresses: [address(CTA_IP_V4_SRC, CTA_IP_V6_SRC), address(CTA_IP_V4_DST, CTA_IP_V6_DST)],
            ports: [port(CTA_PROTO_SRC_PORT), port(CTA_PROTO_DST_PORT)],
        })
    }
}

pub(super) const CTA_TUPLE_ORIG: u16 = 1;
pub(super) const CTA_TUPLE_REPLY: u16 = 2;
pub(super) const CTA_TUPLE_IP: u16 = 1;
pub(super) const CTA_TUPLE_PROTO: u16 = 2;
pub(super) const CTA_IP_V4_SRC: u16 = 1;
pub(super) const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
pub(super) const CTA_PROTO_NUM: u16 = 1;
pub(super) const CTA_PROTO_SRC_PORT: u16 = 2;
pub(super) const CTA_PROTO_DST_PORT: u16 = 3;
