//! ADD, CHECK and DEL of one more container, each call alone, on hosts with the same number of containers. The hosts are
//! measured in turn.

use std::time::Duration;

use crate::background::wait_for_namespaces;
use crate::figures::{median, quantile};
use crate::host::{Host, STEPS, Times};
use crate::suites::Suite;
use crate::summary::Figures;

/// The steps of a verb.
pub(crate) type Verb = (&'static str, &'static [usize]);

/// An ADD.
pub(crate) const ADD: Verb = ("ADD", &[0, 1]);
/// A CHECK.
pub(crate) const CHECK: Verb = ("CHECK", &[2, 3]);
/// A DEL.
pub(crate) const DEL: Verb = ("DEL", &[4, 5]);
/// A DEL until the last process that it leaves behind has ended.
pub(crate) const WHOLE_DEL: Verb = ("DEL and what it leaves running", &[4, 5, 6]);
/// All of them.
pub(crate) const VERBS: [Verb; 4] = [ADD, CHECK, DEL, WHOLE_DEL];

/// What was measured with one number of existing containers.
#[derive(Debug)]
pub(crate) struct Level {
    /// How many containers existed.
    pub count: usize,
    /// The hosts' suites, and the times of all rounds.
    hosts: Vec<(Suite, Vec<Times>)>,
}

impl Level {
    /// Measures on all hosts, which must have at least `count` containers.
    pub(crate) fn measure(hosts: &[&Host], count: usize, rounds: usize) -> Self {
        let mut measured: Vec<_> = hosts.iter().map(|host| (host.suite, Vec::new())).collect();
        for round in 0..rounds {
            // The order changes, so that none is always measured after the same one.
            for turn in 0..hosts.len() {
                let turn = if round % 2 == 0 { turn } else { hosts.len() - 1 - turn };
                wait_for_namespaces();
                measured[turn].1.push(hosts[turn].round(hosts[turn].count + 1 + round));
                if count == 0 {
                    hosts[turn].remove_left_bridge();
                }
            }
        }
        Self { count, hosts: measured }
    }

    /// Takes the last host out, which has another number of containers.
    pub(crate) fn split(&mut self, count: usize) -> Self {
        Self { count, hosts: self.hosts.split_off(self.hosts.len() - 1) }
    }

    /// Adds the rounds of another measurement of the same hosts.
    pub(crate) fn extend(&mut self, more: Self) {
        for ((_, times), (_, more)) in self.hosts.iter_mut().zip(more.hosts) {
            times.extend(more);
        }
    }

    fn times(times: &[Times], steps: &[usize]) -> Vec<Duration> {
        times.iter().map(|times| steps.iter().map(|step| times[*step]).sum()).collect()
    }

    /// The medians of a verb, in milliseconds. `None` for a suite that was not measured, or has no such verb.
    pub(crate) fn medians(&self, (_, steps): Verb) -> Figures {
        let mut figures = Figures::default();
        for ((_, times), figure) in self.hosts.iter().zip(&mut figures) {
            *figure = Some(median(&Self::times(times, steps))).filter(|median| *median > 0.0);
        }
        figures
    }

    /// The median of cleat's.
    pub(crate) fn ours(&self, verb: Verb) -> f64 {
        self.medians(verb)[0].unwrap()
    }

    /// Prints medians and percentiles of steps and verbs.
    pub(crate) fn report(&self) {
        let rounds = self.hosts[0].1.len();
        let there = match self.count {
            0 => "none there, the bridge comes with ADD and goes with DEL (the reference leaves it: removed between rounds)".to_owned(),
            1 => "1 container there".to_owned(),
            count => format!("{count} containers there"),
        };
        println!("\n{there}; {rounds} rounds in turn, whole processes, milliseconds");
        print!("  {:31}", "");
        for (suite, _) in &self.hosts {
            let ratio = if *suite == Suite::Cleat { String::new() } else { format!(" {:>8}", "ratio") };
            print!(" {:>10} {:>8}{ratio}", suite.name(), "p95");
        }
        println!();
        let steps: Vec<[usize; 1]> = (0..STEPS.len()).map(|step| [step]).collect();
        let steps = STEPS.iter().zip(&steps).map(|(name, step)| (*name, step.as_slice()));
        for (name, steps) in steps.chain(VERBS) {
            print!("  {name:31}");
            let ours = median(&Self::times(&self.hosts[0].1, steps));
            for (suite, times) in &self.hosts {
                // netavark does in one call what the plugins do in two: it has no figures for the single steps.
                let is_part = *suite == Suite::Netavark && steps.len() == 1;
                let times = Self::times(times, steps);
                let median = median(&times);
                // Hundredths of milliseconds mean that there was nothing to do.
                if is_part || median < 0.01 {
                    continue;
                }
                print!(" {median:10.2} {:8.2}", quantile(&times, 95));
                if *suite != Suite::Cleat {
                    print!(" {:7.1}x", median / ours);
                }
            }
            println!();
        }
    }
}
