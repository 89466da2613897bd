//! The VLANs of a bridge and of its ports (`AF_BRIDGE`, `IFLA_BRIDGE_VLAN_INFO`).

use std::fmt::{self, Arguments};

use netlink_packet_core::Emitable;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{
    AfSpecBridge, BridgeFlag, BridgeVlanInfo, BridgeVlanInfoFlags, LinkAttribute, LinkMessage,
};
use nix::errno::Errno;
use nix::libc::{RTM_DELLINK, RTM_SETLINK};

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
    fn index(self) -> u32 {
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

    /// Takes a VLAN from a bridge's port or from the bridge itself; false where a single VLAN was not there.
    /// (Of a run the kernel takes what there is.)
    pub fn del_bridge_vlan(&mut self, member: VlanMember, vlan: &BridgeVlan) -> Result<bool, Error> {
        let operation = format_args!("delete VLAN {vlan} from link {}", member.index());
        match self.change_vlan(operation, RTM_DELLINK, member, *vlan) {
            Ok(()) => Ok(true),
            Err(error) if error.is(Errno::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The VLANs of one bridge's port, or of the bridge itself. Needs Linux 5.6.
    pub fn bridge_vlans(&mut self, index: u32) -> Result<Vec<BridgeVlan>, Error> {
        let parse = |body: &[u8]| {
            let own = u32_at(body, 4)? == index;
            let entries = own.then(|| attributes(body.get(HEADER..).unwrap_or_default()))?;
            let vlans =
                entries.filter(|(kind, _)| *kind == ENTRY).filter_map(|(_, entry)| BridgeVlan::parse(entry));
            Some(vlans.collect::<Vec<_>>())
        };
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
        let mut request = LinkMessage::default();
        request.header.interface_family = AddressFamily::Bridge;
        request.header.index = member.index();
        let mut attributes = vec![member.flag()];
        attributes.extend(vlan.attributes());
        request.attributes = vec![LinkAttribute::AfSpecBridge(attributes)];
        self.change(operation, kind, 0, &request)
    }
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
mod tests {
    use super::*;

    const TRUNK: BridgeVlan = BridgeVlan { first: 100, last: 120, pvid: false, untagged: false };
    const ACCESS: BridgeVlan = BridgeVlan { first: 10, last: 10, pvid: true, untagged: true };

    fn bytes(attributes: &[AfSpecBridge]) -> Vec<u8> {
        let mut bytes = vec![0; attributes.buffer_len()];
        attributes.emit(&mut bytes);
        bytes
    }

    fn words<const N: usize>(words: [u16; N]) -> Vec<u8> {
        words.map(u16::to_ne_bytes).concat()
    }

    #[test]
    fn writes_the_kernels_flags() {
        // IFLA_BRIDGE_VLAN_INFO is 2; BRIDGE_VLAN_INFO_PVID is 2, _UNTAGGED 4, _RANGE_BEGIN 8, _RANGE_END 16.
        assert_eq!(bytes(&ACCESS.attributes()), words([8, 2, 6, 10]));
        assert_eq!(bytes(&TRUNK.attributes()), words([8, 2, 8, 100, 8, 2, 16, 120]));
    }

    #[test]
    fn names_whom_it_asks() {
        // IFLA_BRIDGE_FLAGS is 0, and has two bytes of padding; BRIDGE_FLAGS_MASTER is 1, _SELF 2.
        assert_eq!(bytes(&[VlanMember::Port(4).flag()]), words([6, 0, 1, 0]));
        assert_eq!(bytes(&[VlanMember::Bridge(4).flag()]), words([6, 0, 2, 0]));
    }

    #[test]
    fn reads_runs_and_single_vlans() {
        assert_eq!(BridgeVlan::parse(&words([8, 1, 6, 10])), Some(ACCESS));
        assert_eq!(BridgeVlan::parse(&words([8, 1, 0, 100, 6, 2, 120, 0])), Some(TRUNK));
        assert_eq!(BridgeVlan::parse(&[]), None);
        assert_eq!(BridgeVlan::parse(&words([6, 1, 0])), None);
    }
}
