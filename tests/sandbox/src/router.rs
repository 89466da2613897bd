//! Router advertisements (RFC 4861, 4.2), as a router sends them to all nodes of a link.

use std::io::IoSlice;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd;

use netlink::Socket;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, sendmsg, socket,
};

use crate::host::Namespaced;
use crate::traffic::at;

const ROUTER_ADVERTISEMENT: u8 = 134;
/// The hop limit that proves that no router has forwarded the packet.
const NEVER_FORWARDED: i32 = 255;

/// Sends one advertisement out of a link. The sender is a default router for half an hour, and nodes may configure an address
/// of the /64 prefix for four hours. Returns false if the link is not ready to send.
#[must_use]
pub fn advertise(place: Option<&Namespaced>, link: &str, prefix: Ipv6Addr) -> bool {
    let mut message = vec![ROUTER_ADVERTISEMENT, 0, 0, 0, 64, 0];
    message.extend(1_800_u16.to_be_bytes());
    message.extend([0; 8]);
    // The option prefix information: its length in units of eight bytes, the prefix length, the flags on-link and autonomous.
    message.extend([3, 4, 64, 0xc0]);
    message.extend(14_400_u32.to_be_bytes());
    message.extend(7_200_u32.to_be_bytes());
    message.extend([0; 4]);
    message.extend(prefix.octets());
    at(place, || {
        let index = Socket::open().unwrap().get_link(link).unwrap().unwrap().index;
        let raw = socket(AddressFamily::Inet6, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::IcmpV6)
            .unwrap_or_else(|error| panic!("open a socket for ICMPv6: {error}"));
        let all_nodes = SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 0, 0, index);
        let sent = sendmsg(
            raw.as_raw_fd(),
            &[IoSlice::new(&message)],
            &[ControlMessage::Ipv6HopLimit(&NEVER_FORWARDED)],
            MsgFlags::empty(),
            Some(&SockaddrIn6::from(all_nodes)),
        );
        match sent {
            Ok(_) => true,
            // The link has no link-local address yet.
            Err(Errno::EADDRNOTAVAIL | Errno::ENETUNREACH | Errno::EINVAL) => false,
            Err(error) => panic!("send an advertisement out of {link}: {error}"),
        }
    })
}
