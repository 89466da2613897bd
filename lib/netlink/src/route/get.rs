//! Asking for routes (`RTM_GETROUTE`): those out of a link or of all, and the one that a packet would take.

use std::fmt::Arguments;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use nix::libc::{RTA_DST, RTA_OIF, RTA_TABLE, RTM_GETROUTE};
use wire::Writer;

use super::{Header, MAIN, PROTOCOL_RA, Route};
use crate::error::{Error, unless};
use crate::ip::Family;
use crate::socket::Socket;

/// `RTM_F_PREFIX` (`rtnetlink.h`): routes to the networks of advertised addresses.
const PREFIX_ROUTE: u32 = 0x800;

impl Socket {
    /// The main table's routes out of a link, of both families.
    pub fn routes(&mut self, oif: u32) -> Result<Vec<Route>, Error> {
        self.routes_in(oif, MAIN)
    }

    /// One table's routes out of a link, of both families.
    pub fn routes_in(&mut self, oif: u32, table: u32) -> Result<Vec<Route>, Error> {
        let operation = format_args!("read routes out of link {oif}");
        self.dump_routes(operation, &Header::default(), Some(table), Some(oif), |_| true)
    }

    /// The main table's IPv6 routes, out of all links.
    pub fn routes_v6(&mut self) -> Result<Vec<Route>, Error> {
        let header = Header { family: Family::V6.number(), ..Header::default() };
        let operation = format_args!("read IPv6 routes");
        self.dump_routes(operation, &header, Some(MAIN), None, |route| route.dst.is_ipv6())
    }

    /// The main table's IPv6 routes by router advertisements: default routes and those that were advertised themselves
    /// (`RTPROT_RA`), and those to the networks of addresses that expire (`RTM_F_PREFIX`). The kernel filters: the answer
    /// does not grow with other routes.
    pub fn advertised_routes(&mut self) -> Result<Vec<Route>, Error> {
        let mut found = Vec::new();
        for (protocol, flags) in [(PROTOCOL_RA, 0), (0, PREFIX_ROUTE)] {
            let header = Header { family: Family::V6.number(), protocol, flags, ..Header::default() };
            let operation = format_args!("read advertised routes");
            found.extend(self.dump_routes(operation, &header, Some(MAIN), None, |route| {
                route.dst.is_ipv6() && if flags == 0 { route.advertised } else { route.expires }
            })?);
        }
        Ok(found)
    }

    /// The main table's default routes of a family, the preferred one first. The cost grows with the table.
    pub fn default_routes(&mut self, family: Family) -> Result<Vec<Route>, Error> {
        let any: IpAddr = match family {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        let everything = IpNetwork::new(any, 0).unwrap_or_else(|_| IpNetwork::from(any));
        let mut routes = self.routes_to(everything, MAIN)?;
        routes.sort_by_key(|route| route.priority.unwrap_or_default());
        Ok(routes)
    }

    /// One table's routes to a destination, out of any link.
    pub(super) fn routes_to(&mut self, dst: IpNetwork, table: u32) -> Result<Vec<Route>, Error> {
        let header = Header { family: Family::of(dst.ip()).number(), ..Header::default() };
        let operation = format_args!("read routes to {dst}");
        // The kernel has no filter by destination.
        let routes = self.dump_routes(operation, &header, Some(table), None, |route| {
            (route.dst.ip(), route.dst.prefix()) == (dst.network(), dst.prefix())
        });
        // ENOENT: a table that has never had a route.
        unless(routes, &[Errno::ENOENT]).map(Option::unwrap_or_default)
    }

    /// The routes of every table and both families, those of the local table among them, by which the kernel knows
    /// the addresses of this host.
    pub fn all_routes(&mut self) -> Result<Vec<Route>, Error> {
        self.dump_routes(format_args!("read all routes"), &Header::default(), None, None, |_| true)
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
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        let header = Header { family: Family::of(address).number(), prefix, ..Header::default() };
        let fill = |request: &mut Writer| {
            header.write(request);
            request.address(RTA_DST, address);
        };
        let found = self.get(format_args!("look up route to {address}"), RTM_GETROUTE, fill, read);
        // The latter two: a route that prohibits, and a black hole (fib_props).
        unless(found, &[Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::EACCES, Errno::EINVAL])
    }

    /// The routes that match a request, of one table and out of one link where these are given, and `is_asked_for`. Not every
    /// kernel filters, so that is done here in any case.
    fn dump_routes(
        &mut self,
        operation: Arguments<'_>,
        header: &Header,
        table: Option<u32>,
        oif: Option<u32>,
        is_asked_for: impl Fn(&Route) -> bool,
    ) -> Result<Vec<Route>, Error> {
        let fill = |request: &mut Writer| {
            header.write(request);
            request.optional_u32(RTA_TABLE, table);
            request.optional_u32(RTA_OIF, oif);
        };
        self.dump(operation, RTM_GETROUTE, fill, |body| {
            Route::parse_hops(body).into_iter().filter(|route| {
                table.is_none_or(|table| route.table == Some(table))
                    && oif.is_none_or(|oif| route.oif == Some(oif))
                    && is_asked_for(route)
            })
        })
    }
}
