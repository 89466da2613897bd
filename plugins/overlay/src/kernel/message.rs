//! Messages to the kernel (rtnetlink(7)).

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::socket::Request;
use crate::record::{Backend, Mac};
use crate::wanted::{Device, ROUTE_PROTOCOL};

/// The metric of the blackholes: the last that can be, so that any other route to the same prefix wins.
pub(super) const LAST: u32 = u32::MAX;

pub(super) const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;
pub(super) const PUT: u16 = NLM_F_CREATE | NLM_F_REPLACE;

pub(super) fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn link(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

pub(super) fn get_link(name: &str) -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(link(name))
}

/// `IFLA_LINKINFO` of the device.
fn vxlan(device: &Device, is_new: bool) -> LinkAttribute {
    let mut data = vec![
        InfoVxlan::Id(device.vni),
        InfoVxlan::Link(device.underlay),
        match device.local {
            IpAddr::V4(local) => InfoVxlan::Local(local),
            IpAddr::V6(local) => InfoVxlan::Local6(local),
        },
        // Only what the nodes say of themselves is believed.
        InfoVxlan::Learning(false),
    ];
    if is_new {
        data.push(InfoVxlan::Port(device.port));
    }
    LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vxlan), LinkInfo::Data(InfoData::Vxlan(data))])
}

/// Makes the device. With VXLAN it has its MAC address from the start: udev gives another to one that has none of its own.
pub(super) fn add_device(device: &Device) -> Request {
    let mut message = link(&device.name);
    message.attributes.push(LinkAttribute::Mtu(device.mtu));
    match device.backend {
        Backend::Vxlan => {
            message.attributes.extend([LinkAttribute::Address(device.mac.0.to_vec()), vxlan(device, true)]);
        }
        Backend::Wireguard => {
            message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Wireguard)]));
        }
    }
    Request {
        message: RouteNetlinkMessage::NewLink(message),
        flags: NEW,
        what: format!("add device {}", device.name),
        route: None,
    }
}

/// Has it send from another address or by another interface, and learn nothing.
pub(super) fn set_vxlan(device: &Device) -> Request {
    let mut message = link(&device.name);
    message.attributes.push(vxlan(device, false));
    let what = format!("let device {} send from {}", device.name, device.local);
    Request { message: RouteNetlinkMessage::NewLink(message), flags: 0, what, route: None }
}

/// No link-local address for the device, which the kernel would give it when it goes up. `IFLA_AF_SPEC` is passed over in the
/// message that makes a device (`rtnl_newlink`).
pub(super) fn set_no_link_local(device: &Device) -> Request {
    let mut message = link(&device.name);
    message.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![
        AfSpecInet6::AddrGenMode(In6AddrGenMode::None),
    ])]));
    let what = format!("have no link-local address on device {}", device.name);
    Request { message: RouteNetlinkMessage::SetLink(message), flags: 0, what, route: None }
}

pub(super) fn set_mac(device: &Device) -> Request {
    let mut message = link(&device.name);
    message.attributes.push(LinkAttribute::Address(device.mac.0.to_vec()));
    let what = format!("give device {} the MAC address {}", device.name, device.mac);
    Request { message: RouteNetlinkMessage::SetLink(message), flags: 0, what, route: None }
}

pub(super) fn set_mtu(device: &Device) -> Request {
    let mut message = link(&device.name);
    message.attributes.push(LinkAttribute::Mtu(device.mtu));
    let what = format!("give device {} the MTU {}", device.name, device.mtu);
    Request { message: RouteNetlinkMessage::SetLink(message), flags: 0, what, route: None }
}

pub(super) fn set_up(device: &Device) -> Request {
    let mut message = link(&device.name);
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    let what = format!("set device {} up", device.name);
    Request { message: RouteNetlinkMessage::SetLink(message), flags: 0, what, route: None }
}

pub(super) fn remove_link(name: &str, index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    let what = format!("remove device {name}");
    Request { message: RouteNetlinkMessage::DelLink(message), flags: 0, what, route: None }
}

/// An own address, as a host address. No duplicate address detection: nobody else answers on the device. No route to the
/// prefix, which is the address itself.
fn address(index: u32, address: IpAddr, length: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = length;
    message.header.index = index;
    message.attributes.extend([AddressAttribute::Local(address), AddressAttribute::Address(address)]);
    message
}

pub(super) fn add_address(index: u32, own: IpAddr, name: &str) -> Request {
    let mut message = address(index, own, if own.is_ipv4() { 32 } else { 128 });
    if own.is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad | AddressFlags::Noprefixroute));
    }
    let what = format!("add address {own} to {name}");
    Request { message: RouteNetlinkMessage::NewAddress(message), flags: NEW, what, route: None }
}

pub(super) fn remove_address(index: u32, old: IpAddr, length: u8, name: &str) -> Request {
    let what = format!("remove address {old} from {name}");
    Request {
        message: RouteNetlinkMessage::DelAddress(address(index, old, length)),
        flags: 0,
        what,
        route: None,
    }
}

/// Where frames to a MAC address are sent to: an entry of the device's forwarding database.
fn fdb(index: u32, mac: Mac, to: IpAddr, extras: &[NeighbourAttribute]) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Own;
    // The family of the message is AF_BRIDGE, so that the crate takes the address as bytes.
    let to = match to {
        IpAddr::V4(to) => to.octets().to_vec(),
        IpAddr::V6(to) => to.octets().to_vec(),
    };
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Other(to)));
    message.attributes.extend_from_slice(extras);
    message
}

pub(super) fn put_fdb(index: u32, mac: Mac, to: IpAddr) -> Request {
    let message = RouteNetlinkMessage::NewNeighbour(fdb(index, mac, to, &[]));
    Request { message, flags: PUT, what: format!("send frames for {mac} to {to}"), route: None }
}

pub(super) fn remove_fdb(index: u32, mac: Mac, to: IpAddr, extras: &[NeighbourAttribute]) -> Request {
    let message = RouteNetlinkMessage::DelNeighbour(fdb(index, mac, to, extras));
    Request { message, flags: 0, what: format!("no longer send frames for {mac} to {to}"), route: None }
}

/// The MAC address of a gateway.
fn neighbour(index: u32, address: IpAddr, mac: Option<Mac>) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::Destination(address.into()));
    if let Some(mac) = mac {
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    }
    message
}

pub(super) fn put_neighbour(index: u32, address: IpAddr, mac: Mac) -> Request {
    let message = RouteNetlinkMessage::NewNeighbour(neighbour(index, address, Some(mac)));
    Request { message, flags: PUT, what: format!("add neighbour {address} with {mac}"), route: None }
}

pub(super) fn remove_neighbour(index: u32, address: IpAddr) -> Request {
    let message = RouteNetlinkMessage::DelNeighbour(neighbour(index, address, None));
    Request { message, flags: 0, what: format!("remove neighbour {address}"), route: None }
}

fn route(to: IpNetwork, kind: RouteType) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(to.network());
    message.header.destination_prefix_length = to.prefix();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Other(ROUTE_PROTOCOL);
    message.header.scope = RouteScope::Universe;
    message.header.kind = kind;
    message.attributes.push(RouteAttribute::Destination(RouteAddress::from(to.network())));
    message
}

/// The route to another node's block. With VXLAN its gateway is the block's own network address, which is on no link that the
/// kernel knows of.
fn block_route(index: u32, block: IpNetwork, backend: Backend) -> RouteMessage {
    let mut message = route(block, RouteType::Unicast);
    match backend {
        Backend::Vxlan => {
            message.header.flags = RouteFlags::Onlink;
            message.attributes.push(RouteAttribute::Gateway(RouteAddress::from(block.network())));
        }
        // IPv6 routes have no scope.
        Backend::Wireguard if block.is_ipv4() => message.header.scope = RouteScope::Link,
        Backend::Wireguard => {}
    }
    message.attributes.push(RouteAttribute::Oif(index));
    message
}

/// Never replaces: that could be another's route to the same prefix.
pub(super) fn add_route(index: u32, block: IpNetwork, backend: Backend, device: &str) -> Request {
    let message = RouteNetlinkMessage::NewRoute(block_route(index, block, backend));
    let what = format!("add route {block} dev {device}");
    Request { message, flags: NEW, what, route: Some(block) }
}

pub(super) fn remove_block_route(index: u32, block: IpNetwork, device: &Device) -> Request {
    let message = RouteNetlinkMessage::DelRoute(block_route(index, block, device.backend));
    let what = format!("remove route {block} dev {}", device.name);
    Request { message, flags: 0, what, route: None }
}

pub(super) fn add_blackhole(prefix: IpNetwork) -> Request {
    let mut message = route(prefix, RouteType::BlackHole);
    message.attributes.push(RouteAttribute::Priority(LAST));
    let message = RouteNetlinkMessage::NewRoute(message);
    Request { message, flags: NEW, what: format!("add route blackhole {prefix}"), route: Some(prefix) }
}

/// Removes exactly a route that was dumped.
pub(super) fn remove_route(dumped: &RouteMessage, text: &str) -> Request {
    let mut message = RouteMessage::default();
    message.header = dumped.header.clone();
    message.header.flags = RouteFlags::empty();
    message.attributes = dumped
        .attributes
        .iter()
        .filter(|attribute| {
            matches!(
                attribute,
                RouteAttribute::Destination(_)
                    | RouteAttribute::Gateway(_)
                    | RouteAttribute::Oif(_)
                    | RouteAttribute::Priority(_)
                    | RouteAttribute::Table(_)
            )
        })
        .cloned()
        .collect();
    Request {
        message: RouteNetlinkMessage::DelRoute(message),
        flags: 0,
        what: format!("remove route {text}"),
        route: None,
    }
}
