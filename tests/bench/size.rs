//! The programs' size, and the most memory that each takes for an ADD.

use std::fs;
use std::process::{Command, Stdio};

use nix::sys::resource::{UsageWho, getrusage};

use crate::suites::Suite;

const ARGUMENT: &str = "--memory-of";

/// Prints both for both suites.
pub(crate) fn measure() {
    println!("\nsize of the programs in MB, and peak memory of a VERSION in MB");
    println!("  {:12} {:>8} {:>8} {:>12} {:>8}", "", "cleat", "memory", "reference", "memory");
    for plugin in ["bridge", "host-local", "portmap", "loopback"] {
        let [ours, theirs] = [Suite::cleat(), Suite::reference()].map(|suite| {
            let program = suite.program(plugin);
            let size = fs::metadata(&program).unwrap().len() as f64 / 1e6;
            let own = std::env::current_exe().unwrap();
            let output = Command::new(own).arg(ARGUMENT).arg(&program).output().unwrap();
            let kilobytes: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap();
            (size, kilobytes / 1e3)
        });
        println!("  {plugin:12} {:8.2} {:8.1} {:12.2} {:8.1}", ours.0, ours.1, theirs.0, theirs.1);
    }
}

/// Whether this process was started to run one program, and printed the memory that it took in kB (`getrusage(2)`).
pub(crate) fn is_asked(arguments: &[String]) -> bool {
    let [_, argument, program] = arguments else { return false };
    if argument != ARGUMENT {
        return false;
    }
    let mut command = Command::new(program);
    command.env("CNI_COMMAND", "VERSION").stdin(Stdio::null()).stdout(Stdio::null());
    command.status().unwrap();
    println!("{}", getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss());
    true
}
