//! `make bench`: the same work done by this suite, by the reference plugins, those of Debian 12 and the newest, and by
//! netavark, in turn, in one sandbox. It prints medians, 95th percentiles and ratios, and the limits of the ratios. All others
//! come from Debian's packages (`tests/bench/packages`, `tests/tools/newer`). `QUICK=1` takes fewer rounds and fewer
//! containers. `README=1` writes chart and tables. `BENCH="lives path"` chooses what is measured. `BENCH=profile` shows where
//! the time goes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that cannot go on ends"
)]
#![allow(clippy::print_stdout, reason = "it prints figures")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]
#![allow(
    clippy::disallowed_methods,
    reason = "it starts programs and reads QUICK, README and REFERENCE_VERSION"
)]

mod background;
mod chart;
mod crowd;
mod figures;
mod floor;
mod host;
mod leases;
mod level;
mod lives;
mod macvlan;
mod names;
mod netavark;
mod path;
mod plugins;
mod profile;
mod size;
mod suites;
mod summary;
mod tenants;
mod udp;

use std::process::ExitCode;
use std::time::Instant;

use background::wait_for_namespaces;
use suites::Suite;
use summary::Summary;

/// Measures and prints one part of the bench, and adds its rows to the summary.
type Part = fn(&Scale, &mut Summary);

/// The parts that can be chosen, in the order of the output.
const PARTS: [(&str, Part); 9] = [
    ("lives", lives::measure),
    ("crowd", crowd::measure),
    ("macvlan", |scale, summary| macvlan::measure(scale.rounds, summary)),
    ("udp", |scale, summary| udp::measure(scale.rounds, summary)),
    ("names", |scale, _| names::measure(scale)),
    ("path", |scale, summary| path::measure(scale.rounds, summary)),
    ("leases", |scale, summary| leases::measure(scale.rounds, summary)),
    ("tenants", |scale, _| tenants::measure(scale.rounds)),
    ("size", |_, summary| size::measure(summary)),
];

/// A part that runs only if it is chosen.
const PROFILE: &str = "profile";

/// How much is measured.
pub(crate) struct Scale {
    /// How many times each measurement is repeated.
    pub rounds: usize,
    /// The numbers of existing containers to measure with.
    pub counts: &'static [usize],
    /// How many whole lives the other suites lead, for each of [`lives::IN_FLIGHT`]: one by one, a hundred of the slowest take
    /// half a minute.
    pub others: [usize; lives::IN_FLIGHT.len()],
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if floor::is_asked(&arguments) {
        return ExitCode::SUCCESS;
    }
    match sandbox::isolated_program() {
        None => measure(&arguments[1..]),
        Some(status) if status.success() => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    }
}

fn measure(chosen: &[String]) -> ExitCode {
    let known: Vec<&str> = PARTS.iter().map(|(name, _)| *name).chain([PROFILE]).collect();
    if let Some(unknown) = chosen.iter().find(|name| !known.contains(&name.as_str())) {
        println!("make bench: nothing is called {unknown}; there are {}", known.join(", "));
        return ExitCode::FAILURE;
    }
    for program in Suite::ALL.map(|suite| suite.program("bridge")) {
        if !program.exists() {
            println!(
                "make bench: {} is missing: run `make bench` as root, which installs it",
                program.display()
            );
            return ExitCode::FAILURE;
        }
    }
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| value != "0" && !value.is_empty());
    if is_set("README") && !chosen.is_empty() {
        println!("make bench: README=1 takes all of the bench, not only {}", chosen.join(", "));
        return ExitCode::FAILURE;
    }
    let scale = if is_set("QUICK") {
        Scale { rounds: 6, counts: &[100], others: [8, 20, 0] }
    } else {
        Scale { rounds: 30, counts: &[500, 5000], others: [30, 100, 100] }
    };
    Suite::prepare();
    println!("{}", summary::machine());
    let mut summary = Summary::default();
    for (name, part) in PARTS {
        if chosen.is_empty() || chosen.iter().any(|chosen| chosen == name) {
            let start = Instant::now();
            part(&scale, &mut summary);
            wait_for_namespaces();
            println!("  ({name}: {:.0} s)", start.elapsed().as_secs_f64());
        }
    }
    if chosen.iter().any(|chosen| chosen == PROFILE) {
        profile::measure(scale.rounds);
    }
    println!("\n{}", summary.markdown());
    if is_set("README") {
        summary.write();
    }
    ExitCode::SUCCESS
}
