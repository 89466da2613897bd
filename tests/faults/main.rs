//! Faults at every system call: killed there, or told an error. Afterwards nothing may be left, and nothing half said.
//!
//! `make test-faults` goes through every call of every plugin and prints a table, with the kill table of the reference's
//! plugins beside it. Within `cargo test` it takes every so manieth call. Words on the command line choose plugins.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::print_stdout, reason = "it prints a table")]
#![allow(clippy::disallowed_methods, reason = "it starts programs and reads FULL")]

mod errors;
mod subject;
mod tracer;
mod trial;

use std::process::ExitCode;

use sandbox::Host;
use subject::{Subject, Verb};
use trial::{Scenario, Tally, Trial};

/// What follows what.
const SCENARIOS: [Scenario; 4] = [
    Scenario { verb: Verb::Add, cleaned_by: Verb::Del },
    Scenario { verb: Verb::Add, cleaned_by: Verb::Gc },
    Scenario { verb: Verb::Del, cleaned_by: Verb::Del },
    Scenario { verb: Verb::Gc, cleaned_by: Verb::Gc },
];

fn main() -> ExitCode {
    match sandbox::isolated_program() {
        None => test(),
        Some(status) if status.success() => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    }
}

fn test() -> ExitCode {
    let is_full = std::env::var_os("FULL").is_some_and(|value| value != "0");
    let chosen: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let is_chosen = |subject: &Subject| chosen.is_empty() || chosen.iter().any(|name| name == subject.name);
    let _host = Host::new();
    heading();
    let mut faults = 0;
    for subject in subject::ours().iter().filter(|subject| is_chosen(subject)) {
        for (index, scenario) in SCENARIOS.into_iter().enumerate() {
            if !subject.has(scenario.verb) || !subject.has(scenario.cleaned_by) {
                continue;
            }
            let mut tally = Tally::default();
            let mut trial = Trial::new(subject);
            trial.kill(scenario, |calls| if is_full { 1 } else { calls / 12 }, &mut tally);
            // GC behind a failed call is the same call again.
            if index != 1 {
                trial.fail(scenario, if is_full { 1 } else { 23 }, &mut tally);
            }
            line(subject, scenario, &tally);
            let found = tally.leaks + tally.late + tally.torn + tally.dirty;
            if found > 0 || is_full {
                tally.told.iter().for_each(|text| println!("{text}\n"));
            }
            faults += found;
        }
    }
    if is_full {
        for subject in subject::references().iter().filter(|subject| is_chosen(subject)) {
            for scenario in SCENARIOS {
                if !subject.has(scenario.verb) || !subject.has(scenario.cleaned_by) {
                    continue;
                }
                let mut tally = Tally::default();
                Trial::new(subject).kill(scenario, |calls| calls / 20, &mut tally);
                line(subject, scenario, &tally);
            }
        }
    }
    if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn heading() {
    println!(
        "{:22} {:14} {:>5} {:>6} {:>7} {:>6} {:>9} {:>5} {:>10}",
        "", "", "calls", "kills", "errors", "leaks", "until GC", "torn", "half done"
    );
}

fn line(subject: &Subject, scenario: Scenario, tally: &Tally) {
    let whose = if subject.is_reference { "reference " } else { "" };
    let Tally { calls, kills, errors, leaks, late, torn, dirty, .. } = tally;
    println!(
        "{:22} {:14} {calls:5} {kills:6} {errors:7} {leaks:6} {late:9} {torn:5} {dirty:10}",
        format!("{whose}{}", subject.name),
        format!("{}, then {}", scenario.verb.name(), scenario.cleaned_by.name()),
    );
}
