//! Asking for links (`RTM_GETLINK`).

use std::fmt::Arguments;

use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use nix::errno::Errno;
use nix::libc::{IFLA_MASTER, RTM_GETLINK};

use super::{HEADER, Link};
use crate::attribute::{attributes, u32_at};
use crate::error::Error;
use crate::socket::Socket;

impl Socket {
    /// The link of this name, or of this alternative name; `None` where there is none.
    pub fn get_link(&mut self, name: &str) -> Result<Option<Link>, Error> {
        let mut request = LinkMessage::default();
        request.attributes = vec![LinkAttribute::IfName(name.to_owned()), without_statistics()];
        self.find_link(format_args!("get link {name}"), &request)
    }

    /// The link with this index; `None` where there is none.
    pub fn get_link_by_index(&mut self, index: u32) -> Result<Option<Link>, Error> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        request.attributes = vec![without_statistics()];
        self.find_link(format_args!("get link {index}"), &request)
    }

    /// Whether a bridge has any port. The number of ports does not matter to the cost, as long as the socket
    /// is used by the thread that opened it; otherwise all of them are read.
    pub fn has_ports(&mut self, bridge: u32) -> Result<bool, Error> {
        let operation = format_args!("look for ports of bridge {bridge}");
        let mut request = LinkMessage::default();
        // With an IFLA_EXT_MASK of any value the kernel would first measure each link there is (rtnl_calcit).
        request.attributes = vec![LinkAttribute::Controller(bridge)];
        let port = |body: &[u8]| master(body).filter(|&master| master == bridge);
        // A dump cannot be called off except by closing its socket.
        match self.sibling()? {
            Some(socket) => socket.any(operation, RTM_GETLINK, &request, port),
            None => self.dump(operation, RTM_GETLINK, &request, port).map(|ports| !ports.is_empty()),
        }
    }

    /// Whether a bridge has a port of a kind. Ports are read until there is one.
    pub fn has_port_that(&mut self, bridge: u32, is_it: impl Fn(&Link) -> bool) -> Result<bool, Error> {
        let operation = format_args!("look through ports of bridge {bridge}");
        let mut request = LinkMessage::default();
        request.attributes = vec![LinkAttribute::Controller(bridge)];
        let port = |body: &[u8]| Link::parse(body).filter(|link| link.master == Some(bridge) && is_it(link));
        match self.sibling()? {
            Some(socket) => socket.any(operation, RTM_GETLINK, &request, port),
            None => self.dump(operation, RTM_GETLINK, &request, port).map(|ports| !ports.is_empty()),
        }
    }

    /// All ports of a bridge.
    pub fn ports(&mut self, bridge: u32) -> Result<Vec<Link>, Error> {
        let mut request = LinkMessage::default();
        request.attributes = vec![LinkAttribute::Controller(bridge), without_statistics()];
        // Kernels before the filter (Linux 4.6) send every link.
        self.dump(format_args!("read ports of bridge {bridge}"), RTM_GETLINK, &request, |body| {
            Link::parse(body).filter(|link| link.master == Some(bridge))
        })
    }

    fn find_link(&mut self, operation: Arguments<'_>, request: &LinkMessage) -> Result<Option<Link>, Error> {
        match self.get(operation, RTM_GETLINK, request, Link::parse) {
            Ok(link) => Ok(Some(link)),
            Err(error) if error.is(Errno::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Leaves out the IPv6 counters, each of which the kernel adds up over all CPUs; nobody here reads them.
pub(super) fn without_statistics() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}

fn master(body: &[u8]) -> Option<u32> {
    let (_, value) = attributes(body.get(HEADER..)?).find(|(kind, _)| *kind == IFLA_MASTER)?;
    u32_at(value, 0)
}
