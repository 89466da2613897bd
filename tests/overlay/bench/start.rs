//! An agent among a thousand nodes: that all join at once, what it takes in memory, and what a start with all entries there
//! takes and writes.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sandbox::only;
use serde_json::json;

use crate::bars::{Bars, Bound};
use crate::cluster::{Cluster, V4};
use crate::figures::{median, middle};
use crate::host::{Host, PATIENCE, until};
use crate::programs::agent;
use crate::simulated::{self, Simulated, WIDE, block_on, change, client, found, routes, wanted};

/// All nodes but the three hosts.
pub(crate) const OTHERS: usize = 997;
/// Becomes the agent once it is told to.
const WAIT: &str = r#"echo; read -r _; exec "$@""#;

pub(crate) fn measure(is_quick: bool, bars: &mut Bars) {
    let rounds = if is_quick { 5 } else { 15 };
    let cluster = Cluster::new_with(V4, &json!({"prefixes": [WIDE]}));
    let nodes = simulated::of(&cluster, OTHERS);
    println!("\n  An agent among {} nodes", OTHERS + 3);
    let took = joins(&cluster, &nodes);
    let what = format!("{OTHERS} joins at once: the kernel has the last after etcd by");
    bars.judge(&what, took, " ms", Bound::AtMost(300.0));
    for host in &cluster.hosts {
        assert!(found(host).is_ok_and(|found| found == wanted(&cluster, host)));
    }
    memory(&cluster, "after these joins", bars);

    let host = &cluster.hosts[0];
    let (mut times, mut written) = (Vec::new(), 0);
    for _ in 0..rounds {
        host.terminate();
        let before = host.kernel();
        let monitors = [&["ip", "monitor", "link", "address", "route", "neigh"][..], &["nft", "monitor"]]
            .map(|words| Monitor::start(host, words));
        times.push(start(host));
        host.is("watching");
        host.has_peers(OTHERS + 2);
        thread::sleep(Duration::from_millis(500));
        written += monitors.into_iter().map(Monitor::lines).sum::<usize>();
        assert_eq!(host.kernel(), before);
    }
    bars.judge("start with all entries there, until it is ready", median(&times), " ms", Bound::AtMost(50.0));
    bars.judge(&format!("changes in the kernel at {rounds} starts"), written as f64, "", Bound::AtMost(0.0));
    memory(&cluster, "after a start with all of them", bars);
}

/// All join at once. Returns the milliseconds after the last one's record, of the host that was last.
fn joins(cluster: &Cluster, nodes: &[Simulated]) -> f64 {
    let all = OTHERS + 2;
    thread::scope(|scope| {
        let threads = cluster.hosts.each_ref().map(|host| {
            scope.spawn(move || {
                until("all are there", || routes(host) == all);
                Instant::now()
            })
        });
        let had = block_on(&cluster.engine_host, async || {
            change(&client(&cluster.engine), nodes, &[]).await;
            Instant::now()
        });
        let last = threads.map(|thread| thread.join().unwrap()).into_iter().max().unwrap();
        last.saturating_duration_since(had).as_secs_f64() * 1000.0
    })
}

/// Judges what the agents take in memory.
pub(crate) fn memory(cluster: &Cluster, when: &str, bars: &mut Bars) {
    let mut all = [Vec::new(), Vec::new()];
    for host in &cluster.hosts {
        for (figures, (file, name)) in all.iter_mut().zip([("status", "VmRSS:"), ("smaps_rollup", "Pss:")]) {
            let text = fs::read_to_string(format!("/proc/{}/{file}", host.pid())).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            figures.push(line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0);
        }
    }
    let [rss, pss] = all.map(|figures| (middle(&figures), figures.iter().copied().fold(0.0, f64::max)));
    println!("  memory {when}: Pss {:.2} MB", pss.1);
    bars.judge(&format!("memory (VmRSS) {when}, of the largest of three"), rss.1, " MB", Bound::AtMost(8.0));
}

/// Starts the agent, and returns how long it took until it was ready.
fn start(host: &Host) -> Duration {
    let notify = host.path("notify");
    let _ = fs::remove_file(&notify);
    let socket = UnixDatagram::bind(&notify).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let begin = begin(host);
    let mut buffer = [0; 512];
    loop {
        let count = socket.recv(&mut buffer).unwrap();
        if String::from_utf8_lossy(&buffer[..count]).lines().any(|line| line == "READY=1") {
            return begin.elapsed();
        }
    }
}

/// Starts the agent, and returns when its program was started: the time of the host's mounts does not count.
pub(crate) fn begin(host: &Host) -> Instant {
    let own = only(&["net_admin"]);
    let mut args = vec!["-c", WAIT, "sh"];
    args.extend(own.iter().map(String::as_str));
    args.extend([agent(), "run"]);
    let log = fs::OpenOptions::new().create(true).append(true).open(host.path("log")).unwrap();
    let mut command = host.command("sh", &args);
    command
        .env("NOTIFY_SOCKET", host.path("notify"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log);
    let mut child = host.netns.enter(|| command.spawn()).unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let begin = Instant::now();
    child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    *host.agent.lock().unwrap() = Some(child);
    begin
}

/// What a program prints of the changes in a host's kernel.
struct Monitor {
    process: std::process::Child,
}

impl Monitor {
    fn start(host: &Host, words: &[&str]) -> Self {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let process = host.netns.enter(|| command.spawn()).unwrap();
        thread::sleep(Duration::from_millis(300));
        Self { process }
    }

    /// How many lines it printed of the network: the wire's neighbours come and go by themselves.
    fn lines(mut self) -> usize {
        self.process.kill().unwrap();
        let output = self.process.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let of_network: Vec<&str> = text.lines().filter(|line| !line.contains("dev eth0 ")).collect();
        for line in of_network.iter().take(3) {
            println!("  changed: {line}");
        }
        of_network.len()
    }
}
