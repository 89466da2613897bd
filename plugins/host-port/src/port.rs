//! One published port of one address family: the host's side, which is the key of a map element, and the container's
//! side, which is its data.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nftables::{Data, Element, Field, Set, key};

use crate::localhost::STAND_IN;
use crate::memory::Place;
use crate::ruleset::{AT4, HOST4, HOST6, LOCAL4, LOCAL6, PORT4, PORT6};

/// A transport protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// `IPPROTO_TCP`.
    Tcp,
    /// `IPPROTO_UDP`.
    Udp,
    /// `IPPROTO_SCTP`.
    Sctp,
}

impl Protocol {
    const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// Reads a name in any case; `None` for any other protocol.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(text))
    }

    /// The lower-case name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// The protocol's number in the IP header (`IPPROTO_*`).
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A port of the host that leads to a port of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Port {
    /// The host's address that it is published on; `None` for every address of the container address's family.
    pub host_ip: Option<IpAddr>,
    /// The host's port.
    pub host_port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// Where it leads: the container's address and port. Of the family of `host_ip`.
    pub container: SocketAddr,
}

impl Port {
    /// The map that has it.
    pub(crate) fn map(&self) -> &'static Set<'static> {
        map(self.host_ip, self.container.is_ipv4())
    }

    /// Its key there.
    pub(crate) fn key(&self) -> Vec<Field> {
        key_of(self.host_ip, self.protocol, self.host_port)
    }

    /// The place by which 127.0.0.1 or `[::1]` leads to it, where that is to lead anywhere.
    pub(crate) fn localhost(&self) -> Option<Place> {
        localhost_of(&(self.map(), self.key()))
    }

    /// Its element there.
    pub(crate) fn element(&self, comment: &str) -> Element {
        Element::new(&self.key())
            .data(&[self.container.ip().into(), Field::Port(self.container.port())])
            .comment(comment)
    }

    /// Reads an element of `map`; `None` where it holds anything that this plugin does not write.
    pub(crate) fn read(map: &Set<'_>, element: &Element) -> Option<Self> {
        let Some(Data::Value(data)) = &element.data else {
            return None;
        };
        let key = key::decode(map.key, &element.key).ok()?;
        let (host_ip, rest) = match key.split_first()? {
            (Field::Ipv4(address), rest) => (Some(IpAddr::from(*address)), rest),
            (&Field::Ipv6(STAND_IN), rest) => (Some(IpAddr::from(Ipv6Addr::LOCALHOST)), rest),
            (Field::Ipv6(address), rest) => (Some(IpAddr::from(*address)), rest),
            _ => (None, key.as_slice()),
        };
        let &[Field::Proto(number), Field::Port(host_port)] = rest else {
            return None;
        };
        let container = match key::decode(map.data?, data).ok()?[..] {
            [Field::Ipv4(address), Field::Port(port)] => SocketAddr::from((address, port)),
            [Field::Ipv6(address), Field::Port(port)] => SocketAddr::from((address, port)),
            _ => return None,
        };
        Some(Self {
            host_ip,
            host_port,
            protocol: Protocol::ALL.into_iter().find(|protocol| protocol.number() == number)?,
            container,
        })
    }

    /// The address to bind on the host for the same port.
    pub(crate) fn host_address(&self) -> SocketAddr {
        let any = if self.container.is_ipv4() {
            IpAddr::from(Ipv4Addr::UNSPECIFIED)
        } else {
            IpAddr::from(Ipv6Addr::UNSPECIFIED)
        };
        SocketAddr::new(self.host_ip.unwrap_or(any), self.host_port)
    }
}

/// The map for a host address, or for every address of a family.
pub(crate) fn map(host_ip: Option<IpAddr>, is_ipv4: bool) -> &'static Set<'static> {
    match (host_ip, is_ipv4) {
        (None, true) => &PORT4,
        (None, false) => &PORT6,
        (Some(_), true) => &HOST4,
        (Some(_), false) => &HOST6,
    }
}

/// The place by which localhost leads to the port of such a place; `None` where it does not.
pub(crate) fn localhost_of((map, key): &Place) -> Option<Place> {
    match (map, &key[..]) {
        (map, _) if **map == PORT4 => Some((&LOCAL4, key.clone())),
        (map, [Field::Ipv4(address), ..]) if **map == HOST4 && address.is_loopback() => {
            Some((&AT4, key.clone()))
        }
        (map, _) if **map == PORT6 => Some((&LOCAL6, key.clone())),
        (map, [Field::Ipv6(STAND_IN), port @ ..]) if **map == HOST6 => Some((&LOCAL6, port.to_vec())),
        _ => None,
    }
}

/// The key in that map. `::1` is under what stands in for it by then.
pub(crate) fn key_of(host_ip: Option<IpAddr>, protocol: Protocol, host_port: u16) -> Vec<Field> {
    let seen = |ip: IpAddr| if ip == Ipv6Addr::LOCALHOST { STAND_IN.into() } else { ip };
    let address = host_ip.map(|ip| Field::from(seen(ip)));
    address.into_iter().chain([Field::Proto(protocol.number()), Field::Port(host_port)]).collect()
}

/// As Docker writes it: `0.0.0.0:8080/tcp`, `[::]:8080/tcp`.
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host_address(), self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_back() {
        for (host_ip, container) in [
            (None, "10.1.0.11:80"),
            (Some("127.0.0.1"), "10.1.0.11:80"),
            (None, "[fd00:1::11]:80"),
            (Some("2001:db8::1"), "[fd00:1::11]:80"),
            (Some("::1"), "[fd00:1::11]:80"),
        ] {
            let port = Port {
                host_ip: host_ip.map(|text| text.parse().unwrap()),
                host_port: 8080,
                protocol: Protocol::Sctp,
                container: container.parse().unwrap(),
            };
            assert_eq!(Port::read(port.map(), &port.element("web")), Some(port));
        }
    }

    #[test]
    fn protocols_are_read_in_any_case() {
        assert_eq!(Protocol::parse("TCP"), Some(Protocol::Tcp));
        assert_eq!(Protocol::parse("icmp"), None);
        assert_eq!(Protocol::parse(""), None);
    }

    #[test]
    fn a_port_reads_as_docker_writes_it() {
        let port = |container: &str| Port {
            host_ip: None,
            host_port: 8080,
            protocol: Protocol::Tcp,
            container: container.parse().unwrap(),
        };
        assert_eq!(port("10.1.0.11:80").to_string(), "0.0.0.0:8080/tcp");
        assert_eq!(port("[fd00::1]:80").to_string(), "[::]:8080/tcp");
    }
}
