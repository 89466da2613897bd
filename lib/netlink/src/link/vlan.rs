//! The VLANs of a bridge and of its ports (`AF_BRIDGE`, `IFLA_BRIDGE_VLAN_INFO`).

use std::fmt;

use nix::libc::{
    IFLA_AF_SPEC, IFLA_EXT_MASK, IFLA_MASTER, RTEXT_FILTER_BRVLAN_COMPRESSED, RTM_DELLINK, RTM_GETLINK,
    RTM_SETLINK,
};
use wire::Writer;
use wire::attribute::{attributes, find, u16_at, u32_at};

use super::request::{HEADER as LINK_HEADER, header};
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
/// `IFLA_BRIDGE_FLAGS`, and `IFLA_BRIDGE_VLAN_INFO` with a `struct bridge_vlan_info` (`if_bridge.h`).
const FLAGS: u16 = 0;
const VLAN_INFO: u16 = 2;
/// `BRIDGE_FLAGS_MASTER` and `BRIDGE_FLAGS_SELF` (`if_bridge.h`).
const MASTER: u16 = 1;
const SELF: u16 = 2;
/// `BRIDGE_VLAN_INFO_*` (`if_bridge.h`).
const PVID: u16 = 1 << 1;
const UNTAGGED: u16 = 1 << 2;
const RANGE_BEGIN: u16 = 1 << 3;
const RANGE_END: u16 = 1 << 4;
/// `AF_BRIDGE` (`socket.h`).
const AF_BRIDGE: u8 = 7;

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

/// The device that a VLAN is on, by its interface index.
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

    /// Whether the device itself is asked, or the one that it is a port of.
    fn flag(self) -> u16 {
        match self {
            Self::Port(_) => MASTER,
            Self::Bridge(_) => SELF,
        }
    }
}

impl BridgeVlan {
    fn write(self, spec: &mut Writer) {
        let bit = |is_set, flag| if is_set { flag } else { 0 };
        let flags = bit(self.pvid, PVID) | bit(self.untagged, UNTAGGED);
        let mut info = |flags: u16, id: u16| {
            spec.attribute(VLAN_INFO, |info| {
                info.raw(&flags.to_ne_bytes());
                info.raw(&id.to_ne_bytes());
            });
        };
        if self.first == self.last {
            info(flags, self.first);
        } else {
            info(flags | RANGE_BEGIN, self.first);
            info(flags | RANGE_END, self.last);
        }
    }

    /// Reads the body of an `RTM_NEWVLAN` message; `None` where it is about another link.
    pub(crate) fn parse_all(body: &[u8], index: u32) -> Option<Vec<Self>> {
        let own = u32_at(body, 4)? == index;
        let entries = own.then(|| attributes(body.get(HEADER..).unwrap_or_default()))?;
        Some(entries.filter(|(kind, _)| *kind == ENTRY).filter_map(|(_, entry)| Self::parse(entry)).collect())
    }

    /// Reads `BRIDGE_VLANDB_ENTRY`.
    fn parse(entry: &[u8]) -> Option<Self> {
        let info = find(entry, ENTRY_INFO)?;
        let flags = u16_at(info, 0)?;
        let first = u16_at(info, 2)?;
        Some(Self {
            first,
            last: find(entry, ENTRY_RANGE).and_then(|last| u16_at(last, 0)).unwrap_or(first),
            pvid: flags & PVID != 0,
            untagged: flags & UNTAGGED != 0,
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
        self.change(operation, RTM_SETLINK, 0, |request| write_membership(request, member, *vlan))
    }

    /// Takes a VLAN from a bridge's port or from the bridge itself. Succeeds also where it is not there: the
    /// kernel does not say (`br_vlan_info` in `br_netlink.c`).
    pub fn del_bridge_vlan(&mut self, member: VlanMember, vlan: &BridgeVlan) -> Result<(), Error> {
        let operation = format_args!("delete VLAN {vlan} from link {}", member.index());
        self.change(operation, RTM_DELLINK, 0, |request| write_membership(request, member, *vlan))
    }

    /// Whether any port of a bridge is on a VLAN. The bridge itself does not count. Ports are read no further than the
    /// first that is, as long as the socket is used by the thread that opened it.
    pub fn has_vlan(&mut self, bridge: u32, vlan: u16) -> Result<bool, Error> {
        let operation = format_args!("look for VLAN {vlan} on bridge {bridge}");
        let fill = |request: &mut Writer| {
            request.raw(&bridge_header(0));
            request.u32(IFLA_EXT_MASK, RTEXT_FILTER_BRVLAN_COMPRESSED.cast_unsigned());
        };
        self.has_any(operation, RTM_GETLINK, fill, |body| is_on_vlan(body, bridge, vlan) == Some(true))
    }

    /// The VLANs of one bridge's port, or of the bridge itself. Needs Linux 5.6.
    pub fn bridge_vlans(&mut self, index: u32) -> Result<Vec<BridgeVlan>, Error> {
        let parse = |body: &[u8]| BridgeVlan::parse_all(body, index);
        let operation = format_args!("read VLANs of link {index}");
        let fill = |request: &mut Writer| {
            // struct br_vlan_msg
            request.raw(&[AF_BRIDGE, 0, 0, 0]);
            request.raw(&index.to_ne_bytes());
        };
        Ok(self.dump(operation, RTM_GETVLAN, fill, parse)?.concat())
    }
}

/// `struct ifinfomsg` for the VLANs of a link, or of all.
fn bridge_header(index: u32) -> [u8; LINK_HEADER] {
    let mut header = header(index);
    header[0] = AF_BRIDGE;
    header
}

/// Appends the request that a VLAN be added to, or taken from, a port or a bridge.
fn write_membership(request: &mut Writer, member: VlanMember, vlan: BridgeVlan) {
    request.raw(&bridge_header(member.index()));
    request.attribute(IFLA_AF_SPEC, |spec| {
        spec.bytes(FLAGS, &member.flag().to_ne_bytes());
        vlan.write(spec);
    });
}

/// Whether an `AF_BRIDGE` link message is about a port of this bridge that is on this VLAN; `None` where it is too short
/// for its header. There is such a message about the bridge's own VLANs, too.
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
        if flags & RANGE_BEGIN != 0 {
            begin = Some(id);
            return id == vlan;
        }
        let first = begin.take().filter(|_| flags & RANGE_END != 0).unwrap_or(id);
        (first..=id).contains(&vlan)
    })
}

#[cfg(test)]
mod tests;
