//! Routes that make addresses the host's own (`RTN_LOCAL`) without any link having them.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use nix::libc::{RT_SCOPE_HOST, RT_TABLE_LOCAL, RTM_DELROUTE, RTM_NEWROUTE, RTN_LOCAL, RTPROT_BOOT};
use wire::Writer;
use wire::message::{NLM_F_CREATE, NLM_F_EXCL};

use super::Route;
use crate::error::{Error, unless};
use crate::socket::Socket;

/// `LOOPBACK_IFINDEX` (`include/net/net_namespace.h`): `lo` in every network namespace.
const LOOPBACK: u32 = 1;
/// `RT_TABLE_LOCAL`.
const LOCAL: u32 = RT_TABLE_LOCAL as u32;
/// Where `struct rtmsg` has its type.
const KIND: usize = 7;

impl Socket {
    /// Has the host take packets to `address` for its own, as `ip route add local ADDRESS dev lo`; false where that is so
    /// already.
    pub fn add_local(&mut self, address: IpAddr) -> Result<bool, Error> {
        let operation = format_args!("add local route to {address}");
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        let added = self.change(operation, RTM_NEWROUTE, flags, |request| write(request, address));
        unless(added, &[Errno::EEXIST]).map(|added| added.is_some())
    }

    /// Takes [`Socket::add_local`] back; false where there is nothing to take back.
    pub fn del_local(&mut self, address: IpAddr) -> Result<bool, Error> {
        let operation = format_args!("delete local route to {address}");
        let deleted = self.change(operation, RTM_DELROUTE, 0, |request| write(request, address));
        unless(deleted, &[Errno::ESRCH]).map(|deleted| deleted.is_some())
    }

    /// Whether the host takes packets to `address` for its own: an address of a link, or by a route alone. Costs the same
    /// however many links there are.
    pub fn is_local(&mut self, address: IpAddr) -> Result<bool, Error> {
        self.route(address, |body| Some(body.get(KIND) == Some(&RTN_LOCAL)))
            .map(|is_local| is_local == Some(true))
    }
}

fn write(request: &mut Writer, address: IpAddr) {
    let route = Route {
        oif: Some(LOOPBACK),
        table: Some(LOCAL),
        // IPv4 demands it.
        scope: Some(RT_SCOPE_HOST),
        ..Route::new(IpNetwork::from(address))
    };
    route.write(request, RTPROT_BOOT, RTN_LOCAL);
}
