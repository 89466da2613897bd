//! From container to container over a bridge: ours, the reference's, and a plain one made with ip(8). Each with
//! `bridge-nf-call-iptables` on (as Kubernetes wants it) and off.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Duration;

use sandbox::{Call, Namespaced};
use serde_json::json;

use crate::figures::{Bar, bar, median, middle};
use crate::path::load::{self, Server};
use crate::suites::{PATH, Suite};
use crate::summary::Summary;

const FLOWS: usize = 20;
const STREAM: Duration = Duration::from_millis(500);
/// Switches netfilter on for bridged packets. The file exists only if the module `br_netfilter` is loaded.
const BRIDGE_NETFILTER: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

const WEB: &str = "10.4.0.2:80";
const SINK: &str = "10.4.0.2:81";

/// A bridge with two containers.
struct Pair {
    name: &'static str,
    _netns: Namespaced,
    containers: [Namespaced; 2],
    server: Server,
    connects: Vec<Duration>,
    rates: Vec<f64>,
    streams: Vec<f64>,
}

/// Measures all bridges in turn, round by round.
pub(crate) fn measure(rounds: usize, summary: &mut Summary) {
    let shown: &[&str] = if fs::exists(BRIDGE_NETFILTER).unwrap() { &["0", "1"] } else { &["0"] };
    for shown in shown {
        let mut pairs =
            [Some(Suite::Cleat), Some(Suite::Reference), None].map(|suite| Pair::new(suite, shown));
        for round in 0..rounds {
            // The order changes, so that none is always measured after the same one.
            let mut turn: Vec<&mut Pair> = pairs.iter_mut().collect();
            turn.rotate_left(round % 3);
            for pair in turn {
                pair.round(round % 3 == 0);
            }
        }
        println!(
            "\nfrom container to container, bridge-nf-call-iptables={shown}, {rounds} rounds in turn\n  {:22} {:>14} {:>18} \
             {:>12}",
            "", "connection, ms", "connections / s", "Gbit/s"
        );
        for pair in &pairs {
            println!(
                "  {:22} {:14.3} {:18.0} {:12.1}",
                pair.name,
                median(&pair.connects),
                middle(&pair.rates),
                middle(&pair.streams) / 1e9
            );
        }
        let [ours, reference, plain] = &pairs;
        if *shown == "0" {
            let against = |of: fn(&Pair) -> &[f64]| middle(of(ours)) / middle(of(plain));
            bar("throughput against a plain bridge", against(|pair| &pair.streams), Bar::AtLeast(0.95));
            bar(
                "connections a second against a plain bridge",
                against(|pair| &pair.rates),
                Bar::AtLeast(0.95),
            );
            let text = |pair: &Pair| format!("{:.1} Gbit/s", middle(&pair.streams) / 1e9);
            let what = format!("container to container, one stream (plain bridge: {})", text(plain));
            summary.texts(&what, [text(ours), text(reference)]);
        }
    }
}

impl Pair {
    fn new(suite: Option<Suite>, shown: &str) -> Self {
        let name = suite.map_or("plain", Suite::name);
        let netns = Namespaced::new(&format!("pair-{name}"));
        let containers = ["a", "b"].map(|end| Namespaced::new(&format!("pair-{name}-{end}")));
        if shown == "1" || fs::exists(BRIDGE_NETFILTER).unwrap() {
            netns.enter(|| fs::write(BRIDGE_NETFILTER, shown).unwrap());
        }
        if suite.is_none() {
            let script = plain(&containers);
            let status = netns.enter(|| Command::new("sh").args(["-ec", &script]).env("PATH", PATH).status());
            assert!(status.unwrap().success(), "{script}");
        }
        for container in &containers {
            let Some(suite) = suite else { continue };
            let conf = json!({
                "cniVersion": "1.0.0", "name": format!("pair-{name}-{shown}"), "type": "bridge", "bridge": "br0",
                "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": {"type": "host-local",
                    "ranges": [[{"subnet": "10.4.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}
            });
            let program = suite.program("bridge").display().to_string();
            let call =
                Call::new(&program, "ADD", &conf).of(container.name(), container, "eth0").env("PATH", PATH);
            let _ = netns.enter(|| call.run()).result();
        }
        let server = Server::new(&containers[0], WEB);
        load::serve_stream(&containers[0], SINK);
        Self {
            name,
            _netns: netns,
            containers,
            server,
            connects: Vec::new(),
            rates: Vec::new(),
            streams: Vec::new(),
        }
    }

    fn round(&mut self, with_stream: bool) {
        let from = &self.containers[1];
        self.connects.extend(self.server.connects(from, WEB, FLOWS));
        self.rates.push(self.server.rate(from, WEB));
        if with_stream {
            self.streams.push(load::stream(from, SINK, STREAM));
        }
    }
}

/// The script that makes a bridge and its ports with ip(8), and nothing else.
fn plain(containers: &[Namespaced; 2]) -> String {
    let mut script = "ip link add br0 type bridge; ip link set br0 up; ".to_owned();
    for (container, number) in containers.iter().zip(2..) {
        let name = container.name();
        let _ = write!(
            script,
            "ip link add p{number} type veth peer name eth0 netns {name}; ip link set p{number} master br0 up; \
             ip -n {name} addr add 10.4.0.{number}/16 dev eth0; ip -n {name} link set eth0 up; "
        );
    }
    script
}
