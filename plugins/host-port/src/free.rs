//! Free ports of the host: candidates for `hostPort: 0`, and whether a process of the host has a port.

use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::ops::RangeInclusive;

use netlink::sysctl;
use nftables::Socket;

use crate::conf::Mapping;
use crate::error::Error;
use crate::plan::ports;
use crate::port::{Port, Protocol};

/// The ports of the ephemeral range, each once, from somewhere in the middle on.
#[derive(Debug)]
pub(crate) struct Candidates {
    range: RangeInclusive<u16>,
    reserved: Vec<RangeInclusive<u16>>,
    start: usize,
    tried: usize,
}

impl Candidates {
    /// Reads the range of `net.ipv4.ip_local_port_range` less `net.ipv4.ip_local_reserved_ports`. The
    /// attachment's token says where to begin, so that containers that start at once seldom try the same ports.
    pub(crate) fn new(token: &str) -> Result<Self, Error> {
        let range = sysctl::get("net/ipv4/ip_local_port_range")?;
        let reserved = sysctl::get("net/ipv4/ip_local_reserved_ports")?;
        let seed = token.get(..8).and_then(|digits| usize::from_str_radix(digits, 16).ok());
        Ok(Self::of(parse_range(&range), parse_list(&reserved), seed.unwrap_or_default()))
    }

    fn of(range: RangeInclusive<u16>, reserved: Vec<RangeInclusive<u16>>, seed: usize) -> Self {
        Self { start: seed % range.len().max(1), range, reserved, tried: 0 }
    }

    /// Finds a port for a mapping, on the addresses of the container's families, that nobody has.
    pub(crate) fn choose(
        &mut self,
        socket: &mut Socket,
        mapping: &Mapping,
        others: &[Mapping],
        addresses: &[ipnetwork::IpNetwork],
    ) -> Result<u16, Error> {
        for candidate in self.by_ref() {
            let is_given =
                |other: &Mapping| other.host_port == Some(candidate) && other.protocol == mapping.protocol;
            let chosen = Mapping { host_port: Some(candidate), ..*mapping };
            if !others.iter().any(is_given) && is_free(socket, &ports(&[chosen], addresses)?)? {
                return Ok(candidate);
            }
        }
        Err(Error::NoneFree {
            protocol: mapping.protocol,
            first: *self.range.start(),
            last: *self.range.end(),
        })
    }
}

impl Iterator for Candidates {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        let count = self.range.len();
        while self.tried < count {
            let offset = (self.start + self.tried) % count;
            self.tried += 1;
            let port = self.range.clone().nth(offset)?;
            if !self.reserved.iter().any(|reserved| reserved.contains(&port)) {
                return Some(port);
            }
        }
        None
    }
}

fn is_free(socket: &mut Socket, ports: &[(usize, Port)]) -> Result<bool, Error> {
    for (_, port) in ports {
        if socket.get_element(port.map(), &port.key())?.is_some() || is_listened(port) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a process of the host has the port: then it cannot be bound. The standard library has no SCTP, for which
/// this is never so; nor is it for an address that the host does not have.
pub(crate) fn is_listened(port: &Port) -> bool {
    let address = port.host_address();
    let bound = match port.protocol {
        Protocol::Tcp => TcpListener::bind(address).map(drop),
        Protocol::Udp => UdpSocket::bind(address).map(drop),
        Protocol::Sctp => Ok(()),
    };
    bound.is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
}

/// Two numbers, as in `32768 60999`; Docker's own range where the kernel's cannot be read.
fn parse_range(text: &str) -> RangeInclusive<u16> {
    let mut ends = text.split_whitespace().filter_map(|end| end.parse().ok());
    match (ends.next(), ends.next()) {
        (Some(first), Some(last)) => first..=last,
        _ => 49_153..=65_535,
    }
}

/// `8080,9148-9150`.
fn parse_list(text: &str) -> Vec<RangeInclusive<u16>> {
    let parse = |item: &str| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.split(',').filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_candidate_comes_once_and_reserved_ones_never() {
        let reserved = parse_list("32770,32772-32773\n".trim());
        let candidates = Candidates::of(parse_range("32768\t32775"), reserved, 6);
        assert_eq!(candidates.collect::<Vec<_>>(), [32774, 32775, 32768, 32769, 32771]);
    }

    #[test]
    fn what_is_not_a_list_reserves_nothing() {
        assert!(parse_list("").is_empty());
        assert_eq!(parse_range("?"), 49_153..=65_535);
    }
}
