//! Frames as an attacker makes them, byte for byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;

use netlink::Socket;
use sandbox::run;

use super::PORT;

pub(super) const ETH_P_IP: u16 = 0x0800;
pub(super) const ETH_P_ARP: u16 = 0x0806;
pub(super) const ETH_P_IPV6: u16 = 0x86dd;

/// Sends a frame through an interface of the calling thread's namespace. Perl does it, which every Debian has: a packet socket
/// (17 is `AF_PACKET`, 3 is `SOCK_RAW`) would need unsafe code here.
pub(super) fn send(interface: &str, frame: &[u8]) {
    send_all(interface, std::slice::from_ref(&frame.to_vec()));
}

pub(super) fn send_all(interface: &str, frames: &[Vec<u8>]) {
    let link = Socket::open().unwrap().get_link(interface).unwrap().unwrap();
    // All frames are as long as the first.
    let script = "socket(S, 17, 3, 0) or die $!; binmode STDIN; $/ = \\($ARGV[1] + 0);
        while (<STDIN>) { send(S, $_, 0, pack('SnlSCCa8', 17, 0, $ARGV[0], 0, 0, 0, '')) or die $! }";
    let length = frames[0].len().to_string();
    let mut perl = Command::new("perl");
    let sent = run(perl.args(["-e", script, &link.index.to_string(), &length]), &frames.concat());
    assert!(sent.status.success(), "{sent:?}");
}

/// Sum of 16-bit words in ones' complement (RFC 1071).
pub(super) fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let bytes = parts.concat();
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or_default());
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

pub(super) fn frame(to: [u8; 6], from: [u8; 6], kind: u16, content: &[u8]) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes(), content].concat()
}

pub(super) fn ip(from: IpAddr, to: IpAddr, protocol: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = (length + 20).to_be_bytes();
            let start = [0x45, 0, total[0], total[1], 0, 7, 0, 0, 64, protocol];
            let addresses = [from.octets(), to.octets()].concat();
            [&start[..], &checksum(&[&start, &addresses]), &addresses, content].concat()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let [high, low] = length.to_be_bytes();
            let start = [0x60, 0, 0, 0, high, low, protocol, 255];
            [&start[..], &from.octets(), &to.octets(), content].concat()
        }
        mixed => panic!("{mixed:?}"),
    }
}

/// A datagram of one byte.
pub(super) fn udp(from: IpAddr, to: IpAddr) -> Vec<u8> {
    let head = [&4000_u16.to_be_bytes()[..], &PORT.to_be_bytes(), &9_u16.to_be_bytes()].concat();
    let sum = match (from, to) {
        // Over IPv4 it is optional.
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            checksum(&[&from.octets(), &to.octets(), &[0, 0, 0, 9, 0, 0, 0, 17], &head, &[0, 0], b"!\0"])
        }
        _ => [0, 0],
    };
    ip(from, to, 17, &[&head[..], &sum, b"!"].concat())
}

/// A message of neighbour discovery, with its type and what follows the checksum.
pub(super) fn icmpv6(from: Ipv6Addr, to: Ipv6Addr, kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    let sum = checksum(&[&from.octets(), &to.octets(), &length, &[0, 0, 0, 58], &[kind, 0, 0, 0], body]);
    ip(from.into(), to.into(), 58, &[&[kind, 0], &sum[..], body].concat())
}

/// A neighbour advertisement that overrides what is known: the address is at this hardware address.
pub(super) fn claims6(from: Ipv6Addr, to: Ipv6Addr, address: Ipv6Addr, mac: [u8; 6]) -> Vec<u8> {
    // An advertisement to a multicast address is unsolicited (RFC 4861), so it lacks the solicited flag.
    let flags = if to.is_multicast() { 0x20 } else { 0x60 };
    icmpv6(from, to, 136, &[&[flags, 0, 0, 0], &address.octets()[..], &[2, 1], &mac].concat())
}

pub(super) fn arp(operation: u8, (mac, from): ([u8; 6], Ipv4Addr), to: Ipv4Addr) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    [&head[..], &mac, &from.octets(), &[0; 6], &to.octets()].concat()
}
