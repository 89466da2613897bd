//! Three hosts on one wire, each with its block of an overlay network, and one host outside of it.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

use sandbox::traffic::{serve_tcp, serve_udp};
use sandbox::{Answer, Call, Namespaced, plug, wire};
use serde_json::{Value, json};

use crate::shared::programs::program;
use crate::shared::shell::shell;

/// The name of the overlay network, which is not that of the bridge's network.
pub(super) const NET: &str = "wide";
/// The address of the host outside, by family.
pub(super) const OUTSIDE: [&str; 2] = ["198.51.100.9", "2001:db8:51::9"];
pub(super) const PREFIXES: [&str; 2] = ["10.201.0.0/16", "fd00:201::/48"];
/// Without the outer headers of IPv4.
pub(super) const MTU: u32 = 1450;

/// Which families there are inside, by their place in [`OUTSIDE`] and [`PREFIXES`].
pub(super) type Families = &'static [usize];
pub(super) const V4: Families = &[0];
pub(super) const V6: Families = &[1];
pub(super) const BOTH: Families = &[0, 1];

/// The hosts.
pub(super) struct Cluster {
    pub(super) outside: Namespaced,
    pub(super) nodes: [Node; 3],
}

impl Cluster {
    pub(super) fn new(families: Families) -> Self {
        wire();
        let outside = Namespaced::new("outside");
        plug(&outside, 9);
        serve_tcp(Some(&outside), "outside", "[::]:80");
        let nodes = [1, 2, 3].map(|number| Node::new(number, families));
        for node in &nodes {
            node.join();
        }
        Self { outside, nodes }
    }
}

/// A host of the network.
pub(super) struct Node {
    pub(super) number: usize,
    pub(super) host: Namespaced,
    state: PathBuf,
    families: Families,
    /// The port that its next container publishes.
    next: AtomicU16,
}

impl Node {
    fn new(number: usize, families: Families) -> Self {
        let host = Namespaced::new(&format!("host{number}"));
        plug(&host, number);
        host.enter(|| {
            for name in ["iptables", "ip6tables"] {
                fs::write(format!("/proc/sys/net/bridge/bridge-nf-call-{name}"), "0").unwrap();
            }
            shell(&format!(
                "ip route add default via {}; ip -6 route add default via {}",
                OUTSIDE[0], OUTSIDE[1]
            ));
        });
        let state = PathBuf::from(format!("/run/hosts/{number}"));
        fs::create_dir_all(state.join("run/overlay")).unwrap();
        Self { number, host, state, families, next: AtomicU16::new(8080) }
    }

    /// The device to the other nodes, and the file: what the agent does.
    fn join(&self) {
        self.host.enter(|| shell(&self.device("vx1")));
        self.write(&self.file());
    }

    /// The shell lines that make the device.
    pub(super) fn device(&self, name: &str) -> String {
        let own = self.number;
        let mut lines = vec![
            "set -e".to_owned(),
            format!(
                "ip link add {name} mtu {MTU} address 02:00:00:00:01:0{own} type vxlan id 4711 dstport 4789 \
                 local 198.51.100.{own} dev eth0 nolearning"
            ),
            format!("echo 1 >/proc/sys/net/ipv6/conf/{name}/addr_gen_mode"),
            format!("ip link set {name} up"),
        ];
        for family in self.families {
            let network =
                |node: usize| [format!("10.201.{node}.0"), format!("fd00:201:0:{node}::")][*family].clone();
            let (length, host, nodad) = [(24, 32, ""), (64, 128, "nodad")][*family];
            lines.push(format!("ip addr add {}/{host} dev {name} {nodad}", network(own)));
            for peer in [1, 2, 3].into_iter().filter(|peer| *peer != own) {
                let (mac, network) = (format!("02:00:00:00:01:0{peer}"), network(peer));
                lines.push(format!("bridge fdb replace {mac} dev {name} dst 198.51.100.{peer}"));
                lines.push(format!("ip neigh add {network} lladdr {mac} dev {name} nud permanent"));
                lines.push(format!("ip route add {network}/{length} via {network} dev {name} onlink"));
            }
        }
        lines.join("\n")
    }

    /// What the agent says of the node.
    pub(super) fn file(&self) -> Value {
        let own = self.number;
        let blocks = [format!("10.201.{own}.0/24"), format!("fd00:201:0:{own}::/64")];
        let of = |all: &[String]| self.families.iter().map(|family| all[*family].clone()).collect::<Vec<_>>();
        let blocks: Vec<Value> = of(&blocks).iter().map(|block| json!({"subnet": block})).collect();
        json!({
            "version": 1, "id": "6f1c1d1e-5d0a-4c63-9a6e-0f8a5d3f7b21", "prefixes": of(&PREFIXES.map(str::to_owned)),
            "blocks": blocks, "device": "vx1", "mtu": MTU
        })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.state.join(format!("run/overlay/{NET}.json"))
    }

    pub(super) fn write(&self, file: &Value) {
        fs::write(self.path(), file.to_string()).unwrap();
    }

    /// The configuration of the bridge plugin.
    pub(super) fn conf(&self, keys: &Value) -> Value {
        let routes = ["0.0.0.0/0", "::/0"];
        let routes: Vec<Value> = self.families.iter().map(|family| json!({"dst": routes[*family]})).collect();
        let mut conf = json!({
            "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0", "overlay": NET,
            "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": {"type": "host-local", "routes": routes}
        });
        conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        conf
    }

    /// A call of a plugin on this host.
    pub(super) fn call(&self, verb: &str, conf: &Value, netns: &Namespaced) -> Answer {
        let call = Call::new(program(conf["type"].as_str().unwrap()), verb, conf);
        let call = call.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").with_state_in(&self.state);
        self.host.enter(|| call.of(netns.name(), netns, "eth0").run())
    }

    /// A shell line on this host.
    pub(super) fn shell(&self, line: &str) {
        self.host.enter(|| shell(line));
    }

    /// A container on this host, which serves TCP and UDP on port 80 and publishes it: the first one on 8080.
    pub(super) fn add(&self, keys: &Value, name: &str) -> Member<'_> {
        let (netns, port) = (Namespaced::new(name), self.next.fetch_add(1, Ordering::Relaxed));
        let mut conf = [
            self.conf(keys),
            json!({"cniVersion": "1.1.0", "name": "net", "type": "host-port",
                "runtimeConfig": {"portMappings": [{"hostPort": port, "containerPort": 80}]}}),
        ];
        let mut result = Value::Null;
        for place in 0..conf.len() {
            let answer = self.call("ADD", &conf[place], &netns).result();
            if place == 0 {
                result = answer;
            }
            for conf in &mut conf {
                conf["prevResult"] = result.clone();
            }
        }
        serve_tcp(Some(&netns), name, "[::]:80");
        serve_udp(Some(&netns), name, "[::]:80");
        Member { node: self, netns, conf, result }
    }
}

/// A container.
pub(super) struct Member<'a> {
    pub(super) node: &'a Node,
    pub(super) netns: Namespaced,
    conf: [Value; 2],
    pub(super) result: Value,
}

impl Member<'_> {
    /// Its addresses.
    pub(super) fn ips(&self) -> Vec<String> {
        let ips = self.result["ips"].as_array().unwrap().iter();
        ips.map(|ip| ip["address"].as_str().unwrap().split('/').next().unwrap().to_owned()).collect()
    }

    /// `address:port` of each family.
    pub(super) fn at(&self, port: u16) -> Vec<String> {
        self.ips().iter().map(|ip| at(ip, port)).collect()
    }

    /// The answer of CHECK, with other keys than at ADD.
    pub(super) fn check_with(&self, keys: &Value) -> Answer {
        let mut conf = self.conf[0].clone();
        conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        self.node.call("CHECK", &conf, &self.netns)
    }

    pub(super) fn check(&self) -> Answer {
        self.check_with(&json!({}))
    }

    /// Fails unless CHECK does, with those words.
    pub(super) fn is_broken(&self, words: &str) {
        let (code, said) = self.check().error();
        assert!(code == 101 && said.contains(words), "{code}: {said}, and not {words}");
    }

    pub(super) fn del(&self) {
        for conf in self.conf.iter().rev() {
            self.node.call("DEL", conf, &self.netns).silent();
        }
    }
}

/// `address:port`, of either family.
pub(super) fn at(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// The rules of a host.
pub(super) fn rules(node: &Node) -> String {
    let list = || std::process::Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    String::from_utf8(node.host.enter(list).stdout).unwrap()
}
