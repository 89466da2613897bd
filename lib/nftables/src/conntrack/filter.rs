//! Which flows: criteria on both directions, compared here or by the kernel.

use std::fmt;
use std::net::IpAddr;

use wire::Writer;
use wire::attribute::find;

use super::tuple::{
    CTA_IP_V4_DST, CTA_IP_V4_SRC, CTA_PROTO_DST_PORT, CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_TUPLE_IP,
    CTA_TUPLE_ORIG, CTA_TUPLE_PROTO, CTA_TUPLE_REPLY, Tuple,
};

use crate::{Family, Field};

/// Which flows: those that meet every criterion given. *Original* is the direction of the first packet as it came in;
/// *reply* the direction of the answers, before they are translated back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// [`Family::Ip`] or [`Family::Ip6`].
    pub(super) family: Family,
    orig: Tuple,
    reply: Tuple,
}

impl Filter {
    /// Flows of a family ([`Family::Ip`] or [`Family::Ip6`]) and protocol (`IPPROTO_*`), to be narrowed by at least
    /// one of the other functions.
    #[must_use]
    pub const fn new(family: Family, protocol: u8) -> Self {
        Self { family, orig: Tuple::of(protocol), reply: Tuple::of(protocol) }
    }

    /// First sent to this address: that of the host, for a published port.
    #[must_use]
    pub const fn orig_dst(mut self, address: IpAddr) -> Self {
        self.orig.addresses[1] = Some(address);
        self
    }

    /// First sent to this port: that of the host, for a published port.
    #[must_use]
    pub const fn orig_dport(mut self, port: u16) -> Self {
        self.orig.ports[1] = Some(port);
        self
    }

    /// Answered by this address: that of the container, for a published port.
    #[must_use]
    pub const fn reply_src(mut self, address: IpAddr) -> Self {
        self.reply.addresses[0] = Some(address);
        self
    }

    /// Answered from this port: that of the container, for a published port.
    #[must_use]
    pub const fn reply_sport(mut self, port: u16) -> Self {
        self.reply.ports[0] = Some(port);
        self
    }

    /// Whether no criterion is left besides family and protocol.
    pub(super) fn is_everything(&self) -> bool {
        *self == self.protocol_only()
    }

    /// Whether one list can serve both.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        self.protocol_only() == other.protocol_only()
    }

    /// Whether the kernel itself compares every criterion correctly.
    pub(super) fn kernel_compares_correctly(&self) -> bool {
        let addresses = [self.orig.addresses, self.reply.addresses];
        matches!(self.orig.protocol, IPPROTO_TCP | IPPROTO_UDP)
            && !addresses.iter().flatten().flatten().any(IpAddr::is_ipv6)
    }

    /// The same without addresses.
    pub(super) const fn without_addresses(mut self) -> Self {
        self.orig.addresses = [None; 2];
        self.reply.addresses = [None; 2];
        self
    }

    /// Family and protocol alone.
    pub(super) const fn protocol_only(self) -> Self {
        Self::new(self.family, self.orig.protocol)
    }

    /// Whether a flow, as the kernel lists it, meets every criterion.
    pub(super) fn matches(&self, flow: &[u8]) -> bool {
        let is_met = |attribute, wanted: &Tuple| {
            find(flow, attribute).and_then(Tuple::read).is_some_and(|found| wanted.matches(&found))
        };
        is_met(CTA_TUPLE_ORIG, &self.orig) && is_met(CTA_TUPLE_REPLY, &self.reply)
    }

    /// The criteria in a request: both tuples, and which parts of them count.
    pub(super) fn write(&self, attributes: &mut Writer) {
        let orig = write(&self.orig, attributes, CTA_TUPLE_ORIG);
        let reply = write(&self.reply, attributes, CTA_TUPLE_REPLY);
        attributes.nest(CTA_FILTER, |filter| {
            filter.bytes(CTA_FILTER_ORIG_FLAGS, &orig.to_ne_bytes());
            filter.bytes(CTA_FILTER_REPLY_FLAGS, &reply.to_ne_bytes());
        });
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, Field::Proto(self.orig.protocol))?;
        for (direction, side) in [("orig", &self.orig), ("reply", &self.reply)] {
            let addresses = side.addresses.map(|address| address.map(|address| address.to_string()));
            let ports = side.ports.map(|port| port.map(|port| port.to_string()));
            let ends = ["src", "dst", "sport", "dport"].into_iter().zip(addresses.into_iter().chain(ports));
            for (end, value) in ends.filter_map(|(end, value)| Some((end, value?))) {
                write!(f, " {direction} {end} {value}")?;
            }
        }
        Ok(())
    }
}

/// Writes a tuple as `attribute`, and returns the flags that say which parts of it count.
fn write(tuple: &Tuple, attributes: &mut Writer, attribute: u16) -> u32 {
    let addresses = [(CTA_IP_V4_SRC, CTA_FILTER_F_IP_SRC), (CTA_IP_V4_DST, CTA_FILTER_F_IP_DST)];
    let ports = [
        (CTA_PROTO_SRC_PORT, CTA_FILTER_F_PROTO_SRC_PORT),
        (CTA_PROTO_DST_PORT, CTA_FILTER_F_PROTO_DST_PORT),
    ];
    let mut flags = CTA_FILTER_F_PROTO_NUM;
    attributes.nest(attribute, |nest| {
        nest.nest(CTA_TUPLE_IP, |ip| {
            for ((kind, flag), address) in addresses.into_iter().zip(tuple.addresses) {
                if let Some(IpAddr::V4(address)) = address {
                    ip.bytes(kind, &address.octets());
                    flags |= flag;
                }
            }
        });
        nest.nest(CTA_TUPLE_PROTO, |proto| {
            proto.bytes(CTA_PROTO_NUM, &[tuple.protocol]);
            for ((kind, flag), port) in ports.into_iter().zip(tuple.ports) {
                if let Some(port) = port {
                    proto.bytes(kind, &port.to_be_bytes());
                    flags |= flag;
                }
            }
        });
    });
    flags
}

const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
// The flags have no header for user space: CTA_FILTER_FLAG in net/netfilter/nf_internals.h.
const CTA_FILTER_F_IP_SRC: u32 = 1 << 0;
const CTA_FILTER_F_IP_DST: u32 = 1 << 1;
const CTA_FILTER_F_PROTO_NUM: u32 = 1 << 3;
const CTA_FILTER_F_PROTO_SRC_PORT: u32 = 1 << 4;
const CTA_FILTER_F_PROTO_DST_PORT: u32 = 1 << 5;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
