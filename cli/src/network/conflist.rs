//! The text of a new network: a bridge, published ports, names. Pure.

use serde::Serialize;
use serde_json::{Value, json};

use super::pool::{Pool, Range, auxiliary};

/// Who may come in from outside the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Ingress {
    /// Packets to published ports; networks are closed to each other, as with Docker
    Published,
    /// Packets to any port, by a route to the container
    Any,
}

/// A network as it was asked for, complete.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option by its own name")]
pub(crate) struct Wanted<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// The bridge's name.
    pub(crate) bridge: &'a str,
    /// The overlay network that it is this node's part of. Its agent says which addresses are leased, and the MTU.
    pub(crate) overlay: Option<&'a str>,
    /// Its subnets, one a family; of an overlay network those of all nodes.
    pub(crate) pools: &'a [Pool],
    /// Nothing goes in or out.
    pub(crate) internal: bool,
    /// Members may talk to each other without a link.
    pub(crate) icc: bool,
    /// What leaves takes the host's address.
    pub(crate) masquerade: bool,
    /// Who may come in.
    pub(crate) ingress: Ingress,
    /// In bytes; the kernel's default otherwise.
    pub(crate) mtu: Option<u32>,
    /// Its packets are accepted in other packet filters of the host, which drop by default.
    pub(crate) opens: bool,
}

impl Wanted<'_> {
    /// The conflist. Its version is one that every runtime in use reads (containerd 1.6 refuses 1.1.0).
    pub(crate) fn text(&self) -> Result<String, serde_json::Error> {
        let mut plugins = vec![Plugin::Bridge(self.bridge())];
        if !self.internal {
            let capabilities = Capabilities { port_mappings: true, ..Capabilities::default() };
            plugins.push(Plugin::HostPort { capabilities });
        }
        let all = Capabilities { port_mappings: true, aliases: true, annotations: true };
        plugins.push(Plugin::LinkEnv { capabilities: all });
        let list = List { cni_version: "1.0.0", name: self.name, plugins };
        Ok(serde_json::to_string_pretty(&list)? + "\n")
    }

    fn bridge(&self) -> Bridge<'_> {
        let leased = if self.overlay.is_some() { &[] } else { self.pools };
        // Nothing leads out of an internal network, so its members need no route.
        let pools = if self.internal { &[] } else { self.pools };
        // `forward: accept` means published ports alone, unless ingress is set.
        let ingress = match self.ingress {
            _ if self.internal => None,
            Ingress::Published => Some("published"),
            Ingress::Any => self.opens.then_some("any"),
        };
        Bridge {
            name: self.bridge,
            overlay: self.overlay,
            is_gateway: true,
            ip_masq: self.masquerade && !self.internal,
            hairpin_mode: true,
            ingress,
            forward: self.opens.then_some("accept"),
            internal: self.internal.then_some(true),
            icc: (!self.icc).then_some(false),
            mtu: self.mtu,
            ipam: Ipam {
                kind: "host-local",
                ranges: leased.iter().map(Pool::ranges).collect(),
                auxiliary: auxiliary(leased),
                routes: pools.iter().map(|pool| json!({"dst": pool.everything()})).collect(),
            },
        }
    }
}

/// The keys in the order in which people read them; what is not asked for is left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    cni_version: &'a str,
    name: &'a str,
    plugins: Vec<Plugin<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Plugin<'a> {
    Bridge(Bridge<'a>),
    HostPort { capabilities: Capabilities },
    LinkEnv { capabilities: Capabilities },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bridge<'a> {
    #[serde(rename = "bridge")]
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    overlay: Option<&'a str>,
    is_gateway: bool,
    ip_masq: bool,
    hairpin_mode: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ingress: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forward: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    internal: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icc: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    ipam: Ipam<'a>,
}

/// What leases the addresses.
#[derive(Serialize)]
pub(super) struct Ipam<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    /// None where the agent of an overlay network says them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ranges: Vec<Vec<Range>>,
    #[serde(rename = "_auxiliaryAddresses", skip_serializing_if = "Option::is_none")]
    pub(super) auxiliary: Option<Value>,
    pub(super) routes: Vec<Value>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Capabilities {
    port_mappings: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    aliases: bool,
    #[serde(rename = "io.kubernetes.cri.pod-annotations", skip_serializing_if = "std::ops::Not::not")]
    annotations: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(wanted: &Wanted<'_>) -> Value {
        serde_json::from_str(&wanted.text().unwrap()).unwrap()
    }

    #[test]
    fn a_network_is_open_to_published_ports_only_unless_told_otherwise() {
        let pools = [
            Pool::new("10.1.0.0/24".parse().unwrap(), None, None).unwrap(),
            Pool::new("fd00::/64".parse().unwrap(), None, None).unwrap(),
        ];
        let plain = Wanted {
            name: "net",
            bridge: "br-net",
            overlay: None,
            pools: &pools,
            internal: false,
            icc: true,
            masquerade: true,
            ingress: Ingress::Published,
            mtu: None,
            opens: false,
        };
        let open = value(&Wanted { ingress: Ingress::Any, ..plain });
        assert_eq!((open["plugins"][0].get("ingress"), open["plugins"][0].get("forward")), (None, None));
        // Beside a firewall that drops: the key that opens it must not close what was to be open.
        let open = value(&Wanted { ingress: Ingress::Any, opens: true, ..plain });
        assert_eq!(
            (&open["plugins"][0]["ingress"], &open["plugins"][0]["forward"]),
            (&json!("any"), &json!("accept"))
        );
        let list = value(&plain);
        assert_eq!(list["plugins"][0]["ingress"], "published");
        assert_eq!(list["plugins"][0]["ipam"]["routes"], json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]));
        assert_eq!(list["plugins"][0].get("icc"), None);
        assert_eq!(list["plugins"][1]["type"], "host-port");
        let closed = value(&Wanted { internal: true, icc: false, mtu: Some(1400), ..plain });
        assert_eq!(closed["plugins"][0]["internal"], true);
        assert_eq!(closed["plugins"][0]["icc"], false);
        assert_eq!(closed["plugins"][0]["mtu"], 1400);
        assert_eq!(closed["plugins"][0]["ipam"]["routes"], json!([]));
        assert_eq!(closed["plugins"][1]["type"], "link-env", "nothing can be published");
        // What the nodes agree on is the agent's to say.
        let wide = value(&Wanted { overlay: Some("net"), ..plain });
        assert_eq!((&wide["plugins"][0]["overlay"], wide["plugins"][0].get("mtu")), (&json!("net"), None));
        let routes = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
        assert_eq!(wide["plugins"][0]["ipam"], json!({"type": "host-local", "routes": routes}));
    }
}
