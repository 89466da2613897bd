//! The numbers of free ports (`hostPort: 0`) that host-port chose: they are in use, so an attachment that is made anew, or a
//! network that takes the ports over, asks for the same ones.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use cni::{Protocol, case_blind};
use serde_json::{Map, Value};

use super::attached::Attached;
use super::ports::PortView;
use crate::runtime::Making;

/// Fills in the numbers that an attachment was given.
pub(crate) fn keep_ports(making: &mut Making, attached: &Attached) {
    let Some(Value::Array(mappings)) = making.capabilities.get_mut("portMappings") else { return };
    let published = attached.member.iter().flat_map(|member| &member.published);
    let registered = published.map(|port| PortView {
        container_port: port.container_port,
        protocol: port.protocol,
        host_ip: port.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
        host_port: port.host_port,
    });
    fill_in(mappings, attached.ports.iter().cloned().chain(registered));
}

/// A published port, of whichever family where it is on every address.
type Known = (u64, Protocol, Option<IpAddr>, u64);

fn fill_in(mappings: &mut [Value], published: impl Iterator<Item = PortView>) {
    let mut known: BTreeSet<Known> = published
        .filter(|port| port.host_port != 0)
        .map(|port| {
            let address = Some(port.host_ip).filter(|ip| !ip.is_unspecified());
            (u64::from(port.container_port), port.protocol, address, u64::from(port.host_port))
        })
        .collect();
    // Ports that have a number in the configuration were not chosen.
    for mapping in mappings.iter().filter_map(Value::as_object) {
        let (inner, protocol, address, number) = read(mapping);
        let range = case_blind::get(mapping, "range").and_then(Value::as_u64).unwrap_or(1);
        known.retain(|port| {
            let offset = port.0.wrapping_sub(inner);
            let is_it = (port.1, port.2) == (protocol, address) && offset < range;
            number == 0 || !is_it || port.3 != number + offset
        });
    }
    for mapping in mappings.iter_mut().filter_map(Value::as_object_mut) {
        let (inner, protocol, address, number) = read(mapping);
        let chosen =
            known.iter().find(|port| (port.0, port.1, port.2) == (inner, protocol, address)).copied();
        if let Some(port) = chosen.filter(|_| number == 0) {
            known.remove(&port);
            mapping.retain(|key, _| !key.eq_ignore_ascii_case("hostPort"));
            mapping.insert("hostPort".to_owned(), port.3.into());
        }
    }
}

/// Reads a mapping, with keys in any case: containerd writes `HostPort`.
fn read(mapping: &Map<String, Value>) -> Known {
    let number = |key| case_blind::get(mapping, key).and_then(Value::as_u64).unwrap_or_default();
    let text = |key| case_blind::get(mapping, key).and_then(Value::as_str).unwrap_or_default();
    let address = text("hostIP").parse::<IpAddr>().ok().filter(|ip| !ip.is_unspecified());
    (number("containerPort"), text("protocol").parse().unwrap_or_default(), address, number("hostPort"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn port(host: &str, inner: u16) -> PortView {
        let host: std::net::SocketAddr = host.parse().unwrap();
        PortView {
            container_port: inner,
            protocol: Protocol::Tcp,
            host_ip: host.ip(),
            host_port: host.port(),
        }
    }

    fn filled(mut mappings: Value, known: &[PortView]) -> Vec<u64> {
        fill_in(mappings.as_array_mut().unwrap(), known.iter().cloned());
        mappings.as_array().unwrap().iter().map(|mapping| read(mapping.as_object().unwrap()).3).collect()
    }

    #[test]
    fn a_free_port_gets_its_own_number_back_and_no_other_mappings() {
        let known = [port("127.0.0.1:8081", 80), port("0.0.0.0:45706", 80), port("[::]:45706", 80)];
        let mappings = json!([
            {"hostPort": 0, "containerPort": 80},
            {"HostPort": 8081, "ContainerPort": 80, "HostIP": "127.0.0.1", "Protocol": "TCP"},
        ]);
        assert_eq!(filled(mappings, &known), [45706, 8081]);
        // Two that were chosen, on one address and on all.
        let known = [port("127.0.0.1:40000", 80), port("0.0.0.0:50000", 80), port("0.0.0.0:50001", 80)];
        let mappings = json!([
            {"hostPort": 0, "containerPort": 80}, {"hostPort": 0, "containerPort": 80, "hostIP": "0.0.0.0"},
            {"hostPort": 0, "containerPort": 80, "hostIP": "127.0.0.1"}, {"hostPort": 0, "containerPort": 81},
        ]);
        assert_eq!(filled(mappings, &known), [50000, 50001, 40000, 0]);
    }

    #[test]
    fn what_a_range_publishes_was_not_chosen() {
        let known = [port("0.0.0.0:9001", 91), port("0.0.0.0:33000", 91)];
        let mappings = json!([
            {"hostPort": 9000, "containerPort": 90, "range": 3}, {"hostPort": 0, "containerPort": 91, "hostIP": ""},
        ]);
        assert_eq!(filled(mappings, &known), [9000, 33000]);
    }
}
