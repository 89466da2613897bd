//! Asking for routes (`RTM_GETROUTE`): those out of a link or of all, and the one that a packet would take.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteMessage, RouteProtocol};
use nix::errno::Errno;
use nix::libc::RTM_GETROUTE;

use super::{MAIN, Route, family};
use crate::error::Error;
use crate::socket::Socket;

impl Socket {
    /// The main table's routes out of a link, of both families.
    pub fn routes(&mut self, oif: u32) -> Result<Vec<Route>, Error> {
        self.routes_in(oif, MAIN)
    }

    /// One table's routes out of a link, of both families.
    pub fn routes_in(&mut self, oif: u32, table: u32) -> Result<Vec<Route>, Error> {
        let mut request = RouteMessage::default();
        request.attributes = vec![RouteAttribute::Table(table), RouteAttribute::Oif(oif)];
        let operation = format_args!("read routes out of link {oif}");
        self.dump(operation, RTM_GETROUTE, &request, |body| {
            let is_asked_for = |route: &Route| route.oif == Some(oif) && route.table == Some(table);
            Route::parse_hops(body).into_iter().filter(is_asked_for).collect::<Vec<_>>()
        })
    }

    /// The main table's IPv6 routes, out of all links.
    pub fn routes_v6(&mut self) -> Result<Vec<Route>, Error> {
        let mut request = RouteMessage::default();
        request.header.address_family = AddressFamily::Inet6;
        request.attributes = vec![RouteAttribute::Table(MAIN)];
        self.dump(format_args!("read IPv6 routes"), RTM_GETROUTE, &request, |body| {
            let is_asked_for = |route: &Route| route.dst.is_ipv6() && route.table == Some(MAIN);
            Route::parse_hops(body).into_iter().filter(is_asked_for).collect::<Vec<_>>()
        })
    }

    /// The main table's IPv6 routes by router advertisements: default routes and those that were advertised themselves
    /// (`RTPROT_RA`), and those to the networks of addresses that end (`RTF_PREFIX_RT`). The kernel picks them out, so that
    /// the answer does not grow with other routes.
    pub fn advertised_routes(&mut self) -> Result<Vec<Route>, Error> {
        let mut found = Vec::new();
        for (protocol, flags) in
            [(RouteProtocol::Ra, RouteFlags::empty()), (RouteProtocol::Unspec, RouteFlags::Prefix)]
        {
            let mut request = RouteMessage::default();
            request.header.address_family = AddressFamily::Inet6;
            (request.header.protocol, request.header.flags) = (protocol, flags);
            request.attributes = vec![RouteAttribute::Table(MAIN)];
            let operation = format_args!("read advertised routes");
            found.extend(self.dump(operation, RTM_GETROUTE, &request, |body| {
                let is_asked_for = |route: &Route| {
                    let is_brought = if flags.is_empty() { route.advertised } else { route.expires };
                    is_brought && route.dst.is_ipv6() && route.table == Some(MAIN)
                };
                Route::parse_hops(body).into_iter().filter(is_asked_for).collect::<Vec<_>>()
            })?);
        }
        Ok(found)
    }

    /// One table's routes to a destination, out of whichever link.
    pub(super) fn routes_to(&mut self, dst: IpNetwork, table: u32) -> Result<Vec<Route>, Error> {
        let mut request = RouteMessage::default();
        request.header.address_family = family(dst.ip());
        request.attributes = vec![RouteAttribute::Table(table)];
        let operation = format_args!("read routes to {dst}");
        // The kernel has no filter by destination.
        let outcome = self.dump(operation, RTM_GETROUTE, &request, |body| {
            let is_asked_for = |route: &Route| {
                (route.dst.ip(), route.dst.prefix()) == (dst.network(), dst.prefix())
                    && route.table == Some(table)
            };
            Route::parse_hops(body).into_iter().filter(is_asked_for).collect::<Vec<_>>()
        });
        match outcome {
            // A table of which nobody has spoken before.
            Err(error) if error.is(Errno::ENOENT) => Ok(Vec::new()),
            outcome => outcome,
        }
    }

    /// The routes of every table and both families, those of the local table among them, by which the kernel knows
    /// the addresses of this host.
    pub fn all_routes(&mut self) -> Result<Vec<Route>, Error> {
        let request = RouteMessage::default();
        self.dump(format_args!("read all routes"), RTM_GETROUTE, &request, Route::parse_hops)
    }

    /// The route that a packet to `address` would take: its link, and its gateway unless the address is a
    /// neighbour. `None` where it is unreachable. For an address of this host the link is the loopback.
    pub fn route_to(&mut self, address: IpAddr) -> Result<Option<Route>, Error> {
        // The outer Option is for "understood", the inner one for "leads somewhere".
        Ok(self.route(address, |body| Some(Route::parse(body)))?.flatten())
    }

    /// Asks for the route to an address; `None` where it is unreachable.
    pub(crate) fn route<T>(
        &mut self,
        address: IpAddr,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let mut request = RouteMessage::default();
        request.header.address_family = family(address);
        request.header.destination_prefix_length = if address.is_ipv4() { 32 } else { 128 };
        request.attributes = vec![RouteAttribute::Destination(address.into())];
        let operation = format_args!("look up route to {address}");
        match self.get(operation, RTM_GETROUTE, &request, read) {
            Ok(found) => Ok(Some(found)),
            // The latter two: a route that prohibits, and a black hole (fib_props).
            Err(error)
                if [Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::EACCES, Errno::EINVAL]
                    .iter()
                    .any(|errno| error.is(*errno)) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
