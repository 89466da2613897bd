//! Whether a process of the host has a port, and by which address.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::Path;

use cni::Protocol;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};

use crate::conf::Conf;
use crate::error::Error;
use crate::port::Port;

/// With `checkHostListeners`, fails where a process of the host has one of the ports.
pub(crate) fn refuse<'a>(conf: &Conf, mut ports: impl Iterator<Item = &'a Port>) -> Result<(), Error> {
    match ports.find(|port| conf.check_listeners && is_bound(port)) {
        Some(port) => Err(Error::Listened { port: *port, address: address(port) }),
        None => Ok(()),
    }
}

/// Whether a process of the host has the port: then it cannot be bound. False for an address that the host does not have.
pub(crate) fn is_bound(port: &Port) -> bool {
    // To open a socket of SCTP makes the kernel load its module.
    if port.protocol == Protocol::Sctp && !Path::new("/proc/self/net/sctp").exists() {
        return false;
    }
    try_bind(port) == Err(Errno::EADDRINUSE)
}

fn try_bind(port: &Port) -> Result<(), Errno> {
    let (kind, protocol) = match port.protocol {
        Protocol::Tcp => (SockType::Stream, SockProtocol::Tcp),
        Protocol::Udp => (SockType::Datagram, SockProtocol::Udp),
        Protocol::Sctp => (SockType::Stream, SockProtocol::Sctp),
    };
    let address = port.host_address();
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol)?;
    // Past connections in TIME_WAIT do not count. For UDP the option would hide a listener.
    if port.protocol != Protocol::Udp {
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    }
    // A listener on an address of IPv4 does not conflict.
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))
}

/// The address by which a process of the host has the port; `None` where that cannot be found out. Reads a line for each socket
/// of the host: for messages only.
fn address(port: &Port) -> Option<SocketAddr> {
    let (name, state) = match port.protocol {
        // TCP_LISTEN; a socket of UDP that is not connected has TCP_CLOSE (include/net/tcp_states.h).
        Protocol::Tcp => ("tcp", "0A"),
        Protocol::Udp => ("udp", "07"),
        Protocol::Sctp => return None,
    };
    let wanted = port.host_address();
    let is_alike = |found: &SocketAddr| {
        let (found_ip, wanted_ip) = (found.ip(), wanted.ip());
        found.port() == wanted.port()
            && (found_ip == wanted_ip || found_ip.is_unspecified() || wanted_ip.is_unspecified())
    };
    // A socket of IPv6 mostly takes IPv4 as well.
    let families: &[&str] = if wanted.is_ipv4() { &["", "6"] } else { &["6"] };
    families.iter().find_map(|family| {
        let text = fs::read_to_string(format!("/proc/self/net/{name}{family}")).ok()?;
        text.lines().filter_map(|line| listener(line, state)).find(is_alike)
    })
}

/// Reads a line as `0: 0100007F:1F90 00000000:0000 0A …`: addresses are words of four bytes in the host's order.
fn listener(line: &str, wanted: &str) -> Option<SocketAddr> {
    let mut fields = line.split_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    if fields.nth(1)? != wanted {
        return None;
    }
    let port = u16::from_str_radix(port, 16).ok()?;
    let word =
        |at: usize| Some(u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes());
    if address.len() == 8 {
        return Some(SocketAddr::from((Ipv4Addr::from(word(0)?), port)));
    }
    let bytes = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
    let address = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
    Some(SocketAddr::new(address.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_the_kernel_are_read() {
        for (line, wanted) in [
            ("  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000", Some("127.0.0.1:8080")),
            ("  1: 0100007F:1F90 0100007F:9C40 01 00000000:00000000", None),
            (
                "  0: B80D0120000000000000000001000000:0050 00000000000000000000000000000000:0000 0A x",
                Some("[2001:db8::1]:80"),
            ),
            ("  sl  local_address rem_address   st tx_queue rx_queue", None),
            ("", None),
        ] {
            assert_eq!(listener(line, "0A").map(|found| found.to_string()).as_deref(), wanted, "{line}");
        }
    }
}
