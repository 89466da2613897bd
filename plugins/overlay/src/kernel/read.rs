//! What the kernel has of links, addresses and neighbours, as plain values.

use std::net::IpAddr;

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};

use crate::record::Mac;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) is_up: bool,
    /// Whether it has a carrier as well.
    pub(super) is_running: bool,
    pub(super) mtu: u32,
    pub(super) mac: Option<Mac>,
    /// Whether the kernel gives it a link-local IPv6 address; `None` without IPv6, as with an MTU below 1280.
    pub(super) has_link_local: Option<bool>,
    /// Such as `vxlan`; empty for hardware.
    pub(super) kind: String,
    pub(super) vxlan: Vxlan,
}

/// The settings of a VXLAN device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Vxlan {
    pub(super) vni: u32,
    pub(super) port: u16,
    pub(super) local: Option<IpAddr>,
    pub(super) underlay: u32,
    pub(super) learning: bool,
    /// VNI and peers come from the routes (`external`): of no use here.
    pub(super) is_external: bool,
}

impl From<&LinkMessage> for Link {
    fn from(message: &LinkMessage) -> Self {
        let flags = message.header.flags;
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            is_up: flags.contains(LinkFlags::Up),
            is_running: flags.contains(LinkFlags::Running),
            mtu: 0,
            mac: None,
            has_link_local: None,
            kind: String::new(),
            vxlan: Vxlan::default(),
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Address(bytes) => link.mac = mac(bytes),
                LinkAttribute::LinkInfo(infos) => link.read_infos(infos),
                LinkAttribute::AfSpecUnspec(families) => link.has_link_local = has_link_local(families),
                _ => {}
            }
        }
        link
    }
}

fn has_link_local(families: &[AfSpecUnspec]) -> Option<bool> {
    families.iter().find_map(|family| match family {
        AfSpecUnspec::Inet6(all) => all.iter().find_map(|attribute| match attribute {
            AfSpecInet6::AddrGenMode(mode) => Some(*mode != In6AddrGenMode::None),
            _ => None,
        }),
        _ => None,
    })
}

impl Link {
    fn read_infos(&mut self, infos: &[LinkInfo]) {
        for info in infos {
            match info {
                LinkInfo::Kind(InfoKind::Other(kind)) => self.kind.clone_from(kind),
                LinkInfo::Kind(kind) => self.kind = kind.to_string(),
                LinkInfo::Data(InfoData::Vxlan(data)) => self.vxlan = data.as_slice().into(),
                _ => {}
            }
        }
    }

    pub(super) fn is_vxlan(&self) -> bool {
        self.kind == "vxlan"
    }
}

impl From<&[InfoVxlan]> for Vxlan {
    fn from(data: &[InfoVxlan]) -> Self {
        let mut vxlan = Self::default();
        for info in data {
            match info {
                InfoVxlan::Id(vni) => vxlan.vni = *vni,
                InfoVxlan::Port(port) => vxlan.port = *port,
                InfoVxlan::Local(local) => vxlan.local = Some(IpAddr::V4(*local)),
                InfoVxlan::Local6(local) => vxlan.local = Some(IpAddr::V6(*local)),
                InfoVxlan::Link(underlay) => vxlan.underlay = *underlay,
                InfoVxlan::Learning(learning) => vxlan.learning = *learning,
                InfoVxlan::CollectMetadata(is_external) => vxlan.is_external = *is_external,
                _ => {}
            }
        }
        vxlan
    }
}

fn mac(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok().map(Mac)
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) index: u32,
    pub(super) ip: IpAddr,
    pub(super) length: u8,
    /// Of global scope, and neither deprecated, temporary (RFC 8981) nor unchecked yet. The kernel's flag for temporary IPv6
    /// addresses is that of secondary IPv4 addresses (`IFA_F_TEMPORARY`).
    pub(super) is_usable: bool,
}

impl Address {
    pub(super) fn read(message: &AddressMessage) -> Option<Self> {
        let (mut local, mut address) = (None, None);
        let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(ip) => local = Some(*ip),
                AddressAttribute::Address(ip) => address = Some(*ip),
                AddressAttribute::Flags(all) => flags = *all,
                _ => {}
            }
        }
        let unusable = AddressFlags::Secondary
            | AddressFlags::Deprecated
            | AddressFlags::Tentative
            | AddressFlags::Dadfailed;
        let header_says = AddressHeaderFlags::Deprecated | AddressHeaderFlags::Tentative;
        let is_global = message.header.scope == AddressScope::Universe;
        Some(Self {
            index: message.header.index,
            ip: local.or(address)?,
            length: message.header.prefix_len,
            is_usable: is_global
                && !flags.intersects(unusable)
                && !message.header.flags.intersects(header_says),
        })
    }
}

/// `NUD_PERMANENT`, which bridge(8) sets together with `NUD_NOARP`.
fn is_permanent(state: NeighbourState) -> bool {
    u16::from(state) & u16::from(NeighbourState::Permanent) != 0
}

/// Where frames for a MAC address go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fdb {
    pub(super) mac: Mac,
    pub(super) to: IpAddr,
    /// Another UDP port, VNI or interface than the device's.
    pub(super) extras: Vec<NeighbourAttribute>,
    pub(super) is_permanent: bool,
}

impl Fdb {
    /// Of an entry of a VXLAN device.
    pub(super) fn read(message: &NeighbourMessage) -> Option<Self> {
        if message.header.family != AddressFamily::Bridge
            || !message.header.flags.contains(NeighbourFlags::Own)
        {
            return None;
        }
        let (mut found, mut to, mut extras) = (None, None, Vec::new());
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::LinkLayerAddress(bytes) => found = mac(bytes),
                NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => to = ip(bytes),
                NeighbourAttribute::Port(_) | NeighbourAttribute::Vni(_) | NeighbourAttribute::IfIndex(_) => {
                    extras.push(attribute.clone());
                }
                _ => {}
            }
        }
        let is_permanent = is_permanent(message.header.state);
        Some(Self { mac: found?, to: to?, extras, is_permanent })
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// The MAC address of an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    pub(super) address: IpAddr,
    pub(super) mac: Option<Mac>,
    pub(super) is_permanent: bool,
}

impl Neighbour {
    pub(super) fn read(message: &NeighbourMessage) -> Option<Self> {
        let (mut found, mut address) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::LinkLayerAddress(bytes) => found = mac(bytes),
                NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => {
                    address = Some(IpAddr::V4(*ip));
                }
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => {
                    address = Some(IpAddr::V6(*ip));
                }
                _ => {}
            }
        }
        let is_permanent = is_permanent(message.header.state);
        Some(Self { address: address?, mac: found, is_permanent })
    }
}
