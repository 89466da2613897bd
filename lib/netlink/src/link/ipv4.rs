//! What an interface does with IPv4 (`IFLA_AF_SPEC`, `enum` in `linux/ip.h`).
//!
//! The same as below `/proc/sys/net/ipv4/conf`, and cheaper: see [`netconf`](crate::Family).

use std::fmt::Arguments;

use netlink_packet_route::link::{AfSpecInet, AfSpecUnspec, InetDevConf, LinkAttribute, LinkMessage};
use nix::libc::{AF_INET, RTM_SETLINK, c_int};

use crate::attribute::{attributes, u32_at};
use crate::error::Error;
use crate::socket::Socket;

/// `IFLA_INET_CONF`.
const CONF: u16 = 1;
/// `IPV4_DEVCONF_ROUTE_LOCALNET`; the first parameter is 1.
const ROUTE_LOCALNET: usize = 26;

/// Reads `route_localnet` from `IFLA_AF_SPEC`.
pub(super) fn route_localnet(families: &[u8]) -> Option<bool> {
    let of = |bytes, wanted: c_int| {
        attributes(bytes).find(|(kind, _)| c_int::from(*kind) == wanted).map(|(_, value)| value)
    };
    let parameters = of(of(families, AF_INET)?, c_int::from(CONF))?;
    Some(u32_at(parameters, (ROUTE_LOCALNET - 1) * 4)? != 0)
}

impl Socket {
    /// Has a link announce its addresses when it comes up (`arp_notify`).
    pub fn announce_addresses(&mut self, index: u32) -> Result<(), Error> {
        let operation = format_args!("have link {index} announce its addresses");
        let mut parameters = InetDevConf::default();
        parameters.arp_notify = 1;
        self.set_ipv4(operation, index, parameters)
    }

    /// Has a link keep the other addresses of a network when the first one is removed, of which the next one takes its place
    /// (`promote_secondaries`), as systemd sets it everywhere.
    pub fn promote_secondaries(&mut self, index: u32) -> Result<(), Error> {
        let operation = format_args!("have link {index} keep secondary addresses");
        let mut parameters = InetDevConf::default();
        parameters.promote_secondaries = 1;
        self.set_ipv4(operation, index, parameters)
    }

    /// Has a link pass packets from and to the network 127.0.0.0/8 (`route_localnet`). To end that, the sysctl is
    /// needed: the kernel forgets what it routed by it for that alone (`devinet_conf_proc`).
    pub fn route_localnet(&mut self, index: u32) -> Result<(), Error> {
        let operation = format_args!("have link {index} route 127.0.0.0/8");
        let mut parameters = InetDevConf::default();
        parameters.route_localnet = 1;
        self.set_ipv4(operation, index, parameters)
    }

    fn set_ipv4(
        &mut self,
        operation: Arguments<'_>,
        index: u32,
        parameters: InetDevConf,
    ) -> Result<(), Error> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        // Parameters that are zero are not sent.
        let conf = AfSpecInet::DevConfRequest(parameters);
        request.attributes = vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![conf])])];
        self.change(operation, RTM_SETLINK, 0, &request)
    }
}
