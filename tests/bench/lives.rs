//! Whole lives of containers on a host that has containers already: ADD, CHECK and DEL as a runtime calls them. The
//! suites are measured in turn.

use std::thread;
use std::time::{Duration, Instant};

use crate::Scale;
use crate::figures::{Bar, bar, median, quantile};
use crate::floor;
use crate::netavark::Netavark;
use crate::suites::{Host, NETWORK_MAX, STEPS, Suite, Times, VERBS, settle};
use crate::summary::Summary;

/// What was measured with one number of existing containers.
#[derive(Debug)]
pub(crate) struct Level {
    /// How many containers existed.
    pub count: usize,
    /// The times of all rounds, for each of [`NAMES`].
    pub suites: Vec<Vec<Times>>,
}

/// The suites that are measured.
pub(crate) const NAMES: [&str; 3] = ["cleat", "reference", "netavark"];

impl Level {
    /// The time of some steps together, in all rounds.
    fn times(&self, suite: usize, steps: &[usize]) -> Vec<Duration> {
        self.suites[suite].iter().map(|times| steps.iter().map(|step| times[*step]).sum()).collect()
    }

    /// The median of these times, in milliseconds. `None` if this suite was not measured, or has no such steps.
    pub(crate) fn median(&self, suite: usize, steps: &[usize]) -> Option<f64> {
        (suite < self.suites.len()).then(|| median(&self.times(suite, steps))).filter(|median| *median > 0.0)
    }
}

/// The other suites slow down as the number of containers grows: to attach more than this would take hours.
const OTHERS_MAX: usize = 500;

/// How long the kernel may still work in the background after many ADDs.
const SETTLING: Duration = Duration::from_secs(3);

enum Measured {
    Plugins(Host),
    Netavark(Netavark),
}

impl Measured {
    fn fill(&mut self, count: usize) {
        match self {
            Self::Plugins(host) => host.fill(count),
            Self::Netavark(host) => host.fill(count),
        }
    }

    /// The milliseconds of each life in a sequence. They include all processes that the calls started, and making and
    /// removing the namespaces.
    fn one_behind_the_other(&self, first: usize, count: usize) -> f64 {
        let start = Instant::now();
        for number in first..first + count {
            self.round(number);
        }
        settle();
        start.elapsed().as_secs_f64() * 1000.0 / count as f64
    }

    fn round(&self, number: usize) -> Times {
        match self {
            Self::Plugins(host) => host.round(number),
            Self::Netavark(host) => host.round(number),
        }
    }
}

/// Measures with each of these numbers of existing containers, and compares the figures with their limits.
pub(crate) fn measure(scale: &Scale, summary: &mut Summary) {
    let mut floors = Vec::new();
    let mut hosts = [
        Measured::Plugins(Host::new(Suite::cleat(), "lives")),
        Measured::Plugins(Host::new(Suite::reference(), "lives")),
        Measured::Netavark(Netavark::new("lives")),
    ];
    for count in scale.counts {
        let measured = if *count > OTHERS_MAX { &mut hosts[..1] } else { &mut hosts[..] };
        for host in measured.iter_mut() {
            // If the networks are full, one more container makes the next bridge: no measured ADD has to.
            host.fill(count + usize::from(count.is_multiple_of(NETWORK_MAX)));
        }
        // In the first seconds the kernel checks for duplicates of the IPv6 addresses of the veths on the host (DAD).
        thread::sleep(SETTLING);
        let mut level = Level { count: *count, suites: vec![Vec::new(); measured.len()] };
        for round in 0..scale.rounds {
            for (host, times) in measured.iter().zip(&mut level.suites) {
                times.push(host.round(count + 1 + round));
                settle();
            }
        }
        report(&level, scale.rounds);
        let behind = measured
            .iter()
            .map(|host| host.one_behind_the_other(count + 1, scale.rounds / 3))
            .collect::<Vec<_>>();
        println!("  whole lives one behind the other, milliseconds each: {}", named(&behind));
        if let Measured::Plugins(host) = &mut measured[0] {
            floors.push(floor::measure(host, count + 1, scale.rounds));
            if *count > NETWORK_MAX {
                on_a_full_network(host, &level, scale.rounds);
            }
        }
        summary.levels.push(level);
    }
    judge(&summary.levels, &floors);
    summary.lives();
}

/// What an attachment costs more on a bridge that is as full as it gets. There the kernel itself sends the announcements of
/// a new container's addresses to all ports.
fn on_a_full_network(host: &mut Host, level: &Level, rounds: usize) {
    host.last = level.count - 1;
    let times = (0..rounds).map(|round| host.round(level.count + 1 + round)).inspect(|_| settle()).collect();
    host.last = usize::MAX;
    let full = Level { count: level.count, suites: vec![times] };
    print!("  on the bridge with {NETWORK_MAX} of them:");
    for (verb, steps) in VERBS {
        let [few, many] = [level, &full].map(|level| level.median(0, &steps).unwrap());
        print!(" {verb} {many:.2} ({:.1}x)", many / few);
    }
    println!();
}

fn named(figures: &[f64]) -> String {
    let each = |(name, figure): (&&str, &f64)| format!("{name} {figure:.1}");
    NAMES.iter().zip(figures).map(each).collect::<Vec<_>>().join(", ")
}

fn report(level: &Level, rounds: usize) {
    println!(
        "\nwith {} containers there, {rounds} rounds in turn, whole processes, milliseconds",
        level.count
    );
    print!("  {:14}", "");
    for name in &NAMES[..level.suites.len()] {
        let ratio = if *name == NAMES[0] { String::new() } else { format!(" {:>8}", "ratio") };
        print!(" {name:>10} {:>8}{ratio}", "p95");
    }
    println!();
    let steps = STEPS.iter().enumerate().map(|(step, name)| (*name, vec![step]));
    let verbs = VERBS.iter().map(|(name, steps)| (*name, steps.to_vec()));
    for (name, steps) in steps.chain(verbs) {
        print!("  {name:14}");
        let ours = level.median(0, &steps).unwrap();
        for suite in 0..level.suites.len() {
            // netavark does in one call what the plugins do in two: it has no figures for the single steps.
            let is_part = suite == 2 && steps.len() == 1;
            let Some(median) = level.median(suite, &steps).filter(|_| !is_part) else { continue };
            print!(" {median:10.2} {:8.2}", quantile(&level.times(suite, &steps), 95));
            if suite > 0 {
                print!(" {:7.1}x", median / ours);
            }
        }
        println!();
    }
}

fn judge(levels: &[Level], floors: &[Vec<Duration>]) {
    println!();
    let Some(empty) = levels.first() else { return };
    for level in levels {
        for (verb, steps) in VERBS {
            let ours = level.median(0, &steps).unwrap();
            if let (Some(theirs), Some(limit)) = (level.median(1, &steps), least(verb, level.count)) {
                bar(
                    &format!("{verb} against the reference, {} there", level.count),
                    theirs / ours,
                    Bar::AtLeast(limit),
                );
            }
            if let Some(theirs) = level.median(2, &steps) {
                bar(
                    &format!("{verb} against netavark, {} there", level.count),
                    theirs / ours,
                    Bar::AtLeast(1.0),
                );
            }
            if level.count > OTHERS_MAX {
                let ratio = ours / empty.median(0, &steps).unwrap();
                bar(&format!("{verb} with {} there against none", level.count), ratio, Bar::AtMost(1.25));
            }
        }
    }
    for (level, floor) in levels.iter().zip(floors) {
        let ratio = level.median(0, &[0]).unwrap() / median(floor);
        bar(
            &format!("bridge ADD against its bare requests to the kernel, {} there", level.count),
            ratio,
            Bar::AtMost(2.0),
        );
        println!("  those take {:.2} ms, in a process of their own ({})", median(floor), floor::WHAT);
    }
}

/// How much faster than the reference a verb has to be.
fn least(verb: &str, count: usize) -> Option<f64> {
    match (verb, count) {
        ("ADD", 0) => Some(15.0),
        ("ADD", OTHERS_MAX) => Some(40.0),
        ("DEL", 0) => Some(8.0),
        ("DEL", OTHERS_MAX) => Some(10.0),
        _ => None,
    }
}
