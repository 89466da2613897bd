//! Routes (`struct rtmsg`). One with several next hops is as many routes here.

mod change;
mod get;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use nix::libc::{
    RT_SCOPE_LINK, RT_SCOPE_UNIVERSE, RT_TABLE_MAIN, RTA_CACHEINFO, RTA_DST, RTA_GATEWAY, RTA_METRICS,
    RTA_MULTIPATH, RTA_OIF, RTA_PREFSRC, RTA_PRIORITY, RTA_TABLE, RTN_LOCAL, RTN_UNICAST,
};
use wire::Writer;
use wire::attribute::{self, attributes, find, find_u32, u16_at, u32_at};

use crate::ip::Family;

/// `sizeof(struct rtmsg)`.
const HEADER: usize = 12;
/// `RTPROT_RA` (`rtnetlink.h`).
const PROTOCOL_RA: u8 = 9;
/// `rta_expires` in `struct rta_cacheinfo`: in clock ticks, 0 for never.
const EXPIRES: usize = 8;
/// `sizeof(struct rtnexthop)`.
const HOP_HEADER: usize = 8;
/// `RTNH_F_ONLINK` (`rtnetlink.h`).
const ONLINK: u32 = 4;
/// `RTAX_MTU` and `RTAX_ADVMSS` (`rtnetlink.h`).
const METRIC_MTU: u16 = 2;
const METRIC_ADVMSS: u16 = 8;

/// A route. In a route to be added, `None` leaves the choice to the kernel; in one that was read, the kernel has
/// nothing there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination; `0.0.0.0/0` or `::/0` for the default route.
    pub dst: IpNetwork,
    /// The next hop, of the destination's family.
    pub gateway: Option<IpAddr>,
    /// The index of the link it leads out of.
    pub oif: Option<u32>,
    /// The metric: the lower is preferred. The kernel's default is 0 for IPv4, 1024 for IPv6.
    pub priority: Option<u32>,
    /// The table; 254, the main table, where it is `None`.
    pub table: Option<u32>,
    /// The scope (`rt_scope_t`: 0 universe, 253 link, 254 host). An added IPv4 route without it gets universe
    /// if it has a gateway, and link if not, as with ip-route(8). IPv6 has no use for it.
    pub scope: Option<u8>,
    /// The path MTU in bytes (`RTAX_MTU`).
    pub mtu: Option<u32>,
    /// The MSS to advertise, in bytes (`RTAX_ADVMSS`).
    pub advmss: Option<u32>,
    /// The preferred source address.
    pub src: Option<IpAddr>,
    /// Whether the gateway counts as a neighbour on the link although no route says so (`RTNH_F_ONLINK`).
    pub onlink: bool,
    /// Whether a router advertisement made it (`RTPROT_RA`, RFC 4861). Ignored when a route is added.
    pub advertised: bool,
    /// IPv6: whether it expires, as does a route that came with an address of limited lifetime. Ignored when a route is
    /// added.
    pub expires: bool,
}

impl Route {
    /// The main table (`RT_TABLE_MAIN`).
    pub const MAIN: u32 = RT_TABLE_MAIN as u32;

    /// A route to a destination, everything else left open.
    #[must_use]
    pub fn new(dst: IpNetwork) -> Self {
        Self {
            dst,
            gateway: None,
            oif: None,
            priority: None,
            table: None,
            scope: None,
            mtu: None,
            advmss: None,
            src: None,
            onlink: false,
            advertised: false,
            expires: false,
        }
    }

    /// Reads the body of an `RTM_NEWROUTE` message; `None` where the route leads nowhere (unreachable,
    /// blackhole and the like), or is of another family. Of several next hops none is read.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let &[family, prefix, _, _, table, protocol, scope, kind] = body.first_chunk()?;
        if ![RTN_UNICAST, RTN_LOCAL].contains(&kind) {
            return None;
        }
        let unspecified: IpAddr = match family {
            family if family == Family::V4.number() => Ipv4Addr::UNSPECIFIED.into(),
            family if family == Family::V6.number() => Ipv6Addr::UNSPECIFIED.into(),
            _ => return None,
        };
        let mut route = Self {
            table: Some(u32::from(table)),
            scope: Some(scope),
            onlink: u32_at(body, 8)? & ONLINK != 0,
            advertised: protocol == PROTOCOL_RA,
            ..Self::new(IpNetwork::new(unspecified, prefix).ok()?)
        };
        for (kind, value) in attributes(body.get(HEADER..)?) {
            match kind {
                RTA_DST => route.dst = IpNetwork::new(attribute::address(value)?, prefix).ok()?,
                RTA_GATEWAY => route.gateway = attribute::address(value),
                RTA_OIF => route.oif = u32_at(value, 0),
                RTA_PRIORITY => route.priority = u32_at(value, 0),
                RTA_PREFSRC => route.src = attribute::address(value),
                // The header has room for the tables below 256 only.
                RTA_TABLE => route.table = u32_at(value, 0).or(route.table),
                RTA_METRICS => {
                    route.mtu = find_u32(value, METRIC_MTU);
                    route.advmss = find_u32(value, METRIC_ADVMSS);
                }
                RTA_CACHEINFO => route.expires = u32_at(value, EXPIRES)? != 0,
                _ => {}
            }
        }
        Some(route)
    }

    /// As [`Route::parse`], a route for each next hop (`RTA_MULTIPATH`) where there are several.
    pub(crate) fn parse_hops(body: &[u8]) -> Vec<Self> {
        let Some(route) = Self::parse(body) else { return Vec::new() };
        match find(body.get(HEADER..).unwrap_or_default(), RTA_MULTIPATH) {
            Some(hops) => route.with_hops(hops),
            None => vec![route],
        }
    }

    /// The same route by each of some next hops (`struct rtnexthop`).
    fn with_hops(&self, mut hops: &[u8]) -> Vec<Self> {
        let mut routes = Vec::new();
        while let Some(length) = u16_at(hops, 0).map(usize::from)
            && let Some(hop) = hops.get(..length)
            && let Some(own) = hop.get(HOP_HEADER..)
        {
            routes.push(Self {
                oif: u32_at(hop, 4),
                onlink: u32::from(hop[2]) & ONLINK != 0,
                gateway: find(own, RTA_GATEWAY).and_then(attribute::address),
                ..self.clone()
            });
            hops = hops.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        routes
    }

    /// Appends the body of a message about this route: of which origin (`RTPROT_*`) and kind (`RTN_*`).
    fn write(&self, request: &mut Writer, protocol: u8, kind: u8) {
        let table = self.table.unwrap_or(MAIN);
        let is_direct = self.dst.is_ipv4() && self.gateway.is_none();
        let header = Header {
            family: Family::of(self.dst.ip()).number(),
            prefix: self.dst.prefix(),
            table: u8::try_from(table).unwrap_or_default(),
            protocol,
            scope: self.scope.unwrap_or(if is_direct { RT_SCOPE_LINK } else { RT_SCOPE_UNIVERSE }),
            kind,
            flags: if self.onlink { ONLINK } else { 0 },
        };
        header.write(request);
        // The kernel refuses a destination with host bits.
        request.address(RTA_DST, self.dst.network());
        request.u32(RTA_TABLE, table);
        if let Some(gateway) = self.gateway {
            request.address(RTA_GATEWAY, gateway);
        }
        request.optional_u32(RTA_OIF, self.oif);
        request.optional_u32(RTA_PRIORITY, self.priority);
        if let Some(source) = self.src {
            request.address(RTA_PREFSRC, source);
        }
        if self.mtu.is_some() || self.advmss.is_some() {
            request.attribute(RTA_METRICS, |metrics| {
                metrics.optional_u32(METRIC_MTU, self.mtu);
                metrics.optional_u32(METRIC_ADVMSS, self.advmss);
            });
        }
    }
}

/// `struct rtmsg`.
#[derive(Default)]
struct Header {
    family: u8,
    /// The length of the destination's prefix.
    prefix: u8,
    /// The table, or 0 where it is above 255.
    table: u8,
    protocol: u8,
    scope: u8,
    kind: u8,
    flags: u32,
}

impl Header {
    fn write(&self, request: &mut Writer) {
        request.raw(&[self.family, self.prefix, 0, 0, self.table, self.protocol, self.scope, self.kind]);
        request.raw(&self.flags.to_ne_bytes());
    }
}

const MAIN: u32 = Route::MAIN;

#[cfg(test)]
mod tests;
