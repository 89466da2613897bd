//! The VLANs of a bridge and of its ports (`AF_BRIDGE`, `IFLA_BRIDGE_VLAN_INFO`).

use std::fmt::{self, Arguments};

use netlink_packet_core::Emitable;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{
    AfSpecBridge, BridgeFlag, BridgeVlanInfo, BridgeVlanInfoFlags, InfoBridge, InfoData, InfoKind,
    LinkAttribute, LinkExtentMask, LinkInfo, LinkMessage,
};
use nix::libc::{IFLA_AF_SPEC, IFLA_MASTER, RTM_DELLINK, RTM_GETLINK, RTM_NEWLINK, RTM_SETLINK};

use super::HEADER as LINK_HEADER;
use crate::attribute::{attributes, u16_at, u32_at};
use crate::error::Error;
use crate::socket::Socket;

/// `RTM_NEWVLAN`'s question (`rtnetlink.h`), Linux 5.6.
const RTM_GETVLAN: u16 = 114;
/// `sizeof(struct br_vlan_msg)`.
const HEADER: usize = 8;
/// `BRIDGE_VLANDB_ENTRY`, and within it `BRIDGE_VLANDB_ENTRY_INFO` and `BRIDGE_VLANDB_ENTRY_RANGE`
/// (`if_bridge.h`).
const ENTRY: u16 = 1;
const ENTRY_INFO: u16 = 1;
const ENTRY_RANGE: u16 = 2;
/// `IFLA_BRIDGE_VLAN_INFO`, with a `struct bridge_vlan_info` (`if_bridge.h`).
const VLAN_INFO: u16 = 2;

/// One VLAN, or a run of VLANs, that a port lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeVlan {
    /// The first VLAN ID, 1 to 4094.
    pub first: u16,
    /// The last VLAN ID; the same as the first for a single VLAN.
    pub last: u16,
    /// Whether frames that come in untagged belong to it; never for a run.
    pub pvid: bool,
    /// Whether frames go out untagged.
    pub untagged: bool,
}

/// What a VLAN is on, by its interface index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VlanMember {
    /// A port of a bridge.
    Port(u32),
    /// The bridge itself, through which the host is on the VLAN.
    Bridge(u32),
}

impl VlanMember {
    /// The interface index.
    #[must_use]
    pub fn index(self) -> u32 {
        let (Self::Port(index) | Self::Bridge(index)) = self;
        index
    }

    /// `IFLA_BRIDGE_FLAGS`: whether the device itself is asked, or the one that it is a port of.
    fn flag(self) -> AfSpecBridge {
        AfSpecBridge::Flags(match self {
            Self::Port(_) => BridgeFlag::Controller,
            Self::Bridge(_) => BridgeFlag::LowerDev,
        })
    }
}

impl BridgeVlan {
    fn attributes(self) -> Vec<AfSpecBridge> {
        let mut flags = BridgeVlanInfoFlags::empty();
        flags.set(BridgeVlanInfoFlags::Pvid, self.pvid);
        flags.set(BridgeVlanInfoFlags::Untagged, self.untagged);
        let info = |flags, vid| AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid });
        if self.first == self.last {
            return vec![info(flags, self.first)];
        }
        vec![
            info(flags | BridgeVlanInfoFlags::RangeBegin, self.first),
            info(flags | BridgeVlanInfoFlags::RangeEnd, self.last),
        ]
    }

    /// Reads the body of an `RTM_NEWVLAN` message; `None` where it is about another link.
    pub(crate) fn parse_all(body: &[u8], index: u32) -> Option<Vec<Self>> {
        let own = u32_at(body, 4)? == index;
        let entries = own.then(|| attributes(body.get(HEADER..).unwrap_or_default()))?;
        Some(entries.filter(|(kind, _)| *kind == ENTRY).filter_map(|(_, entry)| Self::parse(entry)).collect())
    }

    /// Reads `BRIDGE_VLANDB_ENTRY`.
    fn parse(entry: &[u8]) -> Option<Self> {
        let (_, info) = attributes(entry).find(|(kind, _)| *kind == ENTRY_INFO)?;
        let flags = BridgeVlanInfoFlags::from_bits_retain(u16_at(info, 0)?);
        let first = u16_at(info, 2)?;
        let range = attributes(entry).find(|(kind, _)| *kind == ENTRY_RANGE);
        Some(Self {
            first,
            last: range.and_then(|(_, value)| u16_at(value, 0)).unwrap_or(first),
            pvid: flags.contains(BridgeVlanInfoFlags::Pvid),
            untagged: flags.contains(BridgeVlanInfoFlags::Untagged),
        })
    }
}

impl fmt::Display for BridgeVlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl Socket {
    /// Lets a VLAN through a bridge's port or to the bridge itself, or changes its flags there.
    pub fn add_bridge_vlan(&mut self, member: VlanMember, vlan: &BridgeVlan) -> Result<(), Error> {
        let operation = format_args!("add VLAN {vlan} to link {}", member.index());
        self.change_vlan(operation, RTM_SETLINK, member, *vlan)
    }

    /// Takes a VLAN from a bridge's port or from the bridge itself. What is not there counts as taken: the kernel does
    /// not tell (`br_vlan_info` in `br_netlink.c`).
    pub fn del_bridge_vlan(&mut self, member: VlanMember, vlan: &BridgeVlan) -> Result<(), Error> {
        let operation = format_args!("delete VLAN {vlan} from link {}", member.index());
        self.change_vlan(operation, RTM_DELLINK, member, *vlan)
    }

    /// Makes a bridge filter VLANs, or stop doing so; `EOPNOTSUPP` from a kernel that cannot
    /// (`CONFIG_BRIDGE_VLAN_FILTERING`).
    pub fn set_vlan_filtering(&mut self, bridge: u32, on: bool) -> Result<(), Error> {
        let operation = format_args!("set VLAN filtering of bridge {bridge}: {on}");
        // Only RTM_NEWLINK looks at IFLA_LINKINFO.
        self.change(operation, RTM_NEWLINK, 0, &filtering(bridge, on))
    }

    /// Whether any port of a bridge is on a VLAN. The bridge itself does not count. Ports are read no further than the
    /// first that is, as long as the socket is used by the thread that opened it.
    pub fn has_vlan(&mut self, bridge: u32, vlan: u16) -> Result<bool, Error> {
        let operation = format_args!("look for VLAN {vlan} on bridge {bridge}");
        let mut request = LinkMessage::default();
        request.header.interface_family = AddressFamily::Bridge;
        request.attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::BrvlanCompressed])];
        let on_vlan = |body: &[u8]| is_on_vlan(body, bridge, vlan)?.then_some(());
        match self.sibling()? {
            Some(socket) => socket.any(operation, RTM_GETLINK, &request, on_vlan),
            None => self.dump(operation, RTM_GETLINK, &request, on_vlan).map(|ports| !ports.is_empty()),
        }
    }

    /// The VLANs of one bridge's port, or of the bridge itself. Needs Linux 5.6.
    pub fn bridge_vlans(&mut self, index: u32) -> Result<Vec<BridgeVlan>, Error> {
        let parse = |body: &[u8]| BridgeVlan::parse_all(body, index);
        let operation = format_args!("read VLANs of link {index}");
        Ok(self.dump(operation, RTM_GETVLAN, &VlanQuestion { index }, parse)?.concat())
    }

    fn change_vlan(
        &mut self,
        operation: Arguments<'_>,
        kind: u16,
        member: VlanMember,
        vlan: BridgeVlan,
    ) -> Result<(), Error> {
        self.change(operation, kind, 0, &membership(member, vlan))
    }
}

/// The request that a VLAN be added to, or taken from, a port or a bridge.
fn membership(member: VlanMember, vlan: BridgeVlan) -> LinkMessage {
    let mut request = LinkMessage::default();
    request.header.interface_family = AddressFamily::Bridge;
    request.header.index = member.index();
    let mut attributes = vec![member.flag()];
    attributes.extend(vlan.attributes());
    request.attributes = vec![LinkAttribute::AfSpecBridge(attributes)];
    request
}

/// The request that a bridge filter VLANs or not.
fn filtering(bridge: u32, on: bool) -> LinkMessage {
    let mut request = LinkMessage::default();
    request.header.index = bridge;
    request.attributes = vec![LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Bridge),
        LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::VlanFiltering(on)])),
    ])];
    request
}

/// Whether what an `AF_BRIDGE` link message tells is a port of this bridge that is on this VLAN; `None` where it is too
/// short for its header. A bridge tells its own VLANs in such a message, too.
fn is_on_vlan(body: &[u8], bridge: u32, vlan: u16) -> Option<bool> {
    let (index, attribute_bytes) = (u32_at(body, 4)?, body.get(LINK_HEADER..)?);
    let mut is_port = false;
    let mut is_member = false;
    for (kind, value) in attributes(attribute_bytes) {
        match kind {
            IFLA_MASTER => is_port = index != bridge && u32_at(value, 0) == Some(bridge),
            IFLA_AF_SPEC => is_member = lists(value, vlan),
            _ => {}
        }
    }
    Some(is_port && is_member)
}

/// Whether a VLAN is among those of `IFLA_AF_SPEC`, which has runs as two entries.
fn lists(spec: &[u8], vlan: u16) -> bool {
    let mut begin = None;
    attributes(spec).filter(|(kind, _)| *kind == VLAN_INFO).any(|(_, info)| {
        let (Some(flags), Some(id)) = (u16_at(info, 0), u16_at(info, 2)) else {
            return false;
        };
        let flags = BridgeVlanInfoFlags::from_bits_retain(flags);
        if flags.contains(BridgeVlanInfoFlags::RangeBegin) {
            begin = Some(id);
            return id == vlan;
        }
        let first = begin.take().filter(|_| flags.contains(BridgeVlanInfoFlags::RangeEnd)).unwrap_or(id);
        (first..=id).contains(&vlan)
    })
}

/// `struct br_vlan_msg`, which netlink-packet-route does not have.
struct VlanQuestion {
    index: u32,
}

impl Emitable for VlanQuestion {
    fn buffer_len(&self) -> usize {
        HEADER
    }

    fn emit(&self, buffer: &mut [u8]) {
        buffer[..4].copy_from_slice(&[AddressFamily::Bridge.into(), 0, 0, 0]);
        buffer[4..8].copy_from_slice(&self.index.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests;
