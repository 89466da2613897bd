//! Changing links (`RTM_SETLINK`).

use std::fmt::Arguments;

use netlink_packet_route::link::{
    InfoBridge, InfoData, InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use nix::libc::{RTM_NEWLINK, RTM_SETLINK};

use crate::error::Error;
use crate::mac::Mac;
use crate::socket::Socket;

impl Socket {
    /// Sets a link up.
    pub fn set_up(&mut self, index: u32) -> Result<(), Error> {
        self.set_flag(format_args!("set link {index} up"), index, LinkFlags::Up, true)
    }

    /// Sets a link down.
    pub fn set_down(&mut self, index: u32) -> Result<(), Error> {
        self.set_flag(format_args!("set link {index} down"), index, LinkFlags::Up, false)
    }

    /// Makes a link receive frames for every hardware address, or only for its own.
    pub fn set_promisc(&mut self, index: u32, on: bool) -> Result<(), Error> {
        let operation = format_args!("set link {index} promiscuous: {on}");
        self.set_flag(operation, index, LinkFlags::Promisc, on)
    }

    /// Sets a link's MTU, in bytes. A bridge keeps one that was set so whatever its ports' are.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<(), Error> {
        let operation = format_args!("set MTU of link {index} to {mtu}");
        self.set_attribute(operation, index, LinkAttribute::Mtu(mtu))
    }

    /// Sets a link's hardware address.
    pub fn set_mac(&mut self, index: u32, mac: Mac) -> Result<(), Error> {
        let operation = format_args!("set hardware address of link {index} to {mac}");
        self.set_attribute(operation, index, LinkAttribute::Address(mac.octets().to_vec()))
    }

    /// Sets a link's alias, at most 255 bytes; an empty one removes it.
    pub fn set_alias(&mut self, index: u32, alias: &str) -> Result<(), Error> {
        let operation = format_args!("set alias of link {index}");
        self.set_attribute(operation, index, LinkAttribute::IfAlias(alias.to_owned()))
    }

    /// Bounds how many hardware addresses the ports of a bridge may teach it in all; 0 for any number. A kernel before Linux 6.8
    /// passes over it: [`crate::Link::fdb_max_learned`] tells.
    pub fn set_fdb_max_learned(&mut self, index: u32, most: u32) -> Result<(), Error> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        request.attributes = vec![LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::FdbMaxLearned(most)])),
        ])];
        // Only RTM_NEWLINK looks at IFLA_LINKINFO.
        self.change(format_args!("bound what bridge {index} learns"), RTM_NEWLINK, 0, &request)
    }

    /// Makes a link a port of a bridge, or of none.
    pub fn set_master(&mut self, index: u32, master: Option<u32>) -> Result<(), Error> {
        // Interface indexes begin at 1; 0 stands for no master.
        let attribute = LinkAttribute::Controller(master.unwrap_or(0));
        match master {
            Some(bridge) => {
                self.set_attribute(format_args!("attach link {index} to bridge {bridge}"), index, attribute)
            }
            None => self.set_attribute(format_args!("detach link {index} from its bridge"), index, attribute),
        }
    }

    fn set_flag(
        &mut self,
        operation: Arguments<'_>,
        index: u32,
        flag: LinkFlags,
        on: bool,
    ) -> Result<(), Error> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        request.header.flags = if on { flag } else { LinkFlags::empty() };
        request.header.change_mask = flag;
        self.change(operation, RTM_SETLINK, 0, &request)
    }

    fn set_attribute(
        &mut self,
        operation: Arguments<'_>,
        index: u32,
        attribute: LinkAttribute,
    ) -> Result<(), Error> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        request.attributes = vec![attribute];
        self.change(operation, RTM_SETLINK, 0, &request)
    }
}
