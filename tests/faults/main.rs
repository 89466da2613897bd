//! Faults at every system call: the program is killed there, or the call returns an error. Afterwards, when the attachment
//! has been removed, nothing may be left, and standard output must be complete.
//!
//! `make test-faults` tries every call of every plugin and prints a table; it also kills the reference plugins. Under
//! `cargo test` it tries every Nth call. Words on the command line choose plugins.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::print_stdout, reason = "it prints a table")]
#![allow(clippy::disallowed_methods, reason = "it starts programs and reads FULL")]

mod errors;
mod subject;
mod trial;

use std::process::{ExitCode, Output};
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::{env, thread};

use sandbox::Host;
use subject::{Subject, Verb};
use trial::{Scenario, Tally, Trial};

/// The verbs that are disturbed, each with the verb that removes what is left.
const SCENARIOS: [Scenario; 4] = [
    Scenario { verb: Verb::Add, cleaned_by: Verb::Del },
    Scenario { verb: Verb::Add, cleaned_by: Verb::Gc },
    Scenario { verb: Verb::Del, cleaned_by: Verb::Del },
    Scenario { verb: Verb::Gc, cleaned_by: Verb::Gc },
];

/// The first argument of a process in a sandbox; the subject and the number of its scenario follow.
const ARGUMENT: &str = "--trial";

/// A subject, the number of its scenario, and the channel for the output of its trial.
type Task = (String, usize, Sender<Output>);

fn main() -> ExitCode {
    let is_full = env::var_os("FULL").is_some_and(|value| value != "0");
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [argument, name, scenario] = &arguments[..]
        && argument == ARGUMENT
    {
        return trial(name, scenario.parse().unwrap(), is_full);
    }
    let chosen: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let references = if is_full { &subject::REFERENCES[..] } else { &[] };
    let names = subject::OURS.iter().chain(references);
    let names = names.filter(|name| chosen.is_empty() || chosen.iter().any(|chosen| chosen == *name));
    println!(
        "{:24} {:13} {:>5} {:>5} {:>6} {:>5} {:>8} {:>4} {:>9} {:>5}",
        "", "", "calls", "kills", "errors", "leaks", "until GC", "torn", "half done", "ended"
    );
    if all(names.copied()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Tries each scenario of each subject in a sandbox of its own. Several run at once, because they mostly wait for the
/// kernel. Their output is printed in order.
fn all<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    let (mut tasks, mut answers): (Vec<Task>, Vec<_>) = (Vec::new(), Vec::new());
    for name in names {
        for scenario in 0..SCENARIOS.len() {
            let (sender, answer) = mpsc::channel();
            tasks.push((name.to_owned(), scenario, sender));
            answers.push(answer);
        }
    }
    let tasks = Mutex::new(tasks.into_iter());
    let work = || {
        loop {
            let Some((name, scenario, sender)) = tasks.lock().unwrap().next() else { break };
            let mut command = sandbox::sandboxed();
            let output = command.args([ARGUMENT, &name, &scenario.to_string()]).output();
            sender.send(output.expect("start unshare(1) of util-linux")).unwrap();
        }
    };
    thread::scope(|scope| {
        for _ in 0..2 * thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
        let mut is_well = true;
        for answer in answers {
            let output = answer.recv().unwrap();
            is_well &= output.status.success();
            print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        }
        is_well
    })
}

/// Tries one scenario of one subject, inside a sandbox.
fn trial(name: &str, number: usize, is_full: bool) -> ExitCode {
    sandbox::prepare();
    let _host = Host::new();
    let (subject, scenario) = (&Subject::new(name), SCENARIOS[number]);
    if !subject.has(scenario.verb) || !subject.has(scenario.cleaned_by) {
        return ExitCode::SUCCESS;
    }
    let mut tally = Tally::default();
    let mut trial = Trial::new(subject);
    let step = |calls: usize| match (is_full, subject.is_reference) {
        (true, false) => 1,
        (true, true) => calls / 20,
        (false, _) => calls / 12,
    };
    trial.kill(scenario, step, &mut tally);
    // Errors in an ADD are tried with DEL only: GC after a failed ADD would repeat the same calls.
    if !subject.is_reference && number != 1 {
        trial.fail(scenario, if is_full { 1 } else { 23 }, &mut tally);
    }
    let whose = if subject.is_reference { "reference " } else { "" };
    let Tally { calls, kills, errors, leaks, late, torn, dirty, ended, .. } = tally;
    println!(
        "{:24} {:13} {calls:5} {kills:5} {errors:6} {leaks:5} {late:8} {torn:4} {dirty:9} {ended:5}",
        format!("{whose}{}", subject.name),
        format!("{}, then {}", scenario.verb.name(), scenario.cleaned_by.name()),
    );
    if subject.is_reference {
        return ExitCode::SUCCESS;
    }
    tally.told.iter().for_each(|text| println!("{text}\n"));
    if leaks + late + torn + dirty == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
