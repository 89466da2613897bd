//! Adding and removing routes (`RTM_NEWROUTE`, `RTM_DELROUTE`), also those that make addresses the host's own (`RTN_LOCAL`)
//! without any link having them.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use nix::libc::{
    RT_SCOPE_HOST, RT_TABLE_LOCAL, RTM_DELROUTE, RTM_NEWROUTE, RTN_LOCAL, RTN_UNICAST, RTPROT_BOOT,
    RTPROT_UNSPEC,
};
use wire::Writer;
use wire::message::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};

use super::{MAIN, Route};
use crate::error::{Error, unless};
use crate::socket::Socket;

/// The metric of an IPv6 route without one (`IP6_RT_PRIO_USER`, `include/uapi/linux/ipv6_route.h`).
const METRIC_V6: u32 = 1024;
/// How many metrics, from there on, are for routes without one: each route gets a higher one than those before it.
const SPAN: u32 = 256;
/// How often another process may take a metric while it is chosen.
const TRIES: usize = 16;
/// `LOOPBACK_IFINDEX` (`include/net/net_namespace.h`): `lo` in every network namespace.
const LOOPBACK: u32 = 1;
/// `RT_TABLE_LOCAL`.
const LOCAL: u32 = RT_TABLE_LOCAL as u32;
/// Where `struct rtmsg` has its type.
const KIND: usize = 7;

impl Socket {
    /// Adds a route after those that its table has to the same destination with the same metric, which stay preferred;
    /// false where it has this very route, by the same gateway out of the same link.
    ///
    /// IPv6 knows no order among routes of one metric, but spreads packets over them: there, a route whose metric is
    /// taken gets the next free one, and of those without a metric each further route has a higher one.
    pub fn append_route(&mut self, route: &Route) -> Result<bool, Error> {
        if route.dst.is_ipv4() {
            return self.new_route(route, NLM_F_APPEND);
        }
        for _ in 0..TRIES {
            let Some(metric) = self.free_metric(route)? else { return Ok(false) };
            if self.new_route(&Route { priority: Some(metric), ..route.clone() }, NLM_F_EXCL)? {
                return Ok(true);
            }
        }
        self.add_route(route)
    }

    /// The metric for an IPv6 route beside the existing ones; `None` where this route exists.
    fn free_metric(&mut self, route: &Route) -> Result<Option<u32>, Error> {
        let named = route.priority.filter(|metric| *metric != 0);
        let range = named.map_or(METRIC_V6..METRIC_V6 + SPAN, |metric| metric..metric.saturating_add(1));
        let table = route.table.filter(|table| *table != 0).unwrap_or(MAIN);
        let there = self.routes_to(route.dst, table)?;
        let metric = |there: &Route| there.priority.unwrap_or_default();
        let is_it = |there: &Route| {
            range.contains(&metric(there)) && (there.gateway, there.oif) == (route.gateway, route.oif)
        };
        if there.iter().any(is_it) {
            return Ok(None);
        }
        let taken: Vec<u32> = there.iter().map(metric).collect();
        let free = if let Some(metric) = named {
            let mut behind = metric..=metric.saturating_add(SPAN);
            behind.find(|metric| !taken.contains(metric))
        } else {
            taken.into_iter().filter(|metric| range.contains(metric)).max().map(|last| last + 1)
        };
        Ok(Some(free.unwrap_or(named.unwrap_or(METRIC_V6))))
    }

    /// Adds a route; false where its table has one to the same destination with the same metric already.
    pub fn add_route(&mut self, route: &Route) -> Result<bool, Error> {
        self.new_route(route, NLM_F_EXCL)
    }

    fn new_route(&mut self, route: &Route, flag: u16) -> Result<bool, Error> {
        let operation = format_args!("add route to {}", route.dst);
        // Boot, as administrators' tools have it: no routing daemon takes such a route for its own.
        let fill = |request: &mut Writer| route.write(request, RTPROT_BOOT, RTN_UNICAST);
        let added = self.change(operation, RTM_NEWROUTE, NLM_F_CREATE | flag, fill);
        unless(added, &[Errno::EEXIST]).map(|added| added.is_some())
    }

    /// Removes a route of any origin; false where it is not there. Of several to one destination it is the one with
    /// this gateway, link and metric; without a metric, or with the metric 0, the preferred one of them.
    pub fn del_route(&mut self, route: &Route) -> Result<bool, Error> {
        let operation = format_args!("delete route to {}", route.dst);
        let fill = |request: &mut Writer| route.write(request, RTPROT_UNSPEC, RTN_UNICAST);
        let deleted = self.change(operation, RTM_DELROUTE, 0, fill);
        unless(deleted, &[Errno::ESRCH]).map(|deleted| deleted.is_some())
    }

    /// Makes the host accept packets to `address` as its own, as `ip route add local ADDRESS dev lo` does; false where there
    /// is such a route.
    pub fn add_local(&mut self, address: IpAddr) -> Result<bool, Error> {
        let operation = format_args!("add local route to {address}");
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        let added = self.change(operation, RTM_NEWROUTE, flags, |request| write_local(request, address));
        unless(added, &[Errno::EEXIST]).map(|added| added.is_some())
    }

    /// Removes the route that [`Socket::add_local`] adds; false where there is none.
    pub fn del_local(&mut self, address: IpAddr) -> Result<bool, Error> {
        let operation = format_args!("delete local route to {address}");
        let deleted = self.change(operation, RTM_DELROUTE, 0, |request| write_local(request, address));
        unless(deleted, &[Errno::ESRCH]).map(|deleted| deleted.is_some())
    }

    /// Whether the host accepts packets to `address` as its own: an address of a link, or by a route alone. Costs the same
    /// however many links there are.
    pub fn is_local(&mut self, address: IpAddr) -> Result<bool, Error> {
        self.route(address, |body| Some(body.get(KIND) == Some(&RTN_LOCAL)))
            .map(|is_local| is_local == Some(true))
    }
}

/// Appends a local route to an address.
fn write_local(request: &mut Writer, address: IpAddr) {
    let route = Route {
        oif: Some(LOOPBACK),
        table: Some(LOCAL),
        // IPv4 demands it.
        scope: Some(RT_SCOPE_HOST),
        ..Route::new(IpNetwork::from(address))
    };
    route.write(request, RTPROT_BOOT, RTN_LOCAL);
}
