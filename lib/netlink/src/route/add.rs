//! Adding routes (`RTM_NEWROUTE`).

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol,
    RouteScope, RouteType,
};
use nix::libc::RTM_NEWROUTE;

use super::{MAIN, Route, family};
use crate::error::Error;
use crate::socket::Socket;

impl Socket {
    /// Adds a route; false where its table has one to the same destination with the same metric already.
    pub fn add_route(&mut self, route: &Route) -> Result<bool, Error> {
        let operation = format_args!("add route to {}", route.dst);
        match self.change(operation, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &request(route)) {
            Ok(()) => Ok(true),
            Err(error) if error.is_exists() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

pub(super) fn request(route: &Route) -> RouteMessage {
    let table = route.table.unwrap_or(MAIN);
    let mut request = RouteMessage::default();
    request.header = RouteHeader {
        address_family: family(route.dst.ip()),
        destination_prefix_length: route.dst.prefix(),
        table: u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC),
        // What administrators' tools use: "boot", which no routing daemon takes for its own.
        protocol: RouteProtocol::Boot,
        scope: scope(route),
        kind: RouteType::Unicast,
        flags: if route.onlink { RouteFlags::Onlink } else { RouteFlags::empty() },
        ..RouteHeader::default()
    };
    // The kernel refuses a destination with host bits.
    let destination = RouteAttribute::Destination(RouteAddress::from(route.dst.network()));
    let mut attributes = vec![destination, RouteAttribute::Table(table)];
    attributes.extend(route.gateway.map(|address| RouteAttribute::Gateway(address.into())));
    attributes.extend(route.oif.map(RouteAttribute::Oif));
    attributes.extend(route.priority.map(RouteAttribute::Priority));
    attributes.extend(route.src.map(|address| RouteAttribute::PrefSource(address.into())));
    let mtu = route.mtu.map(RouteMetric::Mtu);
    let metrics: Vec<_> = mtu.into_iter().chain(route.advmss.map(RouteMetric::Advmss)).collect();
    if !metrics.is_empty() {
        attributes.push(RouteAttribute::Metrics(metrics));
    }
    request.attributes = attributes;
    request
}

fn scope(route: &Route) -> RouteScope {
    match route.scope {
        Some(scope) => scope.into(),
        None if route.dst.is_ipv4() && route.gateway.is_none() => RouteScope::Link,
        None => RouteScope::Universe,
    }
}
