//! Making links (`RTM_NEWLINK` with `NLM_F_CREATE | NLM_F_EXCL`).
//!
//! Everything that the kernel honours at creation goes into the one message: a veth whose peer is made here
//! and moved to another namespace afterwards takes thirty times as long.

use std::fmt::Arguments;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc::{
    IFF_UP, IFLA_ADDRESS, IFLA_IFNAME, IFLA_LINK, IFLA_MASTER, IFLA_MTU, IFLA_NET_NS_FD, IFLA_NUM_RX_QUEUES,
    IFLA_NUM_TX_QUEUES, RTM_NEWLINK,
};
use wire::Writer;
use wire::message::{NLM_F_ACK, NLM_F_CREATE, NLM_F_ECHO, NLM_F_EXCL};

use super::bridge::{BR_FDB_MAX_LEARNED, BR_VLAN_FILTERING};
use super::request::{VLAN_ID, header, header_with_flags, info};
use super::state::Link;
use crate::error::Error;
use crate::mac::Mac;
use crate::socket::Socket;

/// `VETH_INFO_PEER` (`veth.h`).
const VETH_PEER: u16 = 1;

/// A bridge to be made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bridge<'a> {
    /// Its name, at most 15 bytes.
    pub name: &'a str,
    /// Its hardware address, which stays. With `None` the bridge takes the lowest of its ports' addresses, and
    /// changes it as they come and go.
    pub mac: Option<Mac>,
    /// Its MTU in bytes while it has no ports; it follows their smallest one.
    pub mtu: Option<u32>,
    /// Whether it filters by VLAN from the start; `EOPNOTSUPP` from a kernel that cannot.
    pub vlan_filtering: bool,
    /// How many hardware addresses its ports may teach it in all (`fdb_max_learned`). `None` is no limit, and a kernel before
    /// Linux 6.8 ignores it.
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
    /// Makes a bridge, sets it up, and returns it. The error [is "exists"](Error::is_exists) where a
    /// link of this name exists, of any kind.
    pub fn add_bridge(&mut self, bridge: &Bridge<'_>) -> Result<Link, Error> {
        self.add_link(format_args!("add bridge {}", bridge.name), bridge.name, bridge.alias, |request| {
            end(request, bridge.name, bridge.mac, bridge.mtu);
            info(request, "bridge", |data| {
                data.optional_u32(BR_FDB_MAX_LEARNED, bridge.fdb_max_learned);
                // A kernel without CONFIG_BRIDGE_VLAN_FILTERING refuses the attribute even where it asks for nothing.
                if bridge.vlan_filtering {
                    data.bytes(BR_VLAN_FILTERING, &[1]);
                }
            });
        })
    }

    /// Makes a VLAN device, sets it up, and returns its index. The error [is "exists"](Error::is_exists) where a link of
    /// this name exists, or another device for this VLAN of the same link; `EOPNOTSUPP` is from a kernel
    /// without `CONFIG_VLAN_8021Q`.
    pub fn add_vlan_device(&mut self, device: &VlanDevice<'_>) -> Result<u32, Error> {
        let operation = format_args!("add VLAN device {}", device.name);
        self.add_link(operation, device.name, device.alias, |request| {
            end(request, device.name, None, None);
            request.u32(IFLA_LINK, device.link);
            info(request, "vlan", |data| data.bytes(VLAN_ID, &device.id.to_ne_bytes()));
        })
        .map(|link| link.index)
    }

    /// Makes a veth pair: this end up, and a port of its master; the other down, in its namespace. Returns
    /// this end's index. The error [is "exists"](Error::is_exists) where either name is taken in its
    /// namespace. A refusal leaves neither end behind.
    ///
    /// The far end is left down because the kernel will not set it up before the pair is complete
    /// (`ENOTCONN`).
    pub fn add_veth(&mut self, veth: &Veth<'_>) -> Result<u32, Error> {
        let Veth { name, peer, .. } = veth;
        let operation = format_args!("add veth {name} with peer {}", peer.name);
        self.add_link(operation, name, veth.alias, |request| {
            end(request, name, veth.mac, veth.mtu);
            one_queue(request);
            request.optional_u32(IFLA_MASTER, veth.master);
            info(request, "veth", |data| {
                data.attribute(VETH_PEER, |request| {
                    request.raw(&header(0));
                    end(request, peer.name, peer.mac, veth.mtu);
                    one_queue(request);
                    request.bytes(IFLA_NET_NS_FD, &peer.namespace.as_raw_fd().to_ne_bytes());
                });
            });
        })
        .map(|link| link.index)
    }

    fn add_link(
        &mut self,
        operation: Arguments<'_>,
        name: &str,
        alias: Option<&str>,
        fill: impl FnOnce(&mut Writer),
    ) -> Result<Link, Error> {
        let fill = |request: &mut Writer| {
            request.raw(&header_with_flags(0, IFF_UP, IFF_UP));
            fill(request);
        };
        let flags = NLM_F_ACK | NLM_F_ECHO | NLM_F_CREATE | NLM_F_EXCL;
        let mut echo = None;
        self.ask(operation, RTM_NEWLINK, flags, fill, |body| {
            echo = echo.take().or_else(|| Link::parse(body));
            false
        })?;
        let mut link = match echo {
            Some(link) => link,
            // The kernel echoes new links since Linux 6.2.
            None => self.get_link(name)?.ok_or_else(|| Error::io(operation, Errno::ENODEV.into()))?,
        };
        // The kernel ignores an alias at creation (`rtnl_create_link`).
        if let Some(alias) = alias {
            if let Err(error) = self.set_alias(link.index, alias) {
                // Of two failures the first is the one to report.
                let _ = self.del_link(link.index);
                return Err(error);
            }
            link.alias = Some(alias.to_owned());
        }
        Ok(link)
    }
}

fn end(request: &mut Writer, name: &str, mac: Option<Mac>, mtu: Option<u32>) {
    request.string(IFLA_IFNAME, name);
    if let Some(mac) = mac {
        request.bytes(IFLA_ADDRESS, &mac.octets());
    }
    request.optional_u32(IFLA_MTU, mtu);
}

/// A queue per CPU, the kernel's default, makes a veth cost more with every core, and its containers no
/// faster.
fn one_queue(request: &mut Writer) {
    request.u32(IFLA_NUM_TX_QUEUES, 1);
    request.u32(IFLA_NUM_RX_QUEUES, 1);
}
