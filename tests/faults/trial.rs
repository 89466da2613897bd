//! One subject and one verb under every fault: what was left, and what was said.

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

/// What a verb is followed by, for what a fault left to be removed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) verb: Verb,
    pub(crate) cleaned_by: Verb,
}

/// The sum of what was seen.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) calls: usize,
    pub(crate) kills: usize,
    pub(crate) errors: usize,
    /// Times that something was left although it was cleaned up.
    pub(crate) leaks: usize,
    /// Times that only GC removed it.
    pub(crate) late: usize,
    /// Times that standard output was neither empty nor one JSON document.
    pub(crate) torn: usize,
    /// Times that an ADD told of a failure and had not undone everything.
    pub(crate) dirty: usize,
    /// Times that the standard library ended the program, as it does where a thread it has started finds no memory for
    /// its signal stack. What that leaves is for DEL, as if the program had been killed.
    pub(crate) ended: usize,
    /// The first few of them in words.
    pub(crate) told: Vec<String>,
}

const TOLD: usize = 3;

/// The name of the container's namespace.
pub(crate) const CONTAINER: &str = "c";

/// A subject on its own host, round after round.
pub(crate) struct Trial<'a> {
    subject: &'a Subject,
    /// Missing while the container is over.
    netns: Option<Namespaced>,
    /// The host, and the container from inside, before a round.
    before: Snapshot,
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
        // What one trial leaves behind must not be in the way of the next one.
        static ROUNDS: AtomicUsize = AtomicUsize::new(0);
        format!("c{}", ROUNDS.fetch_add(1, Ordering::Relaxed))
    }

    /// An ADD that must succeed, and its result where it is of use.
    fn add(&self, id: &str) -> Option<Value> {
        let outcome = self.subject.job(Verb::Add, id, None).run();
        assert_eq!(outcome.code, Some(0), "{}: ADD: {}", self.subject.name, said(&outcome));
        self.subject.takes_result().then(|| serde_json::from_slice(&outcome.stdout).unwrap())
    }

    /// What is there before the verb is called: an attachment.
    fn prepare(&mut self, verb: Verb, id: &str) -> Option<Value> {
        let result = if verb == Verb::Add { None } else { self.add(id) };
        self.end_container_for(verb);
        result
    }

    fn clean(&mut self, verb: Verb, id: &str, result: Option<&Value>) -> Outcome {
        self.end_container_for(verb);
        self.subject.job(verb, id, result).run()
    }

    /// `cleat gc` removes what containers had that are over. A plugin's GC is told which attachments are valid, and is
    /// tried on the harder case: a namespace that lives.
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

    /// Kills at every call, or, with a step, at every Nth.
    pub(crate) fn kill(&mut self, scenario: Scenario, step: impl Fn(usize) -> usize, tally: &mut Tally) {
        let calls = self.watch(scenario).len();
        tally.calls = calls;
        let step = step(calls).max(1);
        // Threads make the number vary a little: the end is where a run is over before it was killed.
        for number in (0..calls + calls / 10 + 2).step_by(step) {
            let Some(hit) = self.round(scenario, Plan::Kill(number), tally) else { break };
            tally.kills += usize::from(hit);
        }
    }

    /// Fails every call with every error that it can return.
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

    /// One run with a fault: whether it came to that, and `None` where the run was over before a kill.
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
        // What succeeded without ADD is over; anything else is cleaned up, as runtimes do.
        let is_over = outcome.code == Some(0) && verb != Verb::Add;
        let mut trouble = String::new();
        let mut cleaner = verb;
        if !is_over {
            // GC keeps what is alive, so what was added after all goes by DEL.
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
        match plan {
            Plan::Kill(_) if outcome.hit.is_none() => None,
            _ => Some(outcome.hit.is_some()),
        }
    }

    /// What differs from before, behind a verb. The kernel takes some things away from work queues, so it is given a
    /// moment. GC is told of no namespace, so the inside of one that lives is not its business.
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

    /// After a leak the host is made anew, so that what is left is counted once.
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

    /// Somebody else's rules are there first. The first attachment switches forwarding on and makes folders, and
    /// iptables its own tables and chains; these stay.
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

/// Whether standard output is what the contract wants: nothing, or one JSON object.
fn is_whole(outcome: &Outcome) -> bool {
    outcome.stdout.is_empty()
        || serde_json::from_slice::<serde_json::Map<String, Value>>(&outcome.stdout).is_ok()
}

/// The first lines, each short.
fn few(lines: &[String]) -> String {
    let short = |line: &String| format!("\n    {}", line.chars().take(140).collect::<String>());
    lines.iter().take(15).map(short).collect()
}

fn said(outcome: &Outcome) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(400).collect::<String>();
    format!("exit {:?}, said {:?} {:?}", outcome.code, text(&outcome.stdout), text(&outcome.stderr))
}
