//! Changing links (`RTM_SETLINK`) and removing them (`RTM_DELLINK`).

use std::fmt::Arguments;

use nix::errno::Errno;
use nix::libc::{
    IFF_PROMISC, IFF_UP, IFLA_ADDRESS, IFLA_IFALIAS, IFLA_MASTER, IFLA_MTU, RTM_DELLINK, RTM_SETLINK, c_int,
};
use wire::Writer;

use super::request::{by_name, header, header_with_flags};
use crate::error::{Error, unless};
use crate::mac::Mac;
use crate::socket::Socket;

impl Socket {
    /// Sets a link up.
    pub fn set_up(&mut self, index: u32) -> Result<(), Error> {
        self.set_flag(format_args!("set link {index} up"), index, IFF_UP, true)
    }

    /// Sets a link down.
    pub fn set_down(&mut self, index: u32) -> Result<(), Error> {
        self.set_flag(format_args!("set link {index} down"), index, IFF_UP, false)
    }

    /// Makes a link receive frames for every hardware address, or only for its own.
    pub fn set_promisc(&mut self, index: u32, on: bool) -> Result<(), Error> {
        let operation = format_args!("set link {index} promiscuous: {on}");
        self.set_flag(operation, index, IFF_PROMISC, on)
    }

    /// Sets a link's MTU, in bytes. On a bridge it no longer follows the ports' MTUs then.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<(), Error> {
        let operation = format_args!("set MTU of link {index} to {mtu}");
        self.set_attribute(operation, index, |request| request.u32(IFLA_MTU, mtu))
    }

    /// Sets a link's hardware address.
    pub fn set_mac(&mut self, index: u32, mac: Mac) -> Result<(), Error> {
        let operation = format_args!("set hardware address of link {index} to {mac}");
        self.set_attribute(operation, index, |request| request.bytes(IFLA_ADDRESS, &mac.octets()))
    }

    /// Sets a link's alias, at most 255 bytes; an empty one removes it.
    pub fn set_alias(&mut self, index: u32, alias: &str) -> Result<(), Error> {
        let operation = format_args!("set alias of link {index}");
        self.set_attribute(operation, index, |request| request.string(IFLA_IFALIAS, alias))
    }

    /// Makes a link a port of a bridge, or of none.
    pub fn set_master(&mut self, index: u32, master: Option<u32>) -> Result<(), Error> {
        // Interface indexes begin at 1; 0 stands for no master.
        let attribute = |request: &mut Writer| request.u32(IFLA_MASTER, master.unwrap_or(0));
        match master {
            Some(bridge) => {
                self.set_attribute(format_args!("attach link {index} to bridge {bridge}"), index, attribute)
            }
            None => self.set_attribute(format_args!("detach link {index} from its bridge"), index, attribute),
        }
    }

    /// Removes the link with this index; false where there is none. The other end of a veth goes with it.
    pub fn del_link(&mut self, index: u32) -> Result<bool, Error> {
        self.remove(format_args!("delete link {index}"), |request| request.raw(&header(index)))
    }

    /// Removes the link of this name; false where there is none.
    pub fn del_link_by_name(&mut self, name: &str) -> Result<bool, Error> {
        self.remove(format_args!("delete link {name}"), |request| by_name(request, name))
    }

    /// Fails where this process may not change links at all. The request names no link: the kernel refuses it either way,
    /// and changes nothing.
    ///
    /// # Errors
    /// `EPERM` where it may not.
    pub fn expect_privilege(&mut self) -> Result<(), Error> {
        match self.remove(format_args!("change links"), |request| request.raw(&header(0))) {
            Err(error) if !error.is(Errno::EINVAL) => Err(error),
            _ => Ok(()),
        }
    }

    fn set_flag(&mut self, operation: Arguments<'_>, index: u32, flag: c_int, on: bool) -> Result<(), Error> {
        let header = header_with_flags(index, if on { flag } else { 0 }, flag);
        self.change(operation, RTM_SETLINK, 0, |request| request.raw(&header))
    }

    fn set_attribute(
        &mut self,
        operation: Arguments<'_>,
        index: u32,
        attribute: impl FnOnce(&mut Writer),
    ) -> Result<(), Error> {
        self.change(operation, RTM_SETLINK, 0, |request| {
            request.raw(&header(index));
            attribute(request);
        })
    }

    fn remove(&mut self, operation: Arguments<'_>, fill: impl FnOnce(&mut Writer)) -> Result<bool, Error> {
        let removed = self.change(operation, RTM_DELLINK, 0, fill);
        unless(removed, &[Errno::ENODEV]).map(|removed| removed.is_some())
    }
}
