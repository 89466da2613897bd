//! `make bench`, the part of overlay networks: what ADD and DEL pay for ten thousand nodes, how soon a node is reached, what a
//! restart loses, what an agent takes among a thousand nodes, and what the tunnel lets through. Each figure is printed with
//! its bound, beside what it is compared with in the same run, and a bound that is missed ends it with an error.
//!
//! `QUICK=1` takes fewer rounds. Names of parts choose what is measured. Each part has a sandbox of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that cannot go on ends"
)]
#![allow(clippy::print_stdout, reason = "it prints figures")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]
#![allow(clippy::disallowed_methods, reason = "it starts programs and reads QUICK")]
#![allow(dead_code, reason = "the tests use the rest")]

#[path = "bench/bars.rs"]
mod bars;
#[path = "bench/calls.rs"]
mod calls;
mod cluster;
mod containers;
#[path = "../bench/figures.rs"]
mod figures;
mod host;
#[path = "bench/idle.rs"]
mod idle;
#[path = "bench/join.rs"]
mod join;
mod ping;
mod programs;
#[path = "bench/restarts.rs"]
mod restarts;
mod simulated;
#[path = "bench/start.rs"]
mod start;
#[path = "bench/tunnel.rs"]
mod tunnel;

use std::process::ExitCode;
use std::time::Instant;

use bars::Bars;

/// Measures one part. With `true` it takes fewer rounds.
type Part = fn(bool, &mut Bars);

/// The parts, in the order of the output.
const PARTS: [(&str, Part); 6] = [
    ("calls", calls::measure),
    ("join", join::measure),
    ("restarts", restarts::measure),
    ("start", start::measure),
    ("idle", idle::measure),
    ("tunnel", tunnel::measure),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|first| first == calls::SERVE) {
        calls::serve(&args[1]);
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = args.iter().find(|name| PARTS.iter().all(|(known, _)| known != name)) {
        println!(
            "make bench: nothing is called {unknown}; there are {}",
            PARTS.map(|(name, _)| name).join(", ")
        );
        return ExitCode::FAILURE;
    }
    let chosen: Vec<&(&str, Part)> =
        PARTS.iter().filter(|(name, _)| args.is_empty() || args.iter().any(|arg| arg == name)).collect();
    if sandbox::is_inside() {
        sandbox::prepare();
        let is_quick = std::env::var_os("QUICK").is_some_and(|value| value != "0" && !value.is_empty());
        let mut bars = Bars::default();
        for (_, part) in chosen {
            part(is_quick, &mut bars);
        }
        return bars.verdict();
    }
    let mut missed = Vec::new();
    println!("\nOverlay networks (cleat-overlay)");
    for (name, _) in chosen {
        let start = Instant::now();
        let status = sandbox::sandboxed().arg(name).status().expect("start unshare(1) of util-linux");
        println!("  ({name}: {:.0} s)", start.elapsed().as_secs_f64());
        if !status.success() {
            missed.push(*name);
        }
    }
    if missed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\nmake bench: bounds are MISSED, or nothing was measured: {}", missed.join(", "));
    ExitCode::FAILURE
}
