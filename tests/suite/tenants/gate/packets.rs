//! Packets as a container with a raw socket makes them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use netlink::Mac;

use crate::shared::members::Member;

/// The hardware address of an interface in a member's result: of the bridge (0), or of the container (2).
pub(crate) fn mac(member: &Member, interface: usize) -> [u8; 6] {
    let told = &member.conf[0]["prevResult"]["interfaces"][interface]["mac"];
    told.as_str().unwrap().parse::<Mac>().unwrap().octets()
}

/// The addresses of a member.
pub(crate) fn addresses(member: &Member) -> [IpAddr; 2] {
    member.at(80).map(|at| at.parse::<SocketAddr>().unwrap().ip())
}

/// An Ethernet frame, with VLAN tags after the addresses.
pub(crate) fn frame(to: [u8; 6], from: [u8; 6], tags: &[u8], packet: &[u8]) -> Vec<u8> {
    let kind = if packet[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] };
    [&to[..], &from, tags, &kind, packet].concat()
}

/// RFC 1071.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let bytes = parts.concat();
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

fn ip4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let fixed = [0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64, protocol, 0, 0];
    let mut header = [&fixed[..], &from.octets(), &to.octets()].concat();
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum);
    [&header[..], payload].concat()
}

/// One byte of UDP.
pub(crate) fn datagram(from: IpAddr, to: IpAddr, ports: [u16; 2]) -> Vec<u8> {
    let [source, destination] = ports.map(u16::to_be_bytes);
    let mut udp = [&source[..], &destination, &[0, 9, 0, 0], b"!"].concat();
    match (from, to) {
        // Over IPv4, UDP needs no checksum (RFC 768).
        (IpAddr::V4(from), IpAddr::V4(to)) => ip4(from, to, 17, &udp),
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let pseudo = [0, 0, 0, 9, 0, 0, 0, 17];
            let sum = checksum(&[&from.octets(), &to.octets(), &pseudo, &udp]);
            udp[6..8].copy_from_slice(&sum);
            [&[0x60, 0, 0, 0, 0, 9, 17, 64][..], &from.octets(), &to.octets(), &udp].concat()
        }
        _ => panic!("{from} and {to} are of two families"),
    }
}

/// "Fragmentation needed" (RFC 1191) from one address to another, about a packet that the second one has sent.
pub(crate) fn too_big(from: IpAddr, to: IpAddr, mtu: u16, about: &[u8]) -> Vec<u8> {
    let (IpAddr::V4(from), IpAddr::V4(to)) = (from, to) else { panic!("{from} and {to} are not of IPv4") };
    let mtu = mtu.to_be_bytes();
    let mut icmp = [&[3, 4, 0, 0, 0, 0, mtu[0], mtu[1]][..], about].concat();
    let sum = checksum(&[&icmp]);
    icmp[2..4].copy_from_slice(&sum);
    ip4(from, to, 1, &icmp)
}
