//! The numbers of free ports (`hostPort: 0`) that host-port chose: they are in use, so an attachment that is made anew, or a
//! network that takes the ports over, asks for the same ones.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use cni::case_blind;
use serde_json::{Map, Value};

use super::attached::Attached;
use super::ports::PortView;
use crate::network::PORT_MAPPINGS;
use crate::runtime::Making;

/// Fills in the numbers that an attachment was given.
pub(crate) fn keep_ports(making: &mut Making, attached: &Attached) {
    let Some(Value::Array(mappings)) = making.capabilities.get_mut(PORT_MAPPINGS) else { return };
    let published = attached.member.iter().flat_map(|member| &member.published);
    let registered = published.map(|mapping| PortView::of(mapping, ANY));
    fill_in(mappings, attached.ports.iter().cloned().chain(registered));
}

/// Every address of the host, of both families.
const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

fn fill_in(mappings: &mut [Value], published: impl Iterator<Item = PortView>) {
    let mut known: BTreeSet<PortView> =
        published.filter(|port| port.host_port != 0).map(of_both_families).collect();
    // Ports that have a number in the configuration were not chosen.
    for mapping in mappings.iter().filter_map(Value::as_object) {
        let Some(asked) = read(mapping).filter(|asked| asked.host_port != 0) else { continue };
        let range = case_blind::get(mapping, "range").and_then(Value::as_u64).unwrap_or(1);
        known.retain(|port| {
            let offset = port.container_port.wrapping_sub(asked.container_port);
            let is_it = (port.protocol, port.host_ip) == (asked.protocol, asked.host_ip);
            !is_it || u64::from(offset) >= range || port.host_port != asked.host_port.wrapping_add(offset)
        });
    }
    for mapping in mappings.iter_mut().filter_map(Value::as_object_mut) {
        let Some(asked) = read(mapping).filter(|asked| asked.host_port == 0) else { continue };
        let chosen = known.iter().find(|port| PortView { host_port: 0, ..(*port).clone() } == asked).cloned();
        if let Some(port) = chosen {
            known.remove(&port);
            mapping.retain(|key, _| !key.eq_ignore_ascii_case("hostPort"));
            mapping.insert("hostPort".to_owned(), port.host_port.into());
        }
    }
}

/// Reads a mapping, with keys in any case: containerd writes `HostPort`. What is no mapping, the plugin refuses.
fn read(mapping: &Map<String, Value>) -> Option<PortView> {
    let mapping = case_blind::from_object(mapping).ok()?;
    Some(of_both_families(PortView::of(&mapping, ANY)))
}

fn of_both_families(port: PortView) -> PortView {
    if port.host_ip.is_unspecified() { PortView { host_ip: ANY, ..port } } else { port }
}

#[cfg(test)]
mod tests {
    use cni::Protocol;
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

    fn filled(mut mappings: Value, known: &[PortView]) -> Vec<u16> {
        fill_in(mappings.as_array_mut().unwrap(), known.iter().cloned());
        let number = |mapping: &Value| read(mapping.as_object().unwrap()).unwrap().host_port;
        mappings.as_array().unwrap().iter().map(number).collect()
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
