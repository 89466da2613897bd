//! Enough of SCTP to see which server answers. If the kernel has SCTP sockets, they are used. Otherwise INIT and INIT ACK
//! (RFC 9260, 3.3.2 and 3.3.3) are sent as raw packets, which connection tracking and NAT handle as any others.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::Instant;

use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, connect,
    listen, recvfrom, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::host::Namespaced;
use crate::traffic::{PATIENCE, at, canonical};

/// Whether the kernel has SCTP sockets.
#[must_use]
pub fn has_sockets() -> bool {
    socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), SockProtocol::Sctp).is_ok()
}

/// A server on a port, for IPv4 and IPv6, that answers with `<name> sees <client's address>` until the process ends.
pub fn serve_sctp(place: Option<&Namespaced>, name: &str, port: u16) {
    for any in [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)] {
        let name = name.to_owned();
        let address = SocketAddr::new(any, port);
        if has_sockets() {
            let listener = at(place, || {
                let socket = open(address, SockType::Stream);
                if any.is_ipv6() {
                    setsockopt(&socket, sockopt::Ipv6V6Only, &true).unwrap();
                }
                bind(socket.as_raw_fd(), &SockaddrStorage::from(address)).unwrap();
                listen(&socket, Backlog::new(16).unwrap()).unwrap();
                TcpListener::from(socket)
            });
            thread::spawn(move || {
                while let Ok((mut stream, peer)) = listener.accept() {
                    let _ = stream.write_all(format!("{name} sees {}", canonical(peer)).as_bytes());
                }
            });
            continue;
        }
        let socket = at(place, || open(address, SockType::Raw));
        thread::spawn(move || {
            loop {
                let Ok((packet, peer)) = receive(&socket, any) else { continue };
                if packet.destination != port || packet.chunk.first() != Some(&INIT) {
                    continue;
                }
                let text = format!("{name} sees {peer}");
                let length = u16::try_from(text.len()).unwrap();
                let mut chunk = vec![INIT_ACK, 0];
                chunk.extend((24 + length).to_be_bytes());
                chunk.extend(&packet.chunk[4..20]);
                // A state cookie, whose content only the server has to understand.
                chunk.extend([0, 7]);
                chunk.extend((4 + length).to_be_bytes());
                chunk.extend(text.as_bytes());
                let tag = packet.chunk[4..8].try_into().unwrap();
                send(&socket, peer, &write(port, packet.source, tag, &chunk)).unwrap();
            }
        });
    }
}

/// Opens an association and reads what the server says.
///
/// # Errors
/// No answer in time, or a refusal.
pub fn ask_sctp(place: Option<&Namespaced>, address: &str) -> io::Result<String> {
    let address: SocketAddr = address.parse().unwrap();
    at(place, || if has_sockets() { ask_by_socket(address) } else { ask_by_packets(address) })
}

fn ask_by_socket(address: SocketAddr) -> io::Result<String> {
    let socket = open(address, SockType::Stream);
    connect(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn ask_by_packets(address: SocketAddr) -> io::Result<String> {
    let socket = open(address, SockType::Raw);
    // A free port: that of a TCP socket which stays open for as long.
    let reserved = TcpListener::bind("[::]:0")?;
    let source = reserved.local_addr()?.port();
    let mut chunk = vec![INIT, 0, 0, 20];
    chunk.extend(Instant::now().elapsed().subsec_nanos().max(1).to_be_bytes());
    chunk.extend([0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
    send(&socket, address.ip(), &write(source, address.port(), [0; 4], &chunk))?;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let (packet, _) = receive(&socket, address.ip())?;
        if packet.destination == source
            && packet.source == address.port()
            && packet.chunk.first() == Some(&INIT_ACK)
        {
            return Ok(String::from_utf8_lossy(&packet.chunk[24..]).into_owned());
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

const INIT: u8 = 1;
const INIT_ACK: u8 = 2;

struct Packet {
    source: u16,
    destination: u16,
    chunk: Vec<u8>,
}

fn open(address: SocketAddr, kind: SockType) -> OwnedFd {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::Sctp)
        .unwrap_or_else(|error| panic!("open a socket for SCTP: {error}"));
    let patience = TimeVal::milliseconds(i64::try_from(PATIENCE.as_millis()).unwrap());
    if kind == SockType::Raw {
        setsockopt(&socket, sockopt::ReceiveTimeout, &patience).unwrap();
    }
    socket
}

fn send(socket: &OwnedFd, to: IpAddr, packet: &[u8]) -> io::Result<()> {
    let to = SockaddrStorage::from(SocketAddr::new(to, 0));
    sendto(socket.as_raw_fd(), packet, &to, MsgFlags::empty())?;
    Ok(())
}

fn receive(socket: &OwnedFd, family: IpAddr) -> io::Result<(Packet, IpAddr)> {
    let mut buffer = [0; 1500];
    let (length, from) = recvfrom::<SockaddrStorage>(socket.as_raw_fd(), &mut buffer)?;
    // IPv4 raw sockets also return the IP header, whose length is given in words of four bytes.
    let header = if family.is_ipv4() { usize::from(buffer[0] & 15) * 4 } else { 0 };
    let packet = &buffer[header..length];
    let from = from.unwrap();
    let peer = match (from.as_sockaddr_in(), from.as_sockaddr_in6()) {
        (Some(v4), _) => IpAddr::from(v4.ip()),
        (_, Some(v6)) => IpAddr::from(v6.ip()),
        _ => panic!("neither IPv4 nor IPv6"),
    };
    let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let mut zeroed = packet.to_vec();
    zeroed[8..12].fill(0);
    assert_eq!(packet[8..12], crc32c(&zeroed).to_le_bytes(), "a checksum of SCTP is wrong");
    // The length of a chunk excludes its padding.
    let chunk = packet[12..12 + usize::from(port(14))].to_vec();
    Ok((Packet { source: port(0), destination: port(2), chunk }, peer))
}

fn write(source: u16, destination: u16, tag: [u8; 4], chunk: &[u8]) -> Vec<u8> {
    let mut packet = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    packet.extend(tag);
    packet.extend([0; 4]);
    packet.extend(chunk);
    packet.resize(packet.len().next_multiple_of(4), 0);
    let sum = crc32c(&packet).to_le_bytes();
    packet[8..12].copy_from_slice(&sum);
    packet
}

/// RFC 9260, appendix A.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 })
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(super::crc32c(b"123456789"), 0xe306_9283);
    }
}
