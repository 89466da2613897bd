//! Changing links (`RTM_SETLINK`).

use std::fmt::Arguments;

use nix::libc::{IFF_PROMISC, IFF_UP, IFLA_ADDRESS, IFLA_IFALIAS, IFLA_MASTER, IFLA_MTU, RTM_SETLINK, c_int};
use wire::Writer;

use super::request::{BR_FDB_MAX_LEARNED, header, header_with_flags};
use crate::error::Error;
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

    /// Limits how many hardware addresses the ports of a bridge may teach it in all; 0 for no limit. A kernel before Linux 6.8
    /// ignores it, which [`crate::Link::fdb_max_learned`] shows.
    pub fn set_fdb_max_learned(&mut self, index: u32, most: u32) -> Result<(), Error> {
        let operation = format_args!("limit what bridge {index} learns");
        self.change_bridge(operation, index, |data| data.u32(BR_FDB_MAX_LEARNED, most))
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
}
