//! What an interface does with IPv4 (`IFLA_AF_SPEC`, `enum` in `linux/ip.h`).
//!
//! `/proc/sys/net/ipv4/conf` says the same, at a higher cost: see `netconf`.

use std::fmt::Arguments;

use nix::libc::{IFLA_AF_SPEC, RTM_SETLINK};
use wire::attribute::{find, u32_at};

use super::request::header;
use crate::error::Error;
use crate::ip::Family;
use crate::socket::Socket;

/// `IFLA_INET_CONF`.
const CONF: u16 = 1;
/// `IPV4_DEVCONF_PROMOTE_SECONDARIES`, `IPV4_DEVCONF_ARP_NOTIFY` and `IPV4_DEVCONF_ROUTE_LOCALNET`; the first parameter
/// is 1.
const PROMOTE_SECONDARIES: u16 = 20;
const ARP_NOTIFY: u16 = 22;
const ROUTE_LOCALNET: u16 = 26;

/// Reads `route_localnet` from `IFLA_AF_SPEC`.
pub(super) fn route_localnet(families: &[u8]) -> Option<bool> {
    let parameters = find(find(families, Family::V4.number().into())?, CONF)?;
    Some(u32_at(parameters, usize::from(ROUTE_LOCALNET - 1) * 4)? != 0)
}

impl Socket {
    /// Has a link announce its addresses when it comes up (`arp_notify`).
    pub fn announce_addresses(&mut self, index: u32) -> Result<(), Error> {
        let operation = format_args!("have link {index} announce its addresses");
        self.enable_ipv4(operation, index, ARP_NOTIFY)
    }

    /// Has a link keep the other addresses of a network when the first one is removed: the next one takes its place
    /// (`promote_secondaries`). systemd sets it everywhere.
    pub fn promote_secondaries(&mut self, index: u32) -> Result<(), Error> {
        let operation = format_args!("have link {index} keep secondary addresses");
        self.enable_ipv4(operation, index, PROMOTE_SECONDARIES)
    }

    /// Has a link pass packets from and to the network 127.0.0.0/8 (`route_localnet`). To end that, the sysctl is
    /// needed: only then does the kernel drop the routes that it cached (`devinet_conf_proc`).
    pub fn route_localnet(&mut self, index: u32) -> Result<(), Error> {
        let operation = format_args!("have link {index} route 127.0.0.0/8");
        self.enable_ipv4(operation, index, ROUTE_LOCALNET)
    }

    fn enable_ipv4(&mut self, operation: Arguments<'_>, index: u32, parameter: u16) -> Result<(), Error> {
        self.change(operation, RTM_SETLINK, 0, |request| {
            request.raw(&header(index));
            request.attribute(IFLA_AF_SPEC, |families| {
                families.attribute(Family::V4.number().into(), |family| {
                    family.nest(CONF, |parameters| parameters.u32(parameter, 1));
                });
            });
        })
    }
}
