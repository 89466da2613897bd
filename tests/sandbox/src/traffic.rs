//! Real packets: servers that answer with their name and the client's address, and clients that wait two seconds.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use crate::host::Namespaced;

pub use crate::sctp::{ask_sctp, has_sockets as has_sctp_sockets, serve_sctp};

pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// Runs a function in a container, or on this host.
pub(crate) fn at<T: Send>(place: Option<&Namespaced>, function: impl FnOnce() -> T + Send) -> T {
    match place {
        Some(place) => place.enter(function),
        None => function(),
    }
}

/// A TCP server that answers each connection with `<name> sees <client's address>`. It serves until the process ends.
pub fn serve_tcp(place: Option<&Namespaced>, name: &str, address: &str) {
    let listener = at(place, || TcpListener::bind(address))
        .unwrap_or_else(|error| panic!("listen on {address}: {error}"));
    let name = name.to_owned();
    // A socket stays in the namespace where it was made; the thread that uses it may be in another one.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let Ok(peer) = stream.peer_addr() else { continue };
            let _ = stream.write_all(format!("{name} sees {}", canonical(peer)).as_bytes());
        }
    });
}

/// A UDP server that answers each datagram with `<name> sees <client's address>`, filled up to the datagram's length.
pub fn serve_udp(place: Option<&Namespaced>, name: &str, address: &str) {
    let socket =
        at(place, || UdpSocket::bind(address)).unwrap_or_else(|error| panic!("bind {address}: {error}"));
    let name = name.to_owned();
    thread::spawn(move || {
        let mut buffer = vec![0; 65_535];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let mut answer = format!("{name} sees {}", canonical(peer)).into_bytes();
            answer.resize(answer.len().max(length), b'.');
            let _ = socket.send_to(&answer, peer);
        }
    });
}

/// Connects, and returns the server's answer.
///
/// # Errors
/// No answer within two seconds, or a refusal.
pub fn ask_tcp(place: Option<&Namespaced>, address: &str) -> io::Result<String> {
    let address: SocketAddr = address.parse().unwrap();
    at(place, || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    })
}

/// A UDP client that keeps its port, so that several datagrams belong to one flow.
#[derive(Debug)]
pub struct Datagrams(UdpSocket);

impl Datagrams {
    /// A client of the server at an address.
    #[must_use]
    pub fn new(place: Option<&Namespaced>, address: &str) -> Self {
        let any = if address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
        let socket = at(place, || {
            let socket = UdpSocket::bind(any)?;
            socket.connect(address)?;
            Ok::<_, io::Error>(socket)
        });
        let socket = socket.unwrap_or_else(|error| panic!("connect to {address}: {error}"));
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// Sends one datagram and reads the answer.
    ///
    /// # Errors
    /// No answer within two seconds, or a refusal.
    pub fn ask(&self) -> io::Result<String> {
        self.0.send(b"?")?;
        let mut buffer = [0; 1500];
        let length = self.0.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// Sends a datagram of any size to a server of [`serve_udp`], and returns the length of the answer, which should be the
    /// same.
    ///
    /// # Errors
    /// As [`Datagrams::ask`].
    pub fn echo(&self, datagram: &[u8]) -> io::Result<usize> {
        self.0.send(datagram)?;
        self.0.recv(&mut vec![0; datagram.len() + 1])
    }
}

/// Sends one datagram and reads the answer.
///
/// # Errors
/// As [`Datagrams::ask`].
pub fn ask_udp(place: Option<&Namespaced>, address: &str) -> io::Result<String> {
    Datagrams::new(place, address).ask()
}

/// The client's address. An IPv4-mapped IPv6 address, which a socket for both families sees, becomes the IPv4 one.
pub(crate) fn canonical(peer: SocketAddr) -> IpAddr {
    peer.ip().to_canonical()
}
