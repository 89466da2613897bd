//! Published ports as `docker inspect` has them, which scripts read.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::inventory::PortView;

/// `NetworkSettings.Ports`: the container's ports, and where each one is reached. Ports of the host are texts there.
pub(crate) fn ports<'a>(ports: impl IntoIterator<Item = &'a PortView>) -> BTreeMap<String, Vec<Value>> {
    let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for port in ports {
        let binding = json!({"HostIp": port.host_ip, "HostPort": port.host_port.to_string()});
        all.entry(port.inner()).or_default().push(binding);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_keyed_by_the_containers_side() {
        let port = |host_ip: &str| PortView {
            container_port: 5000,
            protocol: cni::Protocol::Tcp,
            host_ip: host_ip.parse().unwrap(),
            host_port: 49153,
        };
        let shown = serde_json::to_value(ports([&port("0.0.0.0"), &port("::")])).unwrap();
        let wanted = serde_json::json!({"5000/tcp": [
            {"HostIp": "0.0.0.0", "HostPort": "49153"}, {"HostIp": "::", "HostPort": "49153"}]});
        assert_eq!(shown, wanted);
    }
}
