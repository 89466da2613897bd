//! What the kernel has of routes.

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteScope, RouteType, RouteVia,
};

use super::entries::is_inside;
use super::message::LAST;
use crate::record::Backend;

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) to: IpNetwork,
    pub(super) kind: RouteType,
    pub(super) protocol: u8,
    pub(super) table: u32,
    pub(super) metric: u32,
    /// The interface; of several the first.
    pub(super) index: Option<u32>,
    pub(super) gateway: Option<IpAddr>,
    pub(super) is_onlink: bool,
    /// To hosts on the link itself.
    pub(super) is_direct: bool,
    /// It has a preferred source, metrics, a type of service, several next hops, or other things.
    pub(super) has_more: bool,
    pub(super) message: RouteMessage,
}

impl Route {
    pub(super) fn read(message: RouteMessage) -> Option<Self> {
        let header = &message.header;
        let any = match header.address_family {
            AddressFamily::Inet => IpAddr::from([0; 4]),
            AddressFamily::Inet6 => IpAddr::from([0; 16]),
            _ => return None,
        };
        let (mut to, mut metric, mut index, mut gateway) = (any, 0, None, None);
        let (mut table, mut has_more) = (u32::from(header.table), header.tos != 0);
        let mut hops = Vec::new();
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => to = address_of(address)?,
                RouteAttribute::Gateway(address) => gateway = address_of(address),
                RouteAttribute::Via(RouteVia::Inet6(address)) => gateway = Some(IpAddr::V6(*address)),
                RouteAttribute::Oif(oif) => index = Some(*oif),
                RouteAttribute::Priority(priority) => metric = *priority,
                RouteAttribute::Table(number) => table = *number,
                RouteAttribute::MultiPath(all) => hops.clone_from(all),
                // IPv6 routes have these always.
                RouteAttribute::CacheInfo(_) | RouteAttribute::Preference(_) => {}
                _ => has_more = true,
            }
        }
        if let Some(hop) = hops.first() {
            (index, has_more) = (Some(hop.interface_index), true);
        }
        Some(Self {
            to: IpNetwork::new(to, header.destination_prefix_length).ok()?,
            kind: header.kind,
            protocol: u8::from(header.protocol),
            table,
            metric,
            index,
            gateway,
            is_onlink: header.flags.contains(RouteFlags::Onlink),
            // IPv6 routes have no scope.
            is_direct: gateway.is_none() && (header.scope == RouteScope::Link || any.is_ipv6()),
            has_more,
            message,
        })
    }

    pub(super) fn is_main(&self) -> bool {
        self.table == u32::from(RouteHeader::RT_TABLE_MAIN)
    }

    /// Whether it is exactly the route to another node's block that `message::add_route` makes. A metric that is not given is
    /// 0 for IPv4 and 1024 for IPv6.
    pub(super) fn leads_to_block(&self, device: u32, backend: Backend) -> bool {
        let is_right = match backend {
            Backend::Vxlan => self.gateway == Some(self.to.network()) && self.is_onlink,
            Backend::Wireguard => self.is_direct && !self.is_onlink,
        };
        let metric = if self.to.is_ipv4() { 0 } else { 1024 };
        self.kind == RouteType::Unicast
            && self.is_main()
            && self.index == Some(device)
            && is_right
            && self.metric == metric
            && !self.has_more
    }

    /// Whether it is exactly the blackhole that `message::add_blackhole` makes.
    pub(super) fn is_last_blackhole(&self) -> bool {
        self.kind == RouteType::BlackHole && self.is_main() && self.metric == LAST
    }

    /// Whether it is one of the agent's blackholes for these prefixes.
    pub(super) fn is_blackhole_in(&self, prefixes: &[IpNetwork]) -> bool {
        self.kind == RouteType::BlackHole && prefixes.iter().any(|prefix| is_inside(self.to, *prefix))
    }

    /// Such as `10.201.0.0/24 dev br0`, with the interface's name.
    pub(super) fn text(&self, name: Option<&str>) -> Text<'_> {
        Text(self, name.map(str::to_owned))
    }
}

fn address_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

/// A route as ip(8) writes it.
pub(super) struct Text<'a>(&'a Route, Option<String>);

impl fmt::Display for Text<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(route, name) = self;
        match route.kind {
            RouteType::Unicast => {}
            RouteType::BlackHole => formatter.write_str("blackhole ")?,
            RouteType::Unreachable => formatter.write_str("unreachable ")?,
            RouteType::Prohibit => formatter.write_str("prohibit ")?,
            RouteType::Throw => formatter.write_str("throw ")?,
            kind => write!(formatter, "type {} ", u8::from(kind))?,
        }
        write!(formatter, "{}", route.to)?;
        match name {
            Some(name) if route.kind == RouteType::Unicast => write!(formatter, " dev {name}"),
            _ => Ok(()),
        }
    }
}
