//! `make bench`: the same work done by this suite and by the reference plugins, in turn, in one sandbox. It prints
//! medians, 95th percentiles and ratios, and what the ratios should be; the reference comes from the Debian package
//! containernetworking-plugins (and iptables, which it runs). `QUICK=1` takes fewer rounds and fewer containers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that cannot go on ends"
)]
#![allow(clippy::print_stdout, reason = "it prints figures")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]
#![allow(clippy::disallowed_methods, reason = "it starts programs and reads QUICK and CHART")]

mod at_once;
mod chart;
mod figures;
mod floor;
mod leases;
mod lives;
mod names;
mod ports;
mod size;
mod suites;

use std::path::Path;
use std::process::ExitCode;

use suites::REFERENCE;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if floor::is_asked(&arguments) || size::is_asked(&arguments) {
        return ExitCode::SUCCESS;
    }
    match sandbox::isolated_program() {
        None => measure(),
        Some(status) if status.success() => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    }
}

fn measure() -> ExitCode {
    if !Path::new(REFERENCE).join("bridge").exists() {
        println!(
            "make bench: no reference plugins in {REFERENCE}; as root: apt-get install containernetworking-plugins iptables"
        );
        return ExitCode::FAILURE;
    }
    let quick = std::env::var_os("QUICK").is_some_and(|value| value != "0");
    let (rounds, counts) = if quick { (10, &[0, 100][..]) } else { (30, &[0, 500, 5000][..]) };
    let machine = chart::machine();
    println!("{machine}");
    let floor = floor::measure(rounds);
    let levels = lives::measure(counts, rounds);
    lives::judge(&levels, &floor);
    at_once::measure();
    names::measure(rounds);
    ports::measure(rounds);
    leases::measure(rounds);
    size::measure();
    if let Some(path) = std::env::var_os("CHART") {
        std::fs::write(&path, chart::draw(&levels, &machine)).expect("write the chart");
        println!("\nchart: {}", Path::new(&path).display());
    }
    ExitCode::SUCCESS
}
