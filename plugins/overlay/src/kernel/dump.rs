//! Asks the kernel for what it has.

use std::net::IpAddr;

use nix::libc;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourMessage};
use rtnetlink::packet_route::route::{RouteHeader, RouteMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::error::Error;
use super::message::{self, family};
use super::read::{Address, Fdb, Link, Neighbour};
use super::route::Route;
use super::socket::Requests;
use crate::wanted::ROUTE_PROTOCOL;

impl Requests {
    /// An interface by name.
    pub(super) async fn link(&self, name: &str) -> Result<Option<Link>, Error> {
        match self.get(message::get_link(name), &format!("read device {name}")).await {
            Ok(Some(RouteNetlinkMessage::NewLink(message))) => Ok(Some((&message).into())),
            Ok(_) => Ok(None),
            Err(error) if error.errno() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All interfaces.
    pub(super) async fn links(&self) -> Result<Vec<Link>, Error> {
        let all = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let read = |message| match message {
            RouteNetlinkMessage::NewLink(message) => Some((&message).into()),
            _ => None,
        };
        self.dump(all, "read interfaces", read).await
    }

    /// All addresses, or those of an interface.
    pub(super) async fn addresses(&self, index: Option<u32>) -> Result<Vec<Address>, Error> {
        let mut all = AddressMessage::default();
        all.header.index = index.unwrap_or(0);
        let read = |message| match message {
            RouteNetlinkMessage::NewAddress(message) => {
                Address::read(&message).filter(|address| index.is_none_or(|index| index == address.index))
            }
            _ => None,
        };
        self.dump(RouteNetlinkMessage::GetAddress(all), "read addresses", read).await
    }

    /// The forwarding database of a VXLAN device.
    pub(super) async fn fdb(&self, index: u32) -> Result<Vec<Fdb>, Error> {
        self.neighbours_of(index, AddressFamily::Bridge, "read forwarding database", Fdb::read).await
    }

    /// The neighbours at a device, of both families.
    pub(super) async fn neighbours(&self, index: u32) -> Result<Vec<Neighbour>, Error> {
        self.neighbours_of(index, AddressFamily::Unspec, "read neighbours", Neighbour::read).await
    }

    async fn neighbours_of<T>(
        &self,
        index: u32,
        family: AddressFamily,
        what: &str,
        read: fn(&NeighbourMessage) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let mut all = NeighbourMessage::default();
        all.header.family = family;
        all.attributes.push(NeighbourAttribute::IfIndex(index));
        let read = |message| match message {
            RouteNetlinkMessage::NewNeighbour(message) if message.header.ifindex == index => read(&message),
            _ => None,
        };
        self.dump(RouteNetlinkMessage::GetNeighbour(all), what, read).await
    }

    /// The agent's routes of all tables.
    pub(super) async fn own_routes(&self) -> Result<Vec<Route>, Error> {
        let mut routes = Vec::new();
        for any in [IpAddr::from([0; 4]), IpAddr::from([0; 16])] {
            let mut filter = RouteMessage::default();
            filter.header.address_family = family(any);
            filter.header.protocol = ROUTE_PROTOCOL.into();
            routes.extend(self.routes(filter).await?);
        }
        routes.retain(|route| route.protocol == ROUTE_PROTOCOL);
        Ok(routes)
    }

    /// The main table.
    pub(super) async fn main_routes(&self) -> Result<Vec<Route>, Error> {
        let mut routes = Vec::new();
        for any in [IpAddr::from([0; 4]), IpAddr::from([0; 16])] {
            let mut filter = RouteMessage::default();
            filter.header.address_family = family(any);
            filter.header.table = RouteHeader::RT_TABLE_MAIN;
            routes.extend(self.routes(filter).await?);
        }
        routes.retain(Route::is_main);
        Ok(routes)
    }

    async fn routes(&self, filter: RouteMessage) -> Result<Vec<Route>, Error> {
        let read = |message| match message {
            RouteNetlinkMessage::NewRoute(message) => Route::read(message),
            _ => None,
        };
        match self.dump(RouteNetlinkMessage::GetRoute(filter), "read routes", read).await {
            // A kernel without IPv6 (ipv6.disable=1) has no such routes.
            Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => Ok(Vec::new()),
            found => found,
        }
    }
}
