//! Routes that make addresses the host's own (`RTN_LOCAL`) without any link having them.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::{RouteMessage, RouteType};
use nix::errno::Errno;
use nix::libc::{RT_TABLE_LOCAL, RTM_DELROUTE, RTM_NEWROUTE, RTN_LOCAL};

use super::{Route, add};
use crate::error::Error;
use crate::socket::Socket;

/// `LOOPBACK_IFINDEX` (`include/net/net_namespace.h`): `lo` in every network namespace.
const LOOPBACK: u32 = 1;
/// `RT_TABLE_LOCAL`.
const LOCAL: u32 = RT_TABLE_LOCAL as u32;
/// Where `struct rtmsg` has its type.
const KIND: usize = 7;
/// `RT_SCOPE_HOST`, which IPv4 demands.
const HOST: u8 = 254;

impl Socket {
    /// Has the host take packets to `address` for its own, as `ip route add local ADDRESS dev lo`; false where that is so
    /// already.
    pub fn add_local(&mut self, address: IpAddr) -> Result<bool, Error> {
        let operation = format_args!("add local route to {address}");
        match self.change(operation, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &request(address)) {
            Ok(()) => Ok(true),
            Err(error) if error.is_exists() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes [`Socket::add_local`] back; false where there is nothing to take back.
    pub fn del_local(&mut self, address: IpAddr) -> Result<bool, Error> {
        let operation = format_args!("delete local route to {address}");
        match self.change(operation, RTM_DELROUTE, 0, &request(address)) {
            Ok(()) => Ok(true),
            Err(error) if error.is(Errno::ESRCH) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the host takes packets to `address` for its own: an address of a link, or by a route alone. Costs the same
    /// however many links there are.
    pub fn is_local(&mut self, address: IpAddr) -> Result<bool, Error> {
        self.route(address, |body| Some(body.get(KIND) == Some(&RTN_LOCAL)))
            .map(|is_local| is_local == Some(true))
    }
}

fn request(address: IpAddr) -> RouteMessage {
    let mut request = add::request(&Route {
        oif: Some(LOOPBACK),
        table: Some(LOCAL),
        scope: Some(HOST),
        ..Route::new(IpNetwork::from(address))
    });
    request.header.kind = RouteType::Local;
    request
}
