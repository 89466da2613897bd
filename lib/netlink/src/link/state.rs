//! A link as the kernel describes it.

use std::ffi::c_int;

use nix::libc::{
    IFF_LOWER_UP, IFF_PROMISC, IFF_UP, IFLA_ADDRESS, IFLA_AF_SPEC, IFLA_IFALIAS, IFLA_IFNAME, IFLA_INFO_DATA,
    IFLA_INFO_KIND, IFLA_INFO_SLAVE_DATA, IFLA_INFO_SLAVE_KIND, IFLA_LINK, IFLA_LINK_NETNSID, IFLA_LINKINFO,
    IFLA_MASTER, IFLA_MTU, IFLA_OPERSTATE,
};

use wire::attribute::{attributes, find, find_u32, text, u16_at, u32_at};

use super::bridge::{BR_FDB_MAX_LEARNED, BR_VLAN_FILTERING, BridgeNetfilter, PortFlags};
use super::devconf::{self, Advertisements};
use super::request::{HEADER, VLAN_ID};
use super::upper::UpperKind;
use crate::mac::Mac;

/// `IF_OPER_UP` (`if.h`).
const OPER_UP: u8 = 6;

/// A network interface, as the kernel described it when it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the kernel's by its own name")]
pub struct Link {
    /// The interface index, unique within its namespace.
    pub index: u32,
    /// The name (`IFLA_IFNAME`).
    pub name: String,
    /// The hardware address; `None` where it is not six bytes long.
    pub mac: Option<Mac>,
    /// The MTU in bytes.
    pub mtu: u32,
    /// Whether it was set up (`IFF_UP`).
    pub up: bool,
    /// Whether it is up and has a carrier (`IFF_LOWER_UP`): for one end of a veth, whether the other is up
    /// too.
    pub carrier: bool,
    /// Whether the kernel has found that it can carry packets (`IFLA_OPERSTATE` is `IF_OPER_UP`, RFC 2863), which is some
    /// time after the carrier. The loopback's state is always unknown.
    pub operational: bool,
    /// Whether it was set promiscuous (`IFF_PROMISC`), which a bridge's ports are not by being ports.
    pub promisc: bool,
    /// The index of the bridge, or other device, that this one is a port of.
    pub master: Option<u32>,
    /// The index of the link this one belongs to (`IFLA_LINK`): for a veth the other end, which may
    /// be in another namespace; for a VLAN device the link that it is on.
    pub peer_index: Option<u32>,
    /// The number by which this namespace knows the one that `peer_index` is in (`IFLA_LINK_NETNSID`); `None` where that is
    /// this one, or has no number here.
    pub peer_netns: Option<i32>,
    /// The kind, such as `bridge` or `veth`; `None` for hardware and the loopback.
    pub kind: Option<String>,
    /// The alias (`IFLA_IFALIAS`).
    pub alias: Option<String>,
    /// Whether a bridge filters VLANs; `None` where this is not a bridge.
    pub vlan_filtering: Option<bool>,
    /// How many hardware addresses a bridge's ports may teach it, 0 for no limit; `None` where the kernel has no such bound
    /// (before Linux 6.8), or this is not a bridge.
    pub fdb_max_learned: Option<u32>,
    /// A bridge's switches for `br_netfilter`; `None` where this is not a bridge.
    pub netfilter: Option<BridgeNetfilter>,
    /// What a macvlan or an ipvlan is, without its hardware address; `None` where this is neither, or of a mode that is not known
    /// here.
    pub upper: Option<UpperKind>,
    /// The VLAN of a VLAN device; `None` where this is none.
    pub vlan_id: Option<u16>,
    /// Whether it passes packets from and to 127.0.0.0/8 (`route_localnet`); `None` where it has no IPv4.
    pub route_localnet: Option<bool>,
    /// What it does with router advertisements; `None` where it has no IPv6.
    pub advertisements: Option<Advertisements>,
    /// The flags of a bridge's port; `None` where this is not a port of a bridge.
    pub port: Option<PortFlags>,
}

impl Link {
    /// Reads the body of an `RTM_NEWLINK` message; `None` where it is too short for its header.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let flags = u32_at(body, 8)?;
        let is_set = |flag: c_int| flags & flag.cast_unsigned() != 0;
        let mut link = Self {
            index: index(body)?,
            up: is_set(IFF_UP),
            carrier: is_set(IFF_LOWER_UP),
            promisc: is_set(IFF_PROMISC),
            ..Self::default()
        };
        for (kind, value) in attributes(body.get(HEADER..)?) {
            match kind {
                IFLA_IFNAME => link.name = text(value),
                IFLA_ADDRESS => link.mac = <[u8; 6]>::try_from(value).ok().map(Mac::new),
                IFLA_MTU => link.mtu = u32_at(value, 0).unwrap_or_default(),
                IFLA_OPERSTATE => link.operational = value.first() == Some(&OPER_UP),
                IFLA_MASTER => link.master = u32_at(value, 0),
                IFLA_LINK => link.peer_index = u32_at(value, 0),
                IFLA_LINK_NETNSID => {
                    link.peer_netns = u32_at(value, 0).map(u32::cast_signed).filter(|number| *number >= 0);
                }
                IFLA_IFALIAS => link.alias = Some(text(value)).filter(|alias| !alias.is_empty()),
                IFLA_LINKINFO => link.read_info(value),
                IFLA_AF_SPEC => {
                    link.route_localnet = devconf::route_localnet(value);
                    link.advertisements = Advertisements::parse(value);
                }
                _ => {}
            }
        }
        Some(link)
    }

    /// Whether a bridge has a port that forwards: without one it has no carrier (`br_port_state_selection` in
    /// `net/bridge/br_stp.c`), and a bridge that never had one is not operational. To look for the ports themselves, the
    /// kernel would go through every link of the host.
    #[must_use]
    pub fn forwards(&self) -> bool {
        self.up && self.carrier && self.operational
    }

    /// Reads `IFLA_LINKINFO`. Within it each kind precedes the data whose meaning it decides.
    fn read_info(&mut self, info: &[u8]) {
        let mut port_of_bridge = false;
        for (kind, value) in attributes(info) {
            match kind {
                IFLA_INFO_KIND => self.kind = Some(text(value)),
                IFLA_INFO_DATA if self.kind.as_deref() == Some("bridge") => {
                    self.vlan_filtering = find(value, BR_VLAN_FILTERING)
                        .map(|value| value.first().is_some_and(|&byte| byte != 0));
                    self.fdb_max_learned = find_u32(value, BR_FDB_MAX_LEARNED);
                    self.netfilter = Some(BridgeNetfilter::parse(value));
                }
                IFLA_INFO_DATA if self.kind.as_deref() == Some("vlan") => {
                    self.vlan_id = find(value, VLAN_ID).and_then(|value| u16_at(value, 0));
                }
                IFLA_INFO_DATA => {
                    self.upper = self.kind.as_deref().and_then(|kind| UpperKind::parse(kind, value));
                }
                IFLA_INFO_SLAVE_KIND => port_of_bridge = text(value) == "bridge",
                IFLA_INFO_SLAVE_DATA if port_of_bridge => self.port = Some(PortFlags::parse(value)),
                _ => {}
            }
        }
    }
}

/// The interface index in the body of an `RTM_NEWLINK` message.
pub(super) fn index(body: &[u8]) -> Option<u32> {
    u32_at(body, 4)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;
    use netlink_packet_route::link::{
        InfoBridge, InfoBridgePort, InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoPortData, InfoPortKind,
        InfoVlan, IpVlanMode, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
    };

    use super::*;
    use crate::link::{IpvlanMode, MacvlanMode};

    fn bytes(message: &LinkMessage) -> Vec<u8> {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }

    #[test]
    fn reads_a_bridge() {
        let mut message = LinkMessage::default();
        message.header.index = 3;
        message.header.flags = LinkFlags::Up | LinkFlags::Promisc;
        message.attributes = vec![
            LinkAttribute::IfName("cni0".into()),
            LinkAttribute::Mtu(1450),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Bridge),
                LinkInfo::Data(InfoData::Bridge(vec![
                    InfoBridge::VlanFiltering(true),
                    InfoBridge::FdbMaxLearned(7),
                    InfoBridge::NfCallIp6Tables(true),
                ])),
            ]),
        ];
        let expected = Link {
            index: 3,
            name: "cni0".into(),
            mac: Some(Mac::from([2, 0, 0, 0, 0, 1])),
            mtu: 1450,
            up: true,
            promisc: true,
            kind: Some("bridge".into()),
            vlan_filtering: Some(true),
            fdb_max_learned: Some(7),
            netfilter: Some(BridgeNetfilter { ipv4: false, ipv6: true }),
            ..Link::default()
        };
        assert_eq!(Link::parse(&bytes(&message)), Some(expected));
    }

    #[test]
    fn reads_a_port() {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName("veth0".into()),
            LinkAttribute::Controller(3),
            LinkAttribute::Link(2),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::PortKind(InfoPortKind::Bridge),
                LinkInfo::PortData(InfoPortData::BridgePort(vec![
                    InfoBridgePort::HairpinMode(true),
                    InfoBridgePort::Isolated(false),
                ])),
            ]),
        ];
        let link = Link::parse(&bytes(&message)).unwrap();
        assert_eq!((link.master, link.peer_index), (Some(3), Some(2)));
        assert_eq!(
            link.port,
            Some(PortFlags { hairpin: Some(true), isolated: Some(false), ..PortFlags::default() })
        );
        assert_eq!(link.vlan_filtering, None);
    }

    #[test]
    fn reads_a_vlan_device() {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::Link(3),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Vlan),
                LinkInfo::Data(InfoData::Vlan(vec![InfoVlan::Id(100)])),
            ]),
        ];
        let link = Link::parse(&bytes(&message)).unwrap();
        assert_eq!((link.kind.as_deref(), link.peer_index, link.vlan_id), (Some("vlan"), Some(3), Some(100)));
    }

    #[test]
    fn reads_what_is_on_top_of_another_link() {
        let read = |kind, data| {
            let mut message = LinkMessage::default();
            message.attributes =
                vec![LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)])];
            Link::parse(&bytes(&message)).unwrap().upper
        };
        let macvlan = InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Vepa)]);
        let expected = UpperKind::Macvlan { mode: MacvlanMode::Vepa, mac: None, bc_queue_len: None };
        assert_eq!(read(InfoKind::MacVlan, macvlan), Some(expected));
        let ipvlan = InfoData::IpVlan(vec![InfoIpVlan::Mode(IpVlanMode::L3S)]);
        assert_eq!(read(InfoKind::IpVlan, ipvlan), Some(UpperKind::Ipvlan { mode: IpvlanMode::L3s }));
    }

    #[test]
    fn short_messages_are_no_links() {
        for length in 0..HEADER {
            assert_eq!(Link::parse(&vec![0xff; length]), None);
        }
    }
}
