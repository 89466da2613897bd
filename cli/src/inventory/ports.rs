//! Published ports, read from the kernel; and those that were asked for, where another program publishes them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use cni::{PortMapping, Protocol, case_blind};
use serde::Serialize;
use serde_json::Value;

use crate::error::Error;

/// A port of a container, and where on the host it is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PortView {
    /// The port in the container.
    pub(crate) container_port: u16,
    /// The protocol of both.
    pub(crate) protocol: Protocol,
    /// The host's address; an unspecified one for all of its family.
    #[serde(rename = "hostIP")]
    pub(crate) host_ip: IpAddr,
    /// The host's port.
    pub(crate) host_port: u16,
}

impl PortView {
    /// A mapping; `any` is its address where it has none.
    pub(super) fn of(mapping: &PortMapping, any: IpAddr) -> Self {
        let PortMapping { container_port, protocol, host_port, host_ip } = *mapping;
        Self { container_port, protocol, host_ip: host_ip.unwrap_or(any), host_port }
    }

    /// The host's side.
    pub(crate) fn host(&self) -> SocketAddr {
        SocketAddr::new(self.host_ip, self.host_port)
    }

    /// The container's side, as Docker writes it: `80/tcp`.
    pub(crate) fn inner(&self) -> String {
        format!("{}/{}", self.container_port, self.protocol)
    }
}

impl fmt::Display for PortView {
    /// As `docker ps` writes it: `0.0.0.0:8080->80/tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}->{}", self.host(), self.inner())
    }
}

/// The ports of every attachment of this host, by its [`cni::Attachment::token`], in order.
pub(super) fn published() -> Result<BTreeMap<String, Vec<PortView>>, Error> {
    let failed = |error: &dyn std::error::Error| {
        Error::io("read published ports", io::Error::other(error.to_string()))
    };
    let mut all: BTreeMap<String, Vec<PortView>> = BTreeMap::new();
    let Some(mut rules) = nftables::Socket::open_if_supported().map_err(|error| failed(&error))? else {
        return Ok(all);
    };
    for published in host_port::published(&mut rules).map_err(|error| failed(&error))? {
        let port = published.port;
        all.entry(published.owner).or_default().push(PortView {
            container_port: port.container.port(),
            protocol: port.protocol,
            host_ip: port.host_ip.unwrap_or_else(|| any(port.container.ip())),
            host_port: port.host_port,
        });
    }
    for ports in all.values_mut() {
        ports.sort();
    }
    Ok(all)
}

/// What a runtime asked for by the capability `portMappings`, without free ports, of a container with these addresses: on a
/// host address of a family that it lacks, no port is published.
pub(super) fn asked_for(mappings: &Value, addresses: &[IpAddr]) -> Vec<PortView> {
    let mappings: Vec<PortMapping> = case_blind::from_value(mappings).unwrap_or_default();
    let mut ports: Vec<PortView> = mappings
        .into_iter()
        .filter(|mapping| mapping.host_port != 0)
        .map(|mapping| PortView::of(&mapping, every(addresses)))
        .filter(|port| {
            let is_of = |address: &IpAddr| address.is_ipv4() == port.host_ip.is_ipv4();
            addresses.is_empty() || addresses.iter().any(is_of)
        })
        .collect();
    ports.sort();
    ports
}

/// Every address of the host: of IPv4, unless the container has no IPv4 address.
fn every(addresses: &[IpAddr]) -> IpAddr {
    let first = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    first.map_or(Ipv4Addr::UNSPECIFIED.into(), |address| any(*address))
}

/// Every address of a family.
fn any(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_runtimes_ask_for_is_read_in_either_spelling() {
        let mappings = json!([
            {"HostPort": 8081, "ContainerPort": 80, "Protocol": "TCP", "HostIP": ""},
            {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "127.0.0.1"},
            {"hostPort": 8084, "containerPort": 80, "hostIP": "::1"},
            {"hostPort": 0, "containerPort": 81}]);
        let shown = |addresses: &[&str]| -> Vec<String> {
            let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
            asked_for(&mappings, &addresses).iter().map(ToString::to_string).collect()
        };
        let (v4, v6) = (["127.0.0.1:53->53/udp", "0.0.0.0:8081->80/tcp"], "[::1]:8084->80/tcp");
        assert_eq!(shown(&["10.1.0.2"]), v4);
        assert_eq!(shown(&["10.1.0.2", "fd00::2"]), [v4[0], v4[1], v6]);
        assert_eq!(shown(&["fd00::2"]), ["[::]:8081->80/tcp", v6]);
        assert_eq!(shown(&[]), [v4[0], v4[1], v6]);
        assert_eq!(asked_for(&Value::Null, &[]), []);
    }
}
