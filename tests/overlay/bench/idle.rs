//! How often an agent among a thousand nodes wakes up while nothing changes.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::bars::{Bars, Bound};
use crate::cluster::{Cluster, V4};
use crate::host::{Host, until};
use crate::simulated::{self, WIDE, routes};
use crate::start::{OTHERS, memory};

/// Until what a start leaves for later is done: the last change is saved, the records are compared once more, and 30 s after the
/// list entries that are nobody's may go.
const SETTLE: Duration = Duration::from_secs(40);
/// Looks at the count of switches.
const LOOK: Duration = Duration::from_millis(100);
/// Switches with less between them are of one wake-up: its calls to etcd and their answers.
const ONE: Duration = Duration::from_secs(2);

pub(crate) fn measure(is_quick: bool, bars: &mut Bars) {
    let period = Duration::from_secs(if is_quick { 70 } else { 183 });
    let cluster = Cluster::new_with(V4, &json!({"prefixes": [WIDE]}));
    simulated::join(&cluster, &simulated::of(&cluster, OTHERS));
    for host in &cluster.hosts {
        until("all are there", || routes(host) == OTHERS + 2);
    }
    thread::sleep(SETTLE);
    println!("\n  Agents among {} nodes while nothing changes, for {} s", OTHERS + 3, period.as_secs());
    let all: Vec<Seen> = thread::scope(|scope| {
        let threads = cluster.hosts.each_ref().map(|host| scope.spawn(move || watch(host, period)));
        threads.map(|thread| thread.join().unwrap()).into()
    });
    for (host, seen) in cluster.hosts.iter().zip(&all) {
        println!(
            "  {}: wakes up after {:?} s; {} switches and {:.0} ms of a processor in all",
            host.name(),
            seen.wakes,
            seen.switches,
            seen.ticks as f64 * 10.0
        );
    }
    let minutes = (period.as_secs() / 60 + 1) as f64;
    let most = all.iter().map(|seen| seen.wakes.len()).max().unwrap();
    // In n minutes and a bit there can be n + 1 of one a minute.
    bars.judge("wake-ups, of the agent with most", most as f64, "", Bound::AtMost(minutes));
    memory(&cluster, "then", bars);
}

/// What was seen of a process.
struct Seen {
    /// The seconds after which it woke up.
    wakes: Vec<u64>,
    /// All voluntary context switches.
    switches: u64,
    /// Time of a processor, in 1/100 s.
    ticks: u64,
}

fn watch(host: &Host, period: Duration) -> Seen {
    let (begin, first, ticks) = (Instant::now(), switches(host), ticks(host));
    let (mut before, mut last, mut wakes) = (first, None::<Instant>, Vec::new());
    while begin.elapsed() < period {
        thread::sleep(LOOK);
        let now = switches(host);
        if now != before {
            if last.is_none_or(|last| last.elapsed() > ONE) {
                wakes.push(begin.elapsed().as_secs());
            }
            (before, last) = (now, Some(Instant::now()));
        }
    }
    Seen { wakes, switches: before - first, ticks: self::ticks(host) - ticks }
}

/// The voluntary context switches of all threads: each time that one slept.
fn switches(host: &Host) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", host.pid())).unwrap();
    let of_task = |path: std::path::PathBuf| {
        let text = fs::read_to_string(path.join("status")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.map_or(0, |count| count.trim().parse::<u64>().unwrap())
    };
    tasks.map(|task| of_task(task.unwrap().path())).sum()
}

fn ticks(host: &Host) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/stat", host.pid())).unwrap();
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap().split(' ').collect();
    [11, 12].iter().map(|place| fields[*place].parse::<u64>().unwrap()).sum()
}
