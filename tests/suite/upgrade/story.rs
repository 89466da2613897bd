//! The networks that a node has while it is upgraded.

use std::fs;

use serde_json::{Value, json};

use crate::shared::bridge::conf;
use crate::shared::iptables::prime;
use crate::shared::shell::shell;

pub(super) const NETWORK: &str = "net";
pub(super) const NETWORKS: &str = "/run/net.d";
/// The host port, counted from a container's first, that is published on all addresses.
pub(super) const PORT: u16 = 80;

/// A network, and what it leaves in the packet filter.
pub(super) struct Story {
    /// The name of its recording.
    pub(super) name: &'static str,
    /// Further keys of the bridge plugin.
    pub(super) bridge: Value,
    /// Further keys of host-port.
    pub(super) host_port: Value,
    /// Whether containers' ports are reached from outside.
    pub(super) publishes: bool,
    /// What else filters packets on the host, as a line of shell.
    pub(super) firewall: &'static str,
    /// Tables that exist as long as containers do.
    pub(super) tables: &'static [&'static str],
}

impl Default for Story {
    fn default() -> Self {
        Self {
            name: "",
            bridge: json!({}),
            host_port: json!({}),
            publishes: true,
            firewall: "true",
            tables: &[],
        }
    }
}

impl Story {
    /// Writes the network's list where the programs look for it.
    pub(super) fn install(&self) {
        let mut plugins = [
            conf(),
            json!({"type": "host-port", "capabilities": {"portMappings": true}}),
            json!({"type": "link-env", "capabilities": {"portMappings": true}}),
        ];
        for (plugin, keys) in plugins.iter_mut().zip([&self.bridge, &self.host_port]) {
            plugin.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        }
        let list = json!({"cniVersion": "1.0.0", "name": NETWORK, "plugins": plugins});
        fs::create_dir_all(NETWORKS).unwrap();
        fs::write(format!("{NETWORKS}/net.conflist"), list.to_string()).unwrap();
    }

    /// Loads the host's other rules; called again after a flush.
    pub(super) fn set_up_firewall(&self) {
        prime("nft");
        shell(&format!("cd {}/tests/data/firewalls && {}", env!("CARGO_MANIFEST_DIR"), self.firewall));
    }

    /// Damage that other programs may do to the rules: all are flushed, or one table is deleted.
    pub(super) fn damages(&self) -> Vec<String> {
        let mut damages = vec!["nft flush ruleset".to_owned()];
        damages.extend(self.tables.iter().map(|table| format!("nft delete table {table}")));
        damages
    }

    /// A container's published ports. Their numbers are counted from `first`; each is on another kind of host address.
    pub(super) fn ports(&self, first: u16) -> Value {
        let port = |port: u16, protocol: &str, ip: &str| json!({"hostPort": first + port, "containerPort": 80, "protocol": protocol, "hostIP": ip});
        let mut ports = vec![
            port(PORT, "tcp", ""),
            port(PORT, "udp", ""),
            port(81, "tcp", "192.0.2.1"),
            port(82, "tcp", "2001:db8::1"),
            port(83, "tcp", "127.0.0.1"),
        ];
        if self.host_port["backend"] != "iptables" {
            ports.extend([port(84, "udp", "::1"), json!({"hostPort": 0, "containerPort": 80})]);
        }
        json!({ "portMappings": ports })
    }
}
