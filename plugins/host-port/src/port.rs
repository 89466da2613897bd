//! One published port of one address family: the host's side and the container's.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use cni::{Protocol, trace};

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
    /// Says that the port was published.
    pub(crate) fn trace(&self) {
        let container = format_args!("{}/{}", self.container.port(), self.protocol);
        trace::decided("port", &[("container", &container), ("host", &self.host_address())]);
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
