//! Nodes: each is a host with an outside host, a container that publishes a port, and other containers that publish any
//! number of ports. The rules are those of one of the suites.

use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use sandbox::{Call, Host, Namespaced, UPLINK_V4};
use serde_json::{Value, json};

use crate::suites::{PATH, Suite};

/// The measured port. It is published last, so a list of rules reaches it last.
const PORT: u16 = 5353;
/// The first port of the other containers.
const FIRST: usize = 10_000;
/// How many ports in a row have the same protocol; TCP and UDP alternate.
const RUN: usize = 500;

/// The container's own address and port.
pub(crate) const WEB: &str = "10.3.0.2:80";

/// Where the outside reaches the measured port.
pub(crate) fn address() -> String {
    format!("{UPLINK_V4}:{PORT}")
}

/// The suite and backend whose rules publish the ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// host-port of cleat.
    Cleat,
    /// The reference's portmap, with iptables.
    Iptables,
    /// The newest portmap of the reference, with nftables.
    Nftables,
}

impl Layout {
    pub(crate) const ALL: [Self; 3] = [Self::Cleat, Self::Iptables, Self::Nftables];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cleat => "cleat",
            Self::Iptables => "reference, iptables",
            Self::Nftables => "reference, nftables",
        }
    }

    pub(crate) fn suite(self) -> Suite {
        match self {
            Self::Cleat => Suite::Cleat,
            Self::Iptables => Suite::Reference,
            Self::Nftables => Suite::Newest,
        }
    }
}

/// A host with one measured container, and published ports of many containers that do not exist.
pub(crate) struct Node {
    pub(crate) layout: Layout,
    /// The client outside.
    pub(crate) outside: Namespaced,
    /// The container that publishes the measured port.
    pub(crate) web: Namespaced,
    name: String,
    netns: Namespaced,
    result: Value,
}

impl Node {
    /// A host whose other containers publish this many ports.
    pub(crate) fn new(layout: Layout, many: usize) -> Self {
        let name = format!("{}-{many}", layout.name().replace(", ", "-"));
        let netns = Namespaced::new(&name);
        let host = netns.enter(|| Host::with_outside(&format!("{name}-outside")));
        let web = Namespaced::new(&format!("{name}-web"));
        let mut node = Self { layout, outside: host.outside, web, name, netns, result: Value::Null };
        let bridge = json!({
            "cniVersion": "1.0.0", "name": node.name, "type": "bridge", "bridge": "br0", "isGateway": true,
            "hairpinMode": true, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.3.0.0/16"}]],
                "routes": [{"dst": "0.0.0.0/0"}]}
        });
        node.result = node.call("bridge", "ADD", "web", &bridge).0;
        node.fill(many);
        let conf = node.portmap(node.result.clone(), &json!([mapping(PORT, "tcp"), mapping(PORT, "udp")]));
        node.call("portmap", "ADD", "web", &conf);
        node
    }

    /// The times of ADD and DEL of one more container, as whole processes.
    pub(crate) fn one_more(&self) -> [Duration; 2] {
        let conf = self.portmap(self.elsewhere(100), &json!([mapping(80, "tcp")]));
        ["ADD", "DEL"].map(|command| self.call("portmap", command, "one-more", &conf).1)
    }

    fn fill(&self, many: usize) {
        if many == 0 {
            return;
        }
        // The first ADD makes the tables and chains for the others.
        let first = self.portmap(self.elsewhere(99), &json!([mapping(1, "tcp")]));
        self.call("portmap", "ADD", "first", &first);
        match self.layout {
            Layout::Cleat => {
                for start in (0..many).step_by(RUN) {
                    let mut range = mapping(u16::try_from(FIRST + start).unwrap(), protocol(start));
                    range["range"] = json!(RUN.min(many - start));
                    let conf = self.portmap(self.elsewhere(start / RUN), &json!([range]));
                    self.call("portmap", "ADD", &format!("c{start}"), &conf);
                }
            }
            Layout::Iptables => self.load(many, "iptables-restore --noflush", chains),
            Layout::Nftables => self.load(many, "nft -f", rules),
        }
    }

    /// Loads the rules that the reference would have written for this many containers with one port each. They are loaded in
    /// several transactions, because the socket buffers of a user namespace are small.
    fn load(&self, many: usize, program: &str, write: impl Fn(Range<usize>) -> String) {
        for start in (0..many).step_by(100) {
            let file = PathBuf::from("/run").join(&self.name);
            fs::write(&file, write(start..many.min(start + 100))).unwrap();
            let line = format!("{program} {}", file.display());
            let status = self
                .netns
                .enter(|| Command::new("sh").args(["-c", &line]).env("PATH", PATH).status().unwrap());
            assert!(status.success(), "{line}");
        }
    }

    /// The result with the address of another container.
    fn elsewhere(&self, number: usize) -> Value {
        let mut result = self.result.clone();
        result["ips"][0]["address"] = json!(format!("10.3.1.{}/16", number + 1));
        result
    }

    #[allow(clippy::needless_pass_by_value, reason = "json! takes it")]
    fn portmap(&self, result: Value, mappings: &Value) -> Value {
        let mut conf = json!({
            "cniVersion": "1.0.0", "name": self.name, "type": "portmap", "prevResult": result,
            "runtimeConfig": {"portMappings": mappings}
        });
        if self.layout == Layout::Nftables {
            conf["backend"] = json!("nftables");
        }
        conf
    }

    fn call(&self, plugin: &str, command: &str, id: &str, conf: &Value) -> (Value, Duration) {
        let program = self.layout.suite().program(plugin).display().to_string();
        let call = Call::new(&program, command, conf).of(id, &self.web, "eth0").env("PATH", PATH);
        let (answer, took) = self.netns.enter(|| {
            let start = Instant::now();
            (call.run(), start.elapsed())
        });
        if command == "ADD" {
            return (answer.result(), took);
        }
        answer.silent();
        (Value::Null, took)
    }
}

fn mapping(host_port: u16, protocol: &str) -> Value {
    json!({"hostPort": host_port, "containerPort": 80, "protocol": protocol})
}

fn protocol(number: usize) -> &'static str {
    if (number / RUN).is_multiple_of(2) { "tcp" } else { "udp" }
}

/// The reference's chains for containers with a port each.
fn chains(containers: Range<usize>) -> String {
    let mut script = "*nat\n".to_owned();
    for n in containers {
        let (chain, port, protocol) = (format!("CNI-DN-{n:021x}"), FIRST + n, protocol(n));
        let comment = format!("-m comment --comment \"dnat name: \\\"ports\\\" id: \\\"c{n}\\\"\"");
        let to = format!("{chain} -p {protocol} -m {protocol} --dport {port}");
        writeln!(script, ":{chain} - [0:0]").unwrap();
        for source in ["10.3.0.0/16", "127.0.0.1/32"] {
            writeln!(script, "-A {to} -s {source} -j CNI-HOSTPORT-SETMARK").unwrap();
        }
        writeln!(script, "-A {to} -j DNAT --to-destination 10.3.1.1:80").unwrap();
        writeln!(
            script,
            "-A CNI-HOSTPORT-DNAT -p {protocol} {comment} -m multiport --dports {port} -j {chain}"
        )
        .unwrap();
    }
    script + "COMMIT\n"
}

/// The rules of the reference's nftables backend for containers with a port each.
fn rules(containers: Range<usize>) -> String {
    let mut script = String::new();
    for n in containers {
        let address = format!("10.3.{}.{}", n / 200 + 1, n % 200 + 1);
        let mut rule = |chain: &str, rule: &str| {
            writeln!(script, "add rule ip cni_hostport {chain} {rule} comment \"c{n}\"").unwrap();
        };
        rule("hostports", &format!("{} dport {} dnat to {address}:80", protocol(n), FIRST + n));
        for source in [&address, "127.0.0.1"] {
            rule("masquerading", &format!("ip saddr {source} ip daddr {address} masquerade"));
        }
    }
    script
}
