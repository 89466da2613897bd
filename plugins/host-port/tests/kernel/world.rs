//! A host with a bridge and containers on it, as the bridge plugin leaves them, and calls of the plugin.

use std::os::fd::AsFd;
use std::process::Command;

use cni::{AddResult, Args, Attachment, ContainerId, IfName, NetworkName, Plugin, Request, Target};
use host_port::HostPort;
use netlink::{AddressFlags, Bridge, Namespace, Peer, Route, Socket, Veth, sysctl};
use sandbox::{Host, Namespaced};
use serde_json::{Value, json};

pub(crate) const SUBNET4: &str = "10.1.0";
pub(crate) const SUBNET6: &str = "fd00:1:";

/// The host, its outside and its bridge `br0`, whose gateway addresses end in 1.
pub(crate) struct World {
    pub host: Host,
    bridge: u32,
}

/// A container on `br0`.
pub(crate) struct Container {
    pub namespace: Namespaced,
    pub id: String,
    pub ifname: &'static str,
    pub number: u8,
}

impl World {
    /// `bridge_filter`: bridged packets pass the rules of iptables and nftables as well, as on Kubernetes nodes.
    pub(crate) fn new(bridge_filter: bool) -> Self {
        // The kernel asks for the neighbour of a forwarded packet by the interface's link-local address, and not at all
        // while that is tentative (ndisc_solicit): for a second, nobody outside would reach the container by IPv6.
        sysctl::set("net/ipv6/conf/default/accept_dad", "0").unwrap();
        let host = Host::new();
        let value = if bridge_filter { "1" } else { "0" };
        for (name, value) in [
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/bridge/bridge-nf-call-iptables", value),
            ("net/bridge/bridge-nf-call-ip6tables", value),
        ] {
            sysctl::set(name, value).unwrap();
        }
        let mut socket = Socket::open().unwrap();
        let bridge = socket.add_bridge(&Bridge { name: "br0", ..Bridge::default() }).unwrap().index;
        for gateway in [format!("{SUBNET4}.1/24"), format!("{SUBNET6}:1/64")] {
            socket.add_address(bridge, gateway.parse().unwrap(), NODAD).unwrap();
        }
        Self { host, bridge }
    }

    /// A container whose addresses end in `number` (IPv6: in the same digits).
    pub(crate) fn container(&self, id: &str, number: u8) -> Container {
        let namespace = Namespaced::new(id);
        let inside = Namespace::open(namespace.path()).unwrap();
        let mut socket = Socket::open().unwrap();
        let port = socket
            .add_veth(&Veth {
                name: &format!("veth{number}"),
                mac: None,
                mtu: None,
                master: Some(self.bridge),
                alias: None,
                peer: Peer { name: "eth0", mac: None, namespace: inside.as_fd() },
            })
            .unwrap();
        // A packet of a container to itself by the host's address leaves through the bridge port that it came from.
        let hairpin = netlink::PortFlags { hairpin: Some(true), ..netlink::PortFlags::default() };
        socket.set_bridge_port(port, &hairpin).unwrap();
        namespace.enter(|| configure(number));
        Container { namespace, id: id.to_owned(), ifname: "eth0", number }
    }
}

fn configure(number: u8) {
    let mut socket = Socket::open().unwrap();
    let link = socket.get_link("eth0").unwrap().unwrap().index;
    for address in [format!("{SUBNET4}.{number}/24"), format!("{SUBNET6}:{number}/64")] {
        socket.add_address(link, address.parse().unwrap(), NODAD).unwrap();
    }
    socket.set_up(link).unwrap();
    for (dst, gateway) in [("0.0.0.0/0", format!("{SUBNET4}.1")), ("::/0", format!("{SUBNET6}:1"))] {
        let gateway = gateway.parse().ok();
        socket.add_route(&Route { gateway, oif: Some(link), ..Route::new(dst.parse().unwrap()) }).unwrap();
    }
}

const NODAD: AddressFlags = AddressFlags { nodad: true, noprefixroute: false };

impl Container {
    /// ADD with these mappings and further keys.
    pub(crate) fn add(&self, mappings: &Value, keys: &Value) -> Result<AddResult, cni::Error> {
        HostPort::add(&self.request(cni::Command::Add, mappings, keys), &self.target())
    }

    pub(crate) fn check(&self, mappings: &Value, keys: &Value) -> Result<(), cni::Error> {
        HostPort::check(&self.request(cni::Command::Check, mappings, keys), &self.target())
    }

    /// DEL as after a crash: without previous result, mappings and namespace.
    pub(crate) fn del(&self) {
        let target = Target { netns: None, ..self.target() };
        HostPort::del(&request(cni::Command::Del, json!({})), &target).unwrap();
    }

    pub(crate) fn attachment(&self) -> Attachment {
        Attachment {
            network: NetworkName::new("net").unwrap(),
            container_id: ContainerId::new(self.id.as_str()).unwrap(),
            ifname: IfName::new(self.ifname).unwrap(),
        }
    }

    fn target(&self) -> Target {
        Target {
            attachment: self.attachment(),
            netns: Some(self.namespace.path().to_owned()),
            args: Args::default(),
            raw_args: String::new(),
        }
    }

    fn request(&self, command: cni::Command, mappings: &Value, keys: &Value) -> Request {
        let mut keys = keys.clone();
        keys["runtimeConfig"] = json!({"portMappings": mappings});
        keys["prevResult"] = json!({
            "cniVersion": "1.1.0",
            "interfaces": [
                {"name": "br0"},
                {"name": format!("veth{}", self.number)},
                {"name": self.ifname, "sandbox": self.namespace.path()},
            ],
            "ips": [
                {"interface": 2, "address": format!("{SUBNET4}.{}/24", self.number)},
                {"interface": 2, "address": format!("{SUBNET6}:{}/64", self.number)},
            ],
        });
        request(command, keys)
    }
}

/// A call with `keys` and those that every configuration has.
pub(crate) fn request(command: cni::Command, mut keys: Value) -> Request {
    for (key, value) in [("cniVersion", "1.1.0"), ("name", "net"), ("type", "portmap")] {
        keys[key] = json!(value);
    }
    let conf = cni::Conf::from_slice(keys.to_string().as_bytes()).unwrap();
    Request { command, conf, path: vec![] }
}

/// The whole ruleset, as nft(8) shows it.
pub(crate) fn ruleset() -> String {
    let output = Command::new("nft").args(["list", "ruleset"]).output().expect("nftables is needed");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs nft(8) with one transaction.
pub(crate) fn nft(commands: &str) {
    let output = Command::new("nft").arg(commands).output().expect("nftables is needed");
    assert!(output.status.success(), "{commands}: {output:?}");
}

pub(crate) fn route_localnet() -> String {
    sysctl::get("net/ipv4/conf/br0/route_localnet").unwrap()
}
