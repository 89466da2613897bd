//! Making links (`RTM_NEWLINK` with `NLM_F_CREATE | NLM_F_EXCL`).
//!
//! Everything that the kernel honours at creation goes into the one message: a veth whose peer is made here
//! and moved to another namespace afterwards takes thirty times as long.

use std::fmt::Arguments;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::link::{
    InfoBridge, InfoData, InfoKind, InfoVeth, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use nix::errno::Errno;
use nix::libc::RTM_NEWLINK;

use super::index;
use crate::error::Error;
use crate::mac::Mac;
use crate::socket::Socket;

/// A bridge to be made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bridge<'a> {
    /// Its name, at most 15 bytes.
    pub name: &'a str,
    /// Its hardware address. One that is given stays; otherwise the bridge takes the lowest of its ports',
    /// and changes it as they come and go.
    pub mac: Option<Mac>,
    /// Its MTU in bytes while it has no ports; it follows their smallest one.
    pub mtu: Option<u32>,
    /// Whether it filters by VLAN from the start; `EOPNOTSUPP` from a kernel that cannot.
    pub vlan_filtering: bool,
    /// How many hardware addresses its ports may teach it in all (`fdb_max_learned`); without a bound otherwise, and where the
    /// kernel is older than Linux 6.8, which passes over it.
    pub fdb_max_learned: Option<u32>,
    /// Its alias, at most 255 bytes.
    pub alias: Option<&'a str>,
}

/// A pair of veth ends to be made, with one transmit and one receive queue each.
#[derive(Clone, Copy, Debug)]
pub struct Veth<'a> {
    /// The name of this end, at most 15 bytes.
    pub name: &'a str,
    /// The hardware address of this end; a random one otherwise.
    pub mac: Option<Mac>,
    /// The MTU of both ends in bytes; 1500 otherwise.
    pub mtu: Option<u32>,
    /// The bridge that this end becomes a port of.
    pub master: Option<u32>,
    /// The alias of this end, at most 255 bytes.
    pub alias: Option<&'a str>,
    /// The other end.
    pub peer: Peer<'a>,
}

/// The far end of a veth pair.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// Its name, at most 15 bytes.
    pub name: &'a str,
    /// Its hardware address; a random one otherwise.
    pub mac: Option<Mac>,
    /// The network namespace it is made in.
    pub namespace: BorrowedFd<'a>,
}

/// A device that is on one VLAN of another link, to be made.
#[derive(Clone, Copy, Debug)]
pub struct VlanDevice<'a> {
    /// Its name, at most 15 bytes.
    pub name: &'a str,
    /// The link whose tagged frames it takes in and sends, such as a bridge. Its hardware address and MTU are that
    /// link's.
    pub link: u32,
    /// The VLAN ID, 1 to 4094.
    pub id: u16,
    /// Its alias, at most 255 bytes.
    pub alias: Option<&'a str>,
}

impl Socket {
    /// Makes a bridge, sets it up, and returns its index. The error [is "exists"](Error::is_exists) where a
    /// link of this name is there already, of whatever kind.
    pub fn add_bridge(&mut self, bridge: &Bridge<'_>) -> Result<u32, Error> {
        let mut info = vec![LinkInfo::Kind(InfoKind::Bridge)];
        // A kernel without CONFIG_BRIDGE_VLAN_FILTERING refuses the attribute even where it asks for nothing.
        let mut data: Vec<InfoBridge> =
            bridge.fdb_max_learned.map(InfoBridge::FdbMaxLearned).into_iter().collect();
        if bridge.vlan_filtering {
            data.push(InfoBridge::VlanFiltering(true));
        }
        if !data.is_empty() {
            info.push(LinkInfo::Data(InfoData::Bridge(data)));
        }
        let mut attributes = end(bridge.name, bridge.mac, bridge.mtu);
        attributes.push(LinkAttribute::LinkInfo(info));
        self.add_link(format_args!("add bridge {}", bridge.name), bridge.name, attributes, bridge.alias)
    }

    /// Makes a VLAN device, sets it up, and returns its index. The error [is "exists"](Error::is_exists) where a link of
    /// this name is there already, or another device for this VLAN of the same link; `EOPNOTSUPP` is from a kernel
    /// without `CONFIG_VLAN_8021Q`.
    pub fn add_vlan_device(&mut self, device: &VlanDevice<'_>) -> Result<u32, Error> {
        let data = InfoData::Vlan(vec![InfoVlan::Id(device.id)]);
        let mut attributes = end(device.name, None, None);
        attributes.push(LinkAttribute::Link(device.link));
        attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(data)]));
        let operation = format_args!("add VLAN device {}", device.name);
        self.add_link(operation, device.name, attributes, device.alias)
    }

    /// Makes a veth pair: this end up, and a port of its master; the other down, in its namespace. Returns
    /// this end's index. The error [is "exists"](Error::is_exists) where either name is taken in its
    /// namespace. A refusal leaves neither end behind.
    ///
    /// The far end is left down because the kernel will not set it up before the pair is complete
    /// (`ENOTCONN`).
    pub fn add_veth(&mut self, veth: &Veth<'_>) -> Result<u32, Error> {
        let mut peer = LinkMessage::default();
        peer.attributes = end(veth.peer.name, veth.peer.mac, veth.mtu);
        peer.attributes.extend(one_queue());
        peer.attributes.push(LinkAttribute::NetNsFd(veth.peer.namespace.as_raw_fd()));
        let data = InfoData::Veth(InfoVeth::Peer(peer));

        let mut attributes = end(veth.name, veth.mac, veth.mtu);
        attributes.extend(one_queue());
        attributes.extend(veth.master.map(LinkAttribute::Controller));
        attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(data)]));
        let operation = format_args!("add veth {} with peer {}", veth.name, veth.peer.name);
        self.add_link(operation, veth.name, attributes, veth.alias)
    }

    fn add_link(
        &mut self,
        operation: Arguments<'_>,
        name: &str,
        attributes: Vec<LinkAttribute>,
        alias: Option<&str>,
    ) -> Result<u32, Error> {
        let mut request = LinkMessage::default();
        request.header.flags = LinkFlags::Up;
        request.header.change_mask = LinkFlags::Up;
        request.attributes = attributes;
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        let index = match self.change_echoed(operation, RTM_NEWLINK, flags, &request, index)? {
            Some(index) => index,
            // The kernel echoes new links since Linux 6.2.
            None => self.get_link(name)?.map(|link| link.index).ok_or_else(|| Error::Kernel {
                operation: operation.to_string(),
                source: Errno::ENODEV.into(),
                reason: None,
            })?,
        };
        // Not heeded at creation (`rtnl_create_link`).
        if let Some(alias) = alias
            && let Err(error) = self.set_alias(index, alias)
        {
            // Of two failures the first is the one to report.
            let _ = self.del_link(index);
            return Err(error);
        }
        Ok(index)
    }
}

fn end(name: &str, mac: Option<Mac>, mtu: Option<u32>) -> Vec<LinkAttribute> {
    let mut attributes = vec![LinkAttribute::IfName(name.to_owned())];
    attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.octets().to_vec())));
    attributes.extend(mtu.map(LinkAttribute::Mtu));
    attributes
}

/// A queue per CPU, the kernel's default, makes a veth cost more with every core, and its containers no
/// faster.
fn one_queue() -> [LinkAttribute; 2] {
    [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)]
}
