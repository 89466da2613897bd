//! How long the first packet of a flow takes to a published port and back, with one port published on the host and with
//! five thousand: host-port beside what the reference's portmap leaves with either of its backends.

use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::process::Command;
use std::time::{Duration, Instant};

use sandbox::traffic::{Datagrams, serve_udp};
use sandbox::{Call, Host, Namespaced, UPLINK_V4};
use serde_json::{Value, json};

use crate::figures::{Bar, bar, median, quantile};
use crate::suites::Suite;

/// Ports besides the one that is measured.
const MANY: usize = 5_000;
/// The port that is measured: the last that was published, which lists come to last.
const PORT: u16 = 5353;

pub(crate) fn measure(rounds: usize) {
    let host = &Host::new();
    let netns = Namespaced::new("ports");
    let bridge = json!({
        "cniVersion": "1.0.0", "name": "ports", "type": "bridge", "bridge": "ports0", "isGateway": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.3.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    });
    let result = call(&own("bridge"), "ADD", "ports", &netns, &bridge);
    serve_udp(Some(&netns), "ports", "10.3.0.2:53");
    println!(
        "\nfirst packet of a flow to a published port and back, {} flows each, milliseconds",
        rounds * 40
    );
    println!("{:40} {:>12} {:>8} {:>12} {:>8} {:>8}", "", "1 port", "p95", "5,001 ports", "p95", "ratio");
    let (mut ours, mut ratio) = (Vec::new(), f64::NAN);
    for (name, layout) in [
        ("cleat, nftables", Layout::Cleat),
        ("reference, iptables", Layout::Chains),
        ("reference, nftables (as 1.6 lays it out)", Layout::Rules),
    ] {
        let mut times = [const { Vec::new() }; 2];
        for (many, times) in [0, MANY].into_iter().zip(&mut times) {
            layout.fill(many, &netns, &result);
            for _ in 0..rounds * 40 {
                times.push(first_packet(host));
            }
            if let (Layout::Cleat, true) = (layout, ours.len() < 2) {
                ours.push(one_more(rounds, &netns, &result));
            }
            layout.clear(many, &netns, &result);
        }
        let [one, all] = &times;
        if matches!(layout, Layout::Cleat) {
            ratio = median(all) / median(one);
        }
        println!(
            "{name:40} {:12.3} {:8.3} {:12.3} {:8.3} {:7.2}x",
            quantile(one, 50),
            quantile(one, 95),
            quantile(all, 50),
            quantile(all, 95),
            quantile(all, 50) / quantile(one, 50)
        );
    }
    bar("first packet at 5,001 ports against one", ratio, Bar::AtMost(1.2));
    for (step, name) in ["ADD", "DEL"].into_iter().enumerate() {
        let [few, many] = [&ours[0][step], &ours[1][step]].map(|times| median(times));
        bar(&format!("host-port {name} beside 5,001 ports against beside one"), many / few, Bar::AtMost(1.5));
    }
}

#[derive(Clone, Copy)]
enum Layout {
    /// By our program.
    Cleat,
    /// The reference's chains: those of the others at once, as the reference writes them, the last by its program.
    Chains,
    /// The rules of the reference's nftables backend, which Debian's version does not have.
    Rules,
}

impl Layout {
    fn fill(self, many: usize, netns: &Namespaced, result: &Value) {
        match self {
            Self::Cleat => {
                for (id, mappings) in others(many) {
                    call(&own("portmap"), "ADD", &id, netns, &portmap(&elsewhere(result, &id), &mappings));
                }
                call(&own("portmap"), "ADD", "ports", netns, &portmap(result, &measured()));
            }
            Self::Chains => {
                let reference = Suite::reference().program("portmap").display().to_string();
                // Its first port makes the common chains.
                call(&reference, "ADD", "first", netns, &portmap(result, &json!([mapping(1)])));
                for some in in_parts(many) {
                    fs::write("/run/ports.rules", chains(some)).unwrap();
                    run("iptables-restore --noflush /run/ports.rules");
                }
                call(&reference, "ADD", "ports", netns, &portmap(result, &measured()));
            }
            Self::Rules => {
                fs::write("/run/ports.nft", TABLE).unwrap();
                run("nft -f /run/ports.nft");
                for some in in_parts(many) {
                    let rule = |n: usize| {
                        let rule = format!("udp dport {} dnat to 10.3.1.1:53 comment \"c{n}\"", 10_000 + n);
                        format!("add rule ip cni_hostport hostports {rule}\n")
                    };
                    fs::write("/run/ports.nft", some.map(rule).collect::<String>()).unwrap();
                    run("nft -f /run/ports.nft");
                }
                run(&format!("nft add rule ip cni_hostport hostports udp dport {PORT} dnat to 10.3.0.2:53"));
            }
        }
    }

    fn clear(self, many: usize, netns: &Namespaced, result: &Value) {
        match self {
            Self::Cleat => {
                let ids = others(many).into_iter().map(|(id, _)| id).chain(["ports".to_owned()]);
                for id in ids {
                    call(&own("portmap"), "DEL", &id, netns, &portmap(result, &measured()));
                }
            }
            Self::Chains => run("nft delete table ip nat; nft delete table ip6 nat 2>/dev/null || true"),
            Self::Rules => run("nft delete table ip cni_hostport"),
        }
    }
}

/// What the reference's nftables backend makes before the first port.
const TABLE: &str = "table ip cni_hostport {
    chain hostports { }
    chain hostip_hostports { }
    chain hostports_all { jump hostip_hostports; jump hostports; }
    chain prerouting { type nat hook prerouting priority -100; fib daddr type local jump hostports_all; }
    chain output { type nat hook output priority -100; fib daddr type local jump hostports_all; }
}";

/// The reference's chains for containers with a port each.
fn chains(containers: Range<usize>) -> String {
    let mut script = "*nat\n".to_owned();
    for n in containers {
        let (chain, port) = (format!("CNI-DN-{n:021x}"), 10_000 + n);
        let comment = format!("-m comment --comment \"dnat name: \\\"ports\\\" id: \\\"c{n}\\\"\"");
        let to = format!("{chain} -p udp -m udp --dport {port}");
        writeln!(script, ":{chain} - [0:0]").unwrap();
        for source in ["10.3.0.0/16", "127.0.0.1/32"] {
            writeln!(script, "-A {to} -s {source} -j CNI-HOSTPORT-SETMARK").unwrap();
        }
        writeln!(script, "-A {to} -j DNAT --to-destination 10.3.1.1:53").unwrap();
        writeln!(script, "-A CNI-HOSTPORT-DNAT -p udp {comment} -m multiport --dports {port} -j {chain}")
            .unwrap();
    }
    script + "COMMIT\n"
}

/// As many as one transaction may have in a user namespace, whose sockets have little room.
fn in_parts(many: usize) -> impl Iterator<Item = Range<usize>> {
    (0..many).step_by(100).map(|first| first..first + 100)
}

/// A program of ours.
fn own(plugin: &str) -> String {
    Suite::cleat().program(plugin).display().to_string()
}

/// Other containers, with up to five hundred ports each.
fn others(many: usize) -> Vec<(String, Value)> {
    (0..many)
        .step_by(500)
        .map(|first| {
            let range =
                json!({"hostPort": 10_000 + first, "containerPort": 1, "range": 500, "protocol": "udp"});
            (format!("c{first}"), json!([range]))
        })
        .collect()
}

/// The result with an address of its own.
fn elsewhere(result: &Value, id: &str) -> Value {
    let mut result = result.clone();
    let number: usize = id[1..].parse().unwrap();
    result["ips"][0]["address"] = json!(format!("10.3.1.{}/16", number / 500 + 1));
    result
}

fn mapping(host_port: u16) -> Value {
    json!({"hostPort": host_port, "containerPort": 53, "protocol": "udp"})
}

fn measured() -> Value {
    json!([mapping(PORT)])
}

fn portmap(result: &Value, mappings: &Value) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "ports", "type": "portmap", "prevResult": result,
        "runtimeConfig": {"portMappings": mappings}
    })
}

/// From a port that was never seen before, so that all rules are gone through.
fn first_packet(host: &Host) -> Duration {
    let client = Datagrams::new(Some(&host.outside), &format!("{UPLINK_V4}:{PORT}"));
    let start = Instant::now();
    let answer = client.ask().unwrap();
    let took = start.elapsed();
    assert!(answer.starts_with("ports sees "), "{answer}");
    took
}

/// ADDs and DELs of one container more, as whole processes.
fn one_more(rounds: usize, netns: &Namespaced, result: &Value) -> [Vec<Duration>; 2] {
    let mut times = [const { Vec::new() }; 2];
    let conf = portmap(&elsewhere(result, "c99000"), &json!([mapping(80)]));
    for _ in 0..rounds * 4 {
        for (command, times) in ["ADD", "DEL"].into_iter().zip(&mut times) {
            let start = Instant::now();
            call(&own("portmap"), command, "one-more", netns, &conf);
            times.push(start.elapsed());
        }
    }
    times
}

fn call(program: &str, command: &str, id: &str, netns: &Namespaced, conf: &Value) -> Value {
    let call =
        Call::new(program, command, conf).of(id, netns, "eth0").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    if command == "ADD" {
        return call.run().result();
    }
    call.run().silent();
    Value::Null
}

fn run(line: &str) {
    let status = Command::new("sh").args(["-c", line]).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").status();
    assert!(status.unwrap().success(), "{line}");
}
