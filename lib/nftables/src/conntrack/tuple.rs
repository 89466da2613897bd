//! One direction of a flow: as the kernel lists it, or as a filter wants it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wire::attribute::find;

/// Addresses and ports of one direction of a flow, as far as they are known, or as far as they matter to a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tuple {
    pub(super) protocol: u8,
    pub(super) source: Option<IpAddr>,
    pub(super) destination: Option<IpAddr>,
    /// ICMP has no ports.
    pub(super) source_port: Option<u16>,
    pub(super) destination_port: Option<u16>,
}

impl Tuple {
    /// Any flow of a protocol.
    pub(super) const fn of(protocol: u8) -> Self {
        Self { protocol, source: None, destination: None, source_port: None, destination_port: None }
    }

    /// Whether a flow's tuple has all that this one has.
    pub(super) fn matches(&self, found: &Self) -> bool {
        self.protocol == found.protocol
            && self.source.is_none_or(|wanted| found.source == Some(wanted))
            && self.destination.is_none_or(|wanted| found.destination == Some(wanted))
            && self.source_port.is_none_or(|wanted| found.source_port == Some(wanted))
            && self.destination_port.is_none_or(|wanted| found.destination_port == Some(wanted))
    }

    pub(super) const fn without_addresses(self) -> Self {
        Self { source: None, destination: None, ..self }
    }

    pub(super) fn read(attributes: &[u8]) -> Option<Self> {
        let (ip, proto) = (find(attributes, CTA_TUPLE_IP)?, find(attributes, CTA_TUPLE_PROTO)?);
        let address = |v4: u16, v6: u16| {
            let v4 = || Some(Ipv4Addr::from(<[u8; 4]>::try_from(find(ip, v4)?).ok()?).into());
            let v6 = || Some(Ipv6Addr::from(<[u8; 16]>::try_from(find(ip, v6)?).ok()?).into());
            v4().or_else(v6)
        };
        let port = |kind| Some(u16::from_be_bytes(find(proto, kind)?.try_into().ok()?));
        Some(Self {
            source: address(CTA_IP_V4_SRC, CTA_IP_V6_SRC),
            destination: address(CTA_IP_V4_DST, CTA_IP_V6_DST),
            protocol: *find(proto, CTA_PROTO_NUM)?.first()?,
            source_port: port(CTA_PROTO_SRC_PORT),
            destination_port: port(CTA_PROTO_DST_PORT),
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
