//! One published port of one address family: the host's side and the container's.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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
    pub(crate) const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

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
