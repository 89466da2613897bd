//! One subject and one verb with every fault: what was left, and what the program printed.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sandbox::tracer::{Outcome, Plan, SystemCall};
use sandbox::{Namespaced, Snapshot};
use serde_json::Value;

use crate::errors;
use crate::subject::{Subject, Verb};

/// A verb that is disturbed, and the verb that then removes what is left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) verb: Verb,
    pub(crate) cleaned_by: Verb,
}

/// The counts of all rounds.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) calls: usize,
    pub(crate) kills: usize,
    pub(crate) errors: usize,
    /// Rounds in which cleaning up failed, or left something that GC did not remove either.
    pub(crate) leaks: usize,
    /// Rounds in which something was left after cleaning up that GC then removed.
    pub(crate) late: usize,
    /// Rounds in which standard output was neither empty nor one JSON object.
    pub(crate) torn: usize,
    /// Rounds in which an ADD reported an error, but had not undone everything.
    pub(crate) dirty: usize,
    /// Rounds in which Rust's standard library ended the program. It does so if a new thread gets no memory for its signal
    /// stack. DEL has to remove what is left, as if the program had been killed.
    pub(crate) ended: usize,
    /// Descriptions of the first failures.
    pub(crate) told: Vec<String>,
}

const TOLD: usize = 3;

/// The name of the container's namespace.
pub(crate) const CONTAINER: &str = "c";

/// A subject on its own host, which is used for round after round.
pub(crate) struct Trial<'a> {
    subject: &'a Subject,
    /// `None` while the container has ended.
    netns: Option<Namespaced>,
    /// The state of the host before a round.
    before: Snapshot,
    /// The state inside the container before a round.
    inside: Snapshot,
}

impl<'a> Trial<'a> {
    pub(crate) fn new(subject: &'a Subject) -> Self {
        let (before, inside) = (Snapshot::take(), Snapshot::with_files_of::<&str>(&[]));
        let mut trial = Self { subject, netns: Some(Namespaced::new(CONTAINER)), before, inside };
        trial.settle();
        trial
    }

    fn next() -> String {
        // A new container ID each time: what one round leaves must not disturb the next.
        static ROUNDS: AtomicUsize = AtomicUsize::new(0);
        format!("c{}", ROUNDS.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes an ADD that must succeed. Returns its result if later calls need it.
    fn add(&self, id: &str) -> Option<Value> {
        let outcome = self.subject.job(Verb::Add, id, None).run();
        assert_eq!(outcome.code, Some(0), "{}: ADD: {}", self.subject.name, said(&outcome));
        self.subject.takes_result().then(|| serde_json::from_slice(&outcome.stdout).unwrap())
    }

    /// Prepares the call of a verb: every verb but ADD needs an attachment.
    fn prepare(&mut self, verb: Verb, id: &str) -> Option<Value> {
        let result = if verb == Verb::Add { None } else { self.add(id) };
        self.end_container_for(verb);
        result
    }

    fn clean(&mut self, verb: Verb, id: &str, result: Option<&Value>) -> Outcome {
        self.end_container_for(verb);
        self.subject.job(verb, id, result).run()
    }

    /// Ends the container before a `cleat gc`, which removes the attachments of ended containers. A plugin's GC gets a list of
    /// the valid attachments instead. It is tried in the harder case, while the namespace exists.
    fn end_container_for(&mut self, verb: Verb) {
        if verb == Verb::Gc && !self.subject.is_plugin() {
            self.netns = None;
        }
    }

    fn start_container(&mut self) {
        if self.netns.is_none() {
            self.netns = Some(Namespaced::new(CONTAINER));
        }
    }

    /// Kills the program at every call, or at every Nth if `step` says so.
    pub(crate) fn kill(&mut self, scenario: Scenario, step: impl Fn(usize) -> usize, tally: &mut Tally) {
        let calls = self.watch(scenario).len();
        tally.calls = calls;
        let step = step(calls).max(1);
        // The number of calls varies a little because of threads. The loop ends when a run ends before it is killed.
        for number in (0..calls + calls / 10 + 2).step_by(step) {
            let Some(hit) = self.round(scenario, Plan::Kill(number), tally) else { break };
            tally.kills += usize::from(hit);
        }
    }

    /// Makes every call, or every `step`th, fail with every error that it can return.
    pub(crate) fn fail(&mut self, scenario: Scenario, step: usize, tally: &mut Tally) {
        let calls = self.watch(scenario);
        tally.calls = tally.calls.max(calls.len());
        for (number, call) in calls.iter().enumerate().step_by(step) {
            let at = call.place(&calls[..number]);
            for &errno in errors::of(*call) {
                let plan = Plan::Fail { kind: call.number, at, errno };
                let hit = self.round(scenario, plan, tally).unwrap_or_default();
                tally.errors += usize::from(hit);
            }
        }
    }

    /// The calls of a run without any fault.
    fn watch(&mut self, scenario: Scenario) -> Vec<SystemCall> {
        let id = Self::next();
        let result = self.prepare(scenario.verb, &id);
        let job = self.subject.job(scenario.verb, &id, result.as_ref());
        let calls = job.trace(Plan::Watch, &errors::is_possible).calls;
        self.clean(Verb::Del, &id, result.as_ref());
        self.start_container();
        calls
    }

    /// One run with a fault. Returns whether the fault happened, or `None` if the run ended before it was killed.
    fn round(&mut self, scenario: Scenario, plan: Plan, tally: &mut Tally) -> Option<bool> {
        let id = Self::next();
        let Scenario { verb, cleaned_by } = scenario;
        let result = self.prepare(verb, &id);
        let outcome = self.subject.job(verb, &id, result.as_ref()).trace(plan, &errors::is_possible);
        let name = self.subject.name;
        let at = format!("{name} {} {plan:?} at {:?}", verb.name(), outcome.hit.map(|call| call.number));
        if self.subject.is_plugin() && !is_whole(&outcome) {
            tally.torn += 1;
            tally.tell(format!("{at}: torn output: {}", said(&outcome)));
        }
        let told_failure = outcome.code.is_some_and(|code| code != 0) && !outcome.stdout.is_empty();
        let was_ended = String::from_utf8_lossy(&outcome.stdout).contains("stack_overflow.rs");
        tally.ended += usize::from(was_ended);
        if verb == Verb::Add && told_failure && !was_ended && self.subject.is_plugin() {
            let left = self.settled(Verb::Del);
            if !left.is_empty() {
                tally.dirty += 1;
                tally.tell(format!("{at}: failed, and left {}; {}", few(&left), said(&outcome)));
            }
        }
        // A DEL or GC that succeeded has removed everything. After anything else a runtime cleans up.
        let is_over = outcome.code == Some(0) && verb != Verb::Add;
        let mut trouble = String::new();
        let mut cleaner = verb;
        if !is_over {
            // If the ADD succeeded despite the fault, its attachment is valid, and GC would keep it: DEL removes it.
            let by = if outcome.code == Some(0) { Verb::Del } else { cleaned_by };
            cleaner = by;
            let answer = self.clean(by, &id, result.as_ref());
            if answer.code != Some(0) {
                trouble = format!("; cleaning up failed: {}", said(&answer));
            }
        }
        self.start_container();
        let left = self.settled(cleaner);
        if !left.is_empty() || !trouble.is_empty() {
            let by_gc = trouble.is_empty() && self.subject.has(Verb::Gc) && {
                self.clean(Verb::Gc, &id, None);
                self.start_container();
                self.settled(Verb::Gc).is_empty()
            };
            if by_gc {
                tally.late += 1;
            } else {
                tally.leaks += 1;
            }
            tally.tell(format!("{at}: left {}{trouble}; {}", few(&left), said(&outcome)));
            self.start_afresh();
        }
        if cleaner == Verb::Gc && self.subject.is_plugin() {
            // Where GC was refused a look into the container, what is in there stays until it ends, or until its DEL.
            self.clean(Verb::Del, &id, result.as_ref());
            // The process that removes the link is in the container for a moment, and GC removes nothing beside a process.
            thread::sleep(Duration::from_millis(50));
        }
        match plan {
            Plan::Kill(_) if outcome.hit.is_none() => None,
            _ => Some(outcome.hit.is_some()),
        }
    }

    /// The differences from the state before the round, after the verb `behind`. The kernel removes some things in the
    /// background, so it gets up to a second. GC has no namespace to enter, so the container's inside is not compared then.
    fn settled(&self, behind: Verb) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(1);
        loop {
            let mut left = self.before.differences();
            if let Some(netns) = self.netns.as_ref().filter(|_| behind != Verb::Gc) {
                left.extend(netns.enter(|| self.inside.differences()));
            }
            if left.is_empty() || Instant::now() > deadline {
                return left;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Cleans the host after a leak, so that each leak is counted once.
    fn start_afresh(&mut self) {
        let run = |program: &str, args: &[&str]| Command::new(program).args(args).output().unwrap();
        run("nft", &["flush", "ruleset"]);
        let links = run("ip", &["-o", "link", "show"]).stdout;
        for link in String::from_utf8(links).unwrap().lines() {
            let name = link.split([':', '@']).nth(1).unwrap().trim();
            if !["lo", "uplink"].contains(&name) {
                run("ip", &["link", "delete", name]);
            }
        }
        for folder in ["/var/lib/cni", "/run/cleat"] {
            let _ = fs::remove_dir_all(folder);
        }
        self.netns = None;
        self.start_container();
        self.settle();
    }

    /// Loads the foreign ruleset, makes a first attachment and removes it; then takes the snapshots. The first attachment
    /// switches forwarding on and makes folders, and iptables makes its tables and chains: these stay.
    fn settle(&mut self) {
        let loaded = Command::new("nft").arg(self.subject.firewall).output().unwrap();
        assert!(loaded.status.success(), "nft: {}", String::from_utf8_lossy(&loaded.stderr));
        let id = Self::next();
        let result = self.add(&id);
        self.clean(Verb::Del, &id, result.as_ref());
        thread::sleep(Duration::from_millis(100));
        self.before = Snapshot::take();
        self.inside = self.netns.as_ref().unwrap().enter(|| Snapshot::with_files_of::<&str>(&[]));
    }
}

impl Tally {
    fn tell(&mut self, text: String) {
        if self.told.len() < TOLD {
            self.told.push(text);
        }
    }
}

/// Whether standard output is valid: empty, or one JSON object.
fn is_whole(outcome: &Outcome) -> bool {
    outcome.stdout.is_empty()
        || serde_json::from_slice::<serde_json::Map<String, Value>>(&outcome.stdout).is_ok()
}

/// The first lines, shortened.
fn few(lines: &[String]) -> String {
    let short = |line: &String| format!("\n    {}", line.chars().take(140).collect::<String>());
    lines.iter().take(15).map(short).collect()
}

fn said(outcome: &Outcome) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(400).collect::<String>();
    format!("exit {:?}, said {:?} {:?}", outcome.code, text(&outcome.stdout), text(&outcome.stderr))
}
