//! What the configuration and the previous result ask for: the container's addresses, and the ports that lead there. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use cni::AddResult;
use ipnetwork::IpNetwork;

use crate::conf::{Conf, Mapping};
use crate::error::Error;
use crate::port::Port;

/// The addresses of the container that ports lead to: the first of each family, as in the reference.
pub(crate) fn addresses(result: &AddResult, ifname: &str) -> Vec<IpNetwork> {
    let first = |is_ipv4: bool| {
        let mut all = result.container_ips(ifname).map(|ip| ip.address);
        all.find(|address| address.is_ipv4() == is_ipv4)
    };
    [first(true), first(false)].into_iter().flatten().collect()
}

/// Whether localhost of a family, 127.0.0.1 or `[::1]`, is to lead to the container.
pub(crate) fn needs_localhost(conf: &Conf, addresses: &[IpNetwork], is_ipv4: bool) -> bool {
    let reaches_it = |mapping: &Mapping| {
        mapping.host_ip.is_none_or(|ip| ip.is_ipv4() == is_ipv4 && (ip.is_loopback() || ip.is_unspecified()))
    };
    let has_address = addresses.iter().any(|address| address.is_ipv4() == is_ipv4);
    conf.snat && has_address && conf.mappings.iter().any(reaches_it)
}

/// The interface of the host that goes when the container goes, by the previous result: the last one before the
/// container's, which on a bridge is the veth.
pub(crate) fn host_interface<'a>(result: &'a AddResult, ifname: &str) -> Option<&'a str> {
    let interfaces = &result.interfaces;
    let container =
        interfaces.iter().position(|interface| interface.name == ifname && !interface.sandbox.is_empty())?;
    interfaces[..container]
        .iter()
        .rfind(|interface| interface.sandbox.is_empty())
        .map(|interface| interface.name.as_str())
}

/// The ports of each family that a mapping reaches. One on a host address of a family that the container lacks publishes
/// nothing, as in the reference: runtimes send such mappings for either family.
pub(crate) fn ports(mappings: &[Mapping], addresses: &[IpNetwork]) -> Result<Vec<(usize, Port)>, Error> {
    let mut ports = Vec::with_capacity(mappings.len() * addresses.len());
    let mut seen: BTreeMap<(bool, Option<IpAddr>, u16, _), (usize, SocketAddr)> = BTreeMap::new();
    for (at, mapping) in mappings.iter().enumerate() {
        for address in addresses.iter().map(IpNetwork::ip) {
            if mapping.host_ip.is_some_and(|ip| ip.is_ipv4() != address.is_ipv4()) {
                continue;
            }
            let port = Port {
                host_ip: mapping.host_ip.filter(|ip| !ip.is_unspecified()),
                host_port: mapping.host_port.unwrap_or_default(),
                protocol: mapping.protocol,
                container: SocketAddr::new(address, mapping.container_port),
            };
            // A port that is still to be chosen conflicts with none.
            if let Some(number) = mapping.host_port {
                let key = (address.is_ipv4(), port.host_ip, number, port.protocol);
                let (first, to) = *seen.entry(key).or_insert((at, port.container));
                if to != port.container {
                    let problem = format!(
                        "runtimeConfig.portMappings[{}] and [{}] both publish {port}",
                        mappings[first].index, mapping.index
                    );
                    return Err(Error::Config(problem, "publish another host port, or on another hostIP"));
                }
                // The same mapping again.
                if first != at {
                    continue;
                }
            }
            ports.push((at, port));
        }
    }
    Ok(ports)
}
