//! The text of a new network of the drivers macvlan and ipvlan: an interface on one of the host's, names. Pure.

use serde::Serialize;
use serde_json::{Value, json};

use super::conflist::Ipam;
use super::pool::{Pool, auxiliary};

/// A network on an interface of the host, as it was asked for, complete.
#[derive(Clone, Debug)]
pub(crate) struct Upper<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// The plugin: `macvlan` or `ipvlan`.
    pub(crate) driver: &'a str,
    /// The interface of the host.
    pub(crate) parent: &'a str,
    /// Whom containers reach, in the plugin's words.
    pub(crate) mode: &'a str,
    /// The host reaches the containers.
    pub(crate) host_access: bool,
    /// Its subnets, one a family.
    pub(crate) pools: &'a [Pool],
    /// In bytes; the parent's otherwise.
    pub(crate) mtu: Option<u32>,
}

impl Upper<'_> {
    /// The conflist. Its version is one that every runtime in use reads (containerd 1.6 refuses 1.1.0). No port is published: all
    /// of a container's ports are its own. As with Docker, the network's routers give a container nothing.
    pub(crate) fn text(&self) -> Result<String, serde_json::Error> {
        let ipam = Ipam {
            kind: "host-local",
            ranges: self.pools.iter().map(Pool::ranges).collect(),
            auxiliary: auxiliary(self.pools),
            routes: self.pools.iter().map(|pool| json!({"dst": pool.everything()})).collect(),
        };
        let plugin = Plugin {
            kind: self.driver,
            master: self.parent,
            mode: self.mode,
            mtu: self.mtu,
            host_access: self.host_access.then_some(true),
            accepts_ra: false,
            ipam,
        };
        let names = json!({"type": "link-env", "capabilities": {
            "portMappings": true, "aliases": true, "io.kubernetes.cri.pod-annotations": true}});
        let list = List { version: "1.0.0", name: self.name, plugins: (plugin, names) };
        Ok(serde_json::to_string_pretty(&list)? + "\n")
    }
}

/// The keys in the order in which people read them.
#[derive(Serialize)]
struct List<'a> {
    #[serde(rename = "cniVersion")]
    version: &'a str,
    name: &'a str,
    plugins: (Plugin<'a>, Value),
}

#[derive(Serialize)]
struct Plugin<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    master: &'a str,
    mode: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    #[serde(rename = "hostAccess", skip_serializing_if = "Option::is_none")]
    host_access: Option<bool>,
    #[serde(rename = "acceptRA")]
    accepts_ra: bool,
    ipam: Ipam<'a>,
}

/// A VLAN of an interface as Docker names it, `eth0.50`: the interface and the VLAN's number.
pub(crate) fn vlan_of(parent: &str) -> Option<(&str, u16)> {
    let (below, id) = parent.rsplit_once('.')?;
    let id = id.parse().ok().filter(|id| (1..=4094).contains(id))?;
    Some((below, id)).filter(|(below, _)| !below.is_empty())
}

/// The alias of a VLAN that `network create` made, which goes with the last network on it.
pub(crate) const PARENT_ALIAS: &str = "cleat parent";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_with_a_number_behind_its_last_dot_is_a_vlan() {
        assert_eq!(vlan_of("eth0.50"), Some(("eth0", 50)));
        assert_eq!(vlan_of("br.a.7"), Some(("br.a", 7)));
        for other in ["eth0", "eth0.", ".5", "eth0.0", "eth0.4095", "eth0.x"] {
            assert_eq!(vlan_of(other), None, "{other}");
        }
    }

    #[test]
    fn the_list_has_the_interface_and_names() {
        let pools = [Pool::new("192.168.7.0/24".parse().unwrap(), None, None).unwrap()];
        let upper = Upper {
            name: "lan",
            driver: "macvlan",
            parent: "eth0.50",
            mode: "bridge",
            host_access: false,
            pools: &pools,
            mtu: None,
        };
        let list: Value = serde_json::from_str(&upper.text().unwrap()).unwrap();
        let first = &list["plugins"][0];
        assert_eq!(
            (&first["type"], &first["master"], first.get("mtu")),
            (&json!("macvlan"), &json!("eth0.50"), None)
        );
        assert_eq!(
            first["ipam"]["ranges"],
            json!([[{"subnet": "192.168.7.0/24", "gateway": "192.168.7.1"}]])
        );
        assert_eq!(list["plugins"][1]["type"], "link-env");
    }
}
