//! Whole lives of containers, with others there already: ADD, CHECK and DEL as a runtime would call them, both suites in turn.

use std::time::Duration;

use crate::figures::{Bar, bar, median, quantile};
use crate::floor;
use crate::suites::{Host, STEPS, Suite, Times, VERBS};

/// What was measured with so many containers there.
#[derive(Debug)]
pub(crate) struct Level {
    /// The containers that were there already.
    pub count: usize,
    /// For each suite its name and the times of all rounds; this suite first.
    pub suites: Vec<(&'static str, Vec<Times>)>,
}

impl Level {
    /// The median time of some steps together, in milliseconds.
    pub(crate) fn median(&self, suite: usize, steps: &[usize]) -> f64 {
        let sums: Vec<Duration> =
            self.suites[suite].1.iter().map(|times| steps.iter().map(|step| times[*step]).sum()).collect();
        median(&sums)
    }
}

/// The reference slows down with the number of containers, and to attach more than this would take hours.
const REFERENCE_MAX: usize = 500;

/// Measures at each of these numbers of containers.
pub(crate) fn measure(counts: &[usize], rounds: usize) -> Vec<Level> {
    let mut hosts = [Suite::cleat(), Suite::reference()].map(|suite| Host::new(suite, "lives"));
    let mut levels = Vec::new();
    for count in counts {
        let mut level = Level { count: *count, suites: Vec::new() };
        let mut measured: Vec<&mut Host> =
            hosts.iter_mut().filter(|host| host.suite.name == "cleat" || *count <= REFERENCE_MAX).collect();
        for host in &mut measured {
            // The first container makes bridge and tables, which the others find.
            host.fill((*count).max(1));
            level.suites.push((host.suite.name, Vec::new()));
        }
        for round in 0..rounds {
            for (host, (_, all)) in measured.iter().zip(&mut level.suites) {
                all.push(host.round(count + 1 + round));
            }
        }
        report(&level, rounds);
        levels.push(level);
    }
    levels
}

fn report(level: &Level, rounds: usize) {
    println!(
        "\nwith {} containers there, {rounds} rounds in turn, whole processes, milliseconds",
        level.count
    );
    println!("  {:14} {:>10} {:>8} {:>10} {:>8} {:>8}", "", "cleat", "p95", "reference", "p95", "ratio");
    for (step, name) in STEPS.iter().enumerate() {
        let of = |suite: usize| -> Vec<Duration> {
            level.suites[suite].1.iter().map(|times| times[step]).collect()
        };
        let ours = of(0);
        print!("  {name:14} {:10.2} {:8.2}", median(&ours), quantile(&ours, 95));
        if level.suites.len() > 1 {
            let theirs = of(1);
            let ratio = median(&theirs) / median(&ours);
            print!(" {:10.2} {:8.2} {ratio:7.1}x", median(&theirs), quantile(&theirs, 95));
        }
        println!();
    }
}

/// Holds what was measured against the bars.
pub(crate) fn judge(levels: &[Level], floor: &[Duration]) {
    println!();
    let Some(empty) = levels.first() else { return };
    for level in levels {
        for (verb, steps) in VERBS {
            if let (true, Some(limit)) = (level.suites.len() > 1, least(verb, level.count)) {
                let ratio = level.median(1, &steps) / level.median(0, &steps);
                bar(
                    &format!("{verb} against the reference, {} there", level.count),
                    ratio,
                    Bar::AtLeast(limit),
                );
            }
            if level.count > REFERENCE_MAX {
                let ratio = level.median(0, &steps) / empty.median(0, &steps);
                bar(&format!("{verb} with {} there against none", level.count), ratio, Bar::AtMost(1.25));
            }
        }
    }
    let ratio = empty.median(0, &[0]) / median(floor);
    bar("bridge ADD against its bare requests to the kernel", ratio, Bar::AtMost(2.0));
    println!("  those take {:.2} ms, in a process of their own ({})", median(floor), floor::WHAT);
}

/// How much faster than the reference a verb has to be.
fn least(verb: &str, count: usize) -> Option<f64> {
    match (verb, count) {
        ("ADD", 0) => Some(15.0),
        ("ADD", REFERENCE_MAX) => Some(40.0),
        ("DEL", 0) => Some(8.0),
        ("DEL", REFERENCE_MAX) => Some(10.0),
        _ => None,
    }
}
