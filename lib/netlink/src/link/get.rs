//! Asking for links (`RTM_GETLINK`).

use std::fmt::Arguments;

use nix::errno::Errno;
use nix::libc::{IFLA_MASTER, RTM_GETLINK};
use rustix::net::netdevice;
use wire::Writer;

use super::request::{by_name, header, without_statistics};
use super::state::Link;
use crate::error::{Error, unless};
use crate::socket::Socket;

impl Socket {
    /// The link of this name, or of this alternative name; `None` where there is none.
    pub fn get_link(&mut self, name: &str) -> Result<Option<Link>, Error> {
        self.find_link(format_args!("get link {name}"), |request| by_name(request, name))
    }

    /// The link with this index; `None` where there is none.
    pub fn get_link_by_index(&mut self, index: u32) -> Result<Option<Link>, Error> {
        self.find_link(format_args!("get link {index}"), |request| request.raw(&header(index)))
    }

    /// Whether a link is on the kernel's lists (`SIOCGIFNAME`, netdevice(7)). Answers while a removal holds the lock on links,
    /// for which a question by netlink waits: a link is off the lists long before its removal is over.
    pub fn is_listed(&mut self, index: u32) -> Result<bool, Error> {
        match netdevice::index_to_name_inlined(&self.wire, index) {
            // A name need not be UTF-8.
            Ok(_) | Err(rustix::io::Errno::ILSEQ) => Ok(true),
            Err(rustix::io::Errno::NODEV) => Ok(false),
            Err(_) => Ok(self.get_link_by_index(index)?.is_some()),
        }
    }

    /// Every link of the namespace. The cost grows with their number: nothing that adds or removes a container asks for it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let fill = |request: &mut Writer| {
            request.raw(&header(0));
            without_statistics(request);
        };
        self.dump(format_args!("read all links"), RTM_GETLINK, fill, Link::parse)
    }

    /// Whether a bridge has any port. The number of ports does not matter to the cost, as long as the socket
    /// is used by the thread that opened it; otherwise all of them are read.
    pub fn has_ports(&mut self, bridge: u32) -> Result<bool, Error> {
        self.has_port_that(bridge, |_| true)
    }

    /// Whether a bridge has a port for which `is_it` holds. Ports are read until there is one.
    pub fn has_port_that(&mut self, bridge: u32, is_it: impl Fn(&Link) -> bool) -> Result<bool, Error> {
        let operation = format_args!("look through ports of bridge {bridge}");
        let fill = |request: &mut Writer| {
            request.raw(&header(0));
            // With an IFLA_EXT_MASK of any value the kernel would first measure each link there is (rtnl_calcit).
            request.u32(IFLA_MASTER, bridge);
        };
        self.has_any(operation, RTM_GETLINK, fill, |body| {
            Link::parse(body).is_some_and(|link| link.master == Some(bridge) && is_it(&link))
        })
    }

    /// All ports of a bridge.
    pub fn ports(&mut self, bridge: u32) -> Result<Vec<Link>, Error> {
        let fill = |request: &mut Writer| {
            request.raw(&header(0));
            request.u32(IFLA_MASTER, bridge);
            without_statistics(request);
        };
        // Kernels before the filter (Linux 4.6) send every link.
        self.dump(format_args!("read ports of bridge {bridge}"), RTM_GETLINK, fill, |body| {
            Link::parse(body).filter(|link| link.master == Some(bridge))
        })
    }

    fn find_link(
        &mut self,
        operation: Arguments<'_>,
        fill: impl FnOnce(&mut Writer),
    ) -> Result<Option<Link>, Error> {
        let fill = |request: &mut Writer| {
            fill(request);
            without_statistics(request);
        };
        let found = self.get(operation, RTM_GETLINK, fill, Link::parse);
        unless(found, &[Errno::ENODEV])
    }
}
