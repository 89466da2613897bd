//! ADD and DEL on a host whose network has ten thousand other nodes, in turn with those on a host whose network has none.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sandbox::{Answer, Call, Namespaced};
use serde_json::{Value, json};

use crate::bars::{Bars, Bound};
use crate::cluster::{Cluster, NET, V4};
use crate::containers::bridge;
use crate::figures::{median, middle};
use crate::host::{Host, until};
use crate::programs::program;
use crate::simulated::{self, WIDE, found, routes, wanted};

/// The argument with which the program makes calls on a host; that after it is the network.
pub(crate) const SERVE: &str = "--calls";
/// The network without other nodes.
const NARROW: &str = "narrow";
const PEERS: usize = 10_000;
/// Rounds that do not count.
const WARM: usize = 3;
/// What a DEL leaves running has ended by then.
const PAUSE: Duration = Duration::from_millis(80);
/// Where a host's process notes the system calls of a container's life.
const TRACE: &str = "/run/cleat/trace";

pub(crate) fn measure(is_quick: bool, bars: &mut Bars) {
    let rounds = if is_quick { 60 } else { 300 };
    let cluster = Cluster::created_with(V4, &json!({"prefixes": [WIDE]}));
    let [many, none, _] = &cluster.hosts;
    simulated::join(&cluster, &simulated::of(&cluster, PEERS));
    many.configure(&cluster.conf());
    let begin = Instant::now();
    many.start();
    until("all peers are in the kernel", || routes(many) == PEERS);
    println!(
        "\n  ADD and DEL beside {PEERS} peers: all in the kernel, by the agent from records in etcd, after {:.1} s",
        begin.elapsed().as_secs_f64()
    );
    assert!(found(many).is_ok_and(|found| found == wanted(&cluster, many)));
    let mut conf = json!({"engine": cluster.conf()["engine"]});
    let create = json!({"conf": conf, "prefixes": [WIDE]}).to_string();
    let created: Value = serde_json::from_str(&none.overlay(&["create", NARROW], &create)).unwrap();
    conf["id"] = created["id"].clone();
    none.configure_as(NARROW, &conf);
    none.start();
    until("the other network is there", || none.path(format!("run/overlay/{NARROW}.json")).exists());

    let mut callers = [Caller::start(many, NET), Caller::start(none, NARROW)];
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..rounds + WARM {
        for place in [round % 2, 1 - round % 2] {
            let lived = callers[place].round();
            if round >= WARM {
                times[place].push(lived);
            }
        }
    }
    for (verb, name) in ["ADD", "DEL"].iter().enumerate() {
        let of_verb = times.each_ref().map(|times| times.iter().map(|lived| lived[verb]).collect::<Vec<_>>());
        let [with, without] = of_verb.each_ref().map(|times| median(times));
        // Of each round by itself: what else the machine does changes from round to round.
        let ratios =
            of_verb[0].iter().zip(&of_verb[1]).map(|(with, without)| with.div_duration_f64(*without));
        let ratio = middle(&ratios.collect::<Vec<_>>());
        let what = format!("{name}: {with:.2} ms beside {PEERS} peers, {without:.2} ms without");
        bars.judge(&what, ratio, "x", Bound::AtMost(1.05));
    }
    sockets(many, bars);
}

/// What kinds of sockets the plugins had, which strace(1) wrote down.
fn sockets(host: &Host, bars: &mut Bars) {
    let trace = fs::read_to_string(host.path("run/trace")).unwrap();
    let count = |text: &str| trace.lines().filter(|line| line.contains(text)).count();
    let netlink = count("socket(AF_NETLINK");
    assert!(netlink > 0, "strace saw nothing: {trace}");
    // One process keeps the sockets of the packet filter open until nothing deleted is pending.
    let keeper = trace.lines().filter(|line| line.contains("connect(") && line.contains("AF_UNIX")).count();
    println!(
        "  sockets of a container's ADD and DEL: {netlink} of AF_NETLINK, {} in all; {keeper} connections to a process of theirs",
        count("socket(")
    );
    bars.judge("sockets of AF_INET or AF_INET6", count("socket(AF_INET") as f64, "", Bound::AtMost(0.0));
    let others = count("connect(") - keeper;
    bars.judge("connections to an address", others as f64, "", Bound::AtMost(0.0));
}

/// A process on a host that makes calls: so none of them waits until the host's folders are mounted.
struct Caller {
    process: Child,
    answers: BufReader<ChildStdout>,
}

impl Caller {
    fn start(host: &Host, network: &str) -> Self {
        let own = std::env::current_exe().unwrap().display().to_string();
        let mut command = host.command(&own, &[SERVE, network]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = host.netns.enter(|| command.spawn()).unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, answers }
    }

    /// The times of an ADD and a DEL.
    fn round(&mut self) -> [Duration; 2] {
        self.process.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let mut times = line.split_whitespace().map(|word| Duration::from_nanos(word.parse().unwrap()));
        [times.next().unwrap(), times.next().unwrap()]
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// The process on the host: for each line a container's life, and its times.
pub(crate) fn serve(network: &str) {
    let stays = Life::new(network, "stays", 8081, &[]);
    stays.add();
    let strace = ["strace", "-f", "-qq", "-A", "-e", "trace=socket,connect", "-o", TRACE];
    let traced = Life::new(network, "traced", 8082, &strace);
    traced.del(&traced.add());
    for (number, line) in std::io::stdin().lines().enumerate() {
        line.unwrap();
        let life = Life::new(network, &number.to_string(), 8083, &[]);
        thread::sleep(PAUSE);
        let begin = Instant::now();
        let result = life.add();
        let added = begin.elapsed();
        let begin = Instant::now();
        life.del(&result);
        println!("{} {}", added.as_nanos(), begin.elapsed().as_nanos());
    }
}

/// A container of a network, with a port of its host.
struct Life<'a> {
    network: &'a str,
    netns: Namespaced,
    port: u16,
    /// The words before each call's program.
    by: &'a [&'a str],
}

impl<'a> Life<'a> {
    fn new(network: &'a str, name: &str, port: u16, by: &'a [&'a str]) -> Self {
        Self { network, netns: Namespaced::new(&format!("{network}-{name}")), port, by }
    }

    fn add(&self) -> Value {
        let result = self.call("ADD", self.bridge()).result();
        let _ = self.call("ADD", self.host_port(&result)).result();
        result
    }

    fn del(&self, result: &Value) {
        self.call("DEL", self.host_port(result)).silent();
        let mut conf = self.bridge();
        conf["prevResult"] = result.clone();
        self.call("DEL", conf).silent();
    }

    fn bridge(&self) -> Value {
        let mut conf = bridge(V4);
        conf["overlay"] = self.network.into();
        conf
    }

    fn host_port(&self, result: &Value) -> Value {
        let ports = json!([{"hostPort": self.port, "containerPort": 80}]);
        json!({
            "cniVersion": "1.1.0", "type": "host-port", "prevResult": result,
            "runtimeConfig": {"portMappings": ports}
        })
    }

    fn call(&self, verb: &str, mut conf: Value) -> Answer {
        conf["name"] = self.network.into();
        let call = Call::new(&program(conf["type"].as_str().unwrap()), verb, &conf);
        let call =
            call.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").of(self.netns.name(), &self.netns, "eth0");
        call.by(self.by.iter().copied()).run()
    }
}
