//! Where the time goes: the kinds of system calls and netlink requests of each plugin's ADD and DEL, by strace(1), on a
//! network that has containers already. The cost of tracing is estimated and subtracted from each call, so the times are
//! good for comparison only. The time of the whole process is measured without strace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use sandbox::tracer::Job;
use sandbox::{Call, Namespaced};
use serde_json::Value;

use crate::background::settle;
use crate::figures::{median, middle};
use crate::host::{Container, Host};
use crate::suites::Suite;

const TRACE: &str = "/run/profile.trace";
/// How many containers exist already.
const THERE: usize = 5;
/// Calls that wait for other threads or processes, whose own calls are counted.
const WAITS: [&str; 3] = ["futex", "wait4", "waitid"];
/// Marks the calls of a program that the plugin starts and that may outlive it.
const STARTED: &str = "(by a program that it starts) ";
/// Calls that take almost no time of their own: their time is the cost of tracing.
const TRIVIAL: [&str; 6] =
    ["brk", "rt_sigprocmask", "set_robust_list", "set_tid_address", "sigaltstack", "gettid"];
/// Names of requests that strace prints as numbers: it cannot tell the protocol of a socket of another network namespace
/// (rtnetlink(7) and `linux/netfilter/nf_tables.h`).
const REQUESTS: [(&str, &str); 10] = [
    ("0x10", "RTM_NEWLINK"),
    ("0x11", "RTM_DELLINK"),
    ("0x12", "RTM_GETLINK"),
    ("0x13", "RTM_SETLINK"),
    ("0x14", "RTM_NEWADDR"),
    ("0x16", "RTM_GETADDR"),
    ("0x18", "RTM_NEWROUTE"),
    ("0x1a", "RTM_GETROUTE"),
    ("0x1e", "RTM_GETNEIGH"),
    ("0xa10", "NFT_MSG_GETGEN"),
];
/// Kinds of calls that take less than this share of the time are printed together in one line.
const LEAST_SHARE: f64 = 0.01;

/// The calls of a container's life in their order: plugin and verb.
const CALLS: [(&str, &str); 10] = [
    ("loopback", "ADD"),
    ("host-local", "ADD"),
    ("host-local", "DEL"),
    ("bridge", "ADD"),
    ("portmap", "ADD"),
    ("link-env", "ADD"),
    ("link-env", "DEL"),
    ("portmap", "DEL"),
    ("bridge", "DEL"),
    ("loopback", "DEL"),
];

/// What was measured of one of [`CALLS`].
#[derive(Default)]
struct Seen {
    /// The times of the whole process without strace.
    whole: Vec<Duration>,
    /// By kind: the number of calls and their microseconds in each round.
    kinds: BTreeMap<String, Vec<(usize, f64)>>,
}

/// Prints a table for each of [`CALLS`].
pub(crate) fn measure(rounds: usize) {
    let mut host = Host::new(Suite::Cleat, "profile");
    host.fill(THERE);
    let mut seen = CALLS.map(|_| Seen::default());
    for round in 0..rounds {
        for is_traced in [false, true] {
            life(&host, THERE + 2 * round + usize::from(is_traced), is_traced, &mut seen);
            settle();
        }
    }
    for ((plugin, verb), seen) in CALLS.iter().zip(&seen) {
        report(plugin, verb, seen);
    }
}

fn life(host: &Host, number: usize, is_traced: bool, seen: &mut [Seen]) {
    let netns = Namespaced::new(&format!("profile-{number}"));
    let mut result = None;
    for ((plugin, verb), seen) in CALLS.into_iter().zip(seen) {
        let ifname = if plugin == "loopback" { "lo" } else { "eth0" };
        let container = Container { number, netns: &netns, ifname };
        let call = host.prepare(plugin, verb, container, result.as_ref());
        if is_traced {
            let answer = host.enter(|| trace(&call.job()));
            if (plugin, verb) == ("bridge", "ADD") {
                result = Some(answer);
            }
            for (kind, counted) in read(&fs::read_to_string(TRACE).unwrap()) {
                seen.kinds.entry(kind).or_default().push(counted);
            }
        } else {
            let answer = host.enter(|| timed(&call, &mut seen.whole));
            if (plugin, verb) == ("bridge", "ADD") {
                result = Some(answer);
            }
        }
    }
}

fn timed(call: &Call, times: &mut Vec<Duration>) -> Value {
    let start = Instant::now();
    let answer = call.run();
    times.push(start.elapsed());
    assert!(answer.output().status.success(), "{answer:?}");
    serde_json::from_slice(&answer.output().stdout).unwrap_or_default()
}

fn trace(job: &Job) -> Value {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "--syscall-times=ns", "-e", "signal=none", "-o", TRACE, &job.program]);
    let output = sandbox::run(command.env_clear().envs(job.env.clone()), &job.input);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// The calls of a trace by kind: their number, and their microseconds without the cost of tracing.
fn read(trace: &str) -> BTreeMap<String, (usize, f64)> {
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut calls, mut started) = (Vec::new(), BTreeSet::new());
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(text) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(thread, text);
            continue;
        }
        // The line ends with the time: `<0.000012345>`.
        let Some((text, time)) = rest.rsplit_once(" <") else { continue };
        let Some(seconds) = time.strip_suffix('>').and_then(|time| time.parse::<f64>().ok()) else {
            continue;
        };
        let text = if text.starts_with("<... ") { begun.remove(thread).unwrap_or(text) } else { text };
        // The first execve is that of the plugin itself.
        if text.starts_with("execve(") && !calls.is_empty() {
            started.insert(thread);
        }
        let whose = if started.contains(thread) { STARTED } else { "" };
        calls.push((format!("{whose}{}", kind(text)), seconds * 1e6));
    }
    let trivial = calls.iter().filter(|(kind, _)| TRIVIAL.contains(&kind.as_str()));
    let cost = middle(&trivial.map(|(_, time)| *time).collect::<Vec<_>>());
    let mut kinds: BTreeMap<String, (usize, f64)> = BTreeMap::new();
    for (kind, time) in calls {
        let sum = kinds.entry(kind).or_default();
        *sum = (sum.0 + 1, sum.1 + (time - cost).max(0.0));
    }
    kinds
}

/// The name of a call with its netlink requests, or with the folder of the file that it is about.
fn kind(text: &str) -> String {
    let (name, arguments) = text.split_once('(').unwrap_or((text, ""));
    let mut requests: Vec<&str> = Vec::new();
    if name.starts_with("send") {
        for part in arguments.split("nlmsg_type=").skip(1) {
            let request = part.split(',').next().unwrap_or_default();
            let request = request.rsplit("<<8|").next().unwrap_or_default();
            let number = request.split(' ').next().unwrap_or_default();
            let request =
                REQUESTS.iter().find(|(known, _)| *known == number).map_or(request, |(_, name)| name);
            if !request.starts_with("NFNL_MSG_BATCH") && requests.last() != Some(&request) {
                requests.push(request);
            }
        }
    }
    let path = arguments.split('"').nth(1).filter(|path| path.starts_with('/'));
    let folder = path.map(|path| path.split('/').take(3).collect::<Vec<_>>().join("/"));
    let about = if requests.is_empty() { folder.unwrap_or_default() } else { requests.join(" ") };
    format!("{name} {about}").trim_end().to_owned()
}

fn report(plugin: &str, verb: &str, seen: &Seen) {
    let rounds = seen.whole.len();
    let mut kinds: Vec<(&str, f64, f64)> = seen
        .kinds
        .iter()
        .map(|(kind, all)| {
            // A round without calls of this kind counts as zero.
            let with_nothing = |of: fn(&(usize, f64)) -> f64| -> Vec<f64> {
                all.iter().map(of).chain(std::iter::repeat_n(0.0, rounds - all.len())).collect()
            };
            let count = middle(&with_nothing(|(count, _)| *count as f64));
            (kind.as_str(), count, middle(&with_nothing(|(_, time)| *time)))
        })
        .collect();
    kinds.sort_by(|a, b| b.2.total_cmp(&a.2));
    let is_wait = |kind: &str| WAITS.iter().any(|wait| kind.starts_with(wait));
    let calls: f64 = kinds.iter().map(|(_, count, _)| count).sum();
    let is_inside = |kind: &str| !is_wait(kind) && !kind.starts_with(STARTED);
    let inside: f64 = kinds.iter().filter(|(kind, ..)| is_inside(kind)).map(|(.., time)| time).sum();
    println!(
        "\n{plugin} {verb}: {:.0} µs untraced; {calls:.0} system calls, {inside:.0} µs in its own, without waits for threads",
        median(&seen.whole) * 1000.0
    );
    let (much, little): (Vec<_>, Vec<_>) =
        kinds.iter().partition(|(_, _, time)| *time >= inside * LEAST_SHARE);
    for (kind, count, time) in much {
        println!("  {time:9.1} µs {count:5.0} × {kind}{}", if is_wait(kind) { "   (waits)" } else { "" });
    }
    let sum = |of: fn(&(&str, f64, f64)) -> f64| little.iter().map(of).sum::<f64>();
    println!("  {:9.1} µs {:5.0} × all others", sum(|(.., time)| *time), sum(|(_, count, _)| *count));
}
