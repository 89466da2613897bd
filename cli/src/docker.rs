//! The shapes of Docker's `inspect`, which scripts read.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::inventory::PortView;

/// One place on the host where a port is reached.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PortBinding {
    host_ip: String,
    /// A number, as text.
    host_port: String,
}

/// `NetworkSettings.Ports`: the container's ports, and where each one is reached.
pub(crate) fn ports<'a>(ports: impl IntoIterator<Item = &'a PortView>) -> BTreeMap<String, Vec<PortBinding>> {
    let mut all: BTreeMap<String, Vec<PortBinding>> = BTreeMap::new();
    for port in ports {
        let binding =
            PortBinding { host_ip: port.host_ip.to_string(), host_port: port.host_port.to_string() };
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
