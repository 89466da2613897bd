//! What an interface does with IP (`IFLA_AF_SPEC`, the parameters of `linux/ip.h` and `linux/ipv6.h`), and what its network
//! namespace does (`RTM_GETNETCONF`, `netconf.h`).
//!
//! `/proc/sys/net` says the same; but there every namespace of the machine has entries of the same names in the kernel's cache
//! of names, and to find one's own takes a millisecond among a thousand.

use std::fmt::Arguments;

use nix::libc::{IFLA_AF_SPEC, RTM_GETNETCONF, RTM_SETLINK};
use wire::Writer;
use wire::attribute::{find, find_u32, u32_at};

use super::request::header;
use crate::error::Error;
use crate::ip::Family;
use crate::socket::Socket;

/// `IFLA_INET_CONF`: parameters of IPv4.
const CONF_V4: u16 = 1;
/// `IPV4_DEVCONF_PROMOTE_SECONDARIES`, `IPV4_DEVCONF_ARP_NOTIFY` and `IPV4_DEVCONF_ROUTE_LOCALNET`; the first parameter
/// is 1.
const PROMOTE_SECONDARIES: u16 = 20;
const ARP_NOTIFY: u16 = 22;
const ROUTE_LOCALNET: u16 = 26;

/// `IFLA_INET6_CONF`: parameters of IPv6, a number each.
const CONF_V6: u16 = 2;
/// `DEVCONF_FORWARDING` and `DEVCONF_ACCEPT_RA`; the first parameter is 0.
const FORWARDING: usize = 0;
const ACCEPT_RA: usize = 3;

/// `NLMSG_ALIGN(sizeof(struct netconfmsg))`.
const NETCONF_HEADER: usize = 4;
/// `NETCONFA_IFINDEX`, and for it `NETCONFA_IFINDEX_ALL`: the namespace rather than one of its interfaces.
const NETCONF_IFINDEX: u16 = 1;
const ALL: i32 = -1;
/// `NETCONFA_FORWARDING`.
const NETCONF_FORWARDING: u16 = 2;

/// Reads `route_localnet` from `IFLA_AF_SPEC`.
pub(super) fn route_localnet(families: &[u8]) -> Option<bool> {
    let parameters = find(find(families, Family::V4.number().into())?, CONF_V4)?;
    Some(u32_at(parameters, usize::from(ROUTE_LOCALNET - 1) * 4)? != 0)
}

/// What an interface does with router advertisements (RFC 4861).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advertisements {
    /// Whether they take effect: never (0), unless the interface forwards (1), always (2) (`accept_ra`).
    pub accepted: u32,
    /// Whether the interface forwards (`forwarding`).
    pub forwarding: bool,
}

impl Advertisements {
    /// Whether advertisements that come in now give this host routes and addresses (`ipv6_accept_ra`).
    #[must_use]
    pub const fn take_effect(self) -> bool {
        if self.forwarding { self.accepted == 2 } else { self.accepted != 0 }
    }

    /// Reads them from `IFLA_AF_SPEC`.
    pub(super) fn parse(families: &[u8]) -> Option<Self> {
        let parameters = find(find(families, Family::V6.number().into())?, CONF_V6)?;
        let parameter = |number: usize| u32_at(parameters, number * 4);
        Some(Self { accepted: parameter(ACCEPT_RA)?, forwarding: parameter(FORWARDING)? != 0 })
    }
}

impl Socket {
    /// Whether packets of a family are forwarded (`net.ipv4.ip_forward`, `net.ipv6.conf.all.forwarding`). Fails where
    /// the kernel does not have the family.
    pub fn forwards(&mut self, family: Family) -> Result<bool, Error> {
        let operation = format_args!("ask whether {family:?} is forwarded");
        let fill = |request: &mut Writer| {
            request.raw(&[family.number(), 0, 0, 0]);
            request.bytes(NETCONF_IFINDEX, &ALL.to_ne_bytes());
        };
        self.get(operation, RTM_GETNETCONF, fill, |body| {
            Some(find_u32(body.get(NETCONF_HEADER..)?, NETCONF_FORWARDING)? != 0)
        })
    }

    /// Makes a link announce its IPv4 addresses when its hardware address is set, and when it comes up (`arp_notify`).
    pub fn announce_addresses(&mut self, index: u32) -> Result<(), Error> {
        let operation = format_args!("have link {index} announce its addresses");
        self.enable_ipv4(operation, index, ARP_NOTIFY)
    }

    /// Makes a link keep the other addresses of a network when the first one is removed: the next one takes its place
    /// (`promote_secondaries`). systemd sets it everywhere.
    pub fn promote_secondaries(&mut self, index: u32) -> Result<(), Error> {
        let operation = format_args!("have link {index} keep secondary addresses");
        self.enable_ipv4(operation, index, PROMOTE_SECONDARIES)
    }

    /// Lets a link pass packets from and to the network 127.0.0.0/8 (`route_localnet`). To end that, the sysctl is
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
                    family.nest(CONF_V4, |parameters| parameters.u32(parameter, 1));
                });
            });
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_follows_advertisements_only_with_accept_ra_2() {
        let heeds = |accepted, forwarding| Advertisements { accepted, forwarding }.take_effect();
        assert!(heeds(1, false) && heeds(2, false) && heeds(2, true));
        assert!(!heeds(0, false) && !heeds(0, true) && !heeds(1, true));
    }

    #[test]
    fn short_attributes_say_nothing() {
        assert_eq!(Advertisements::parse(&[8, 0, 10, 0, 4, 0, 2, 0]), None);
        assert_eq!(Advertisements::parse(&[]), None);
    }
}
