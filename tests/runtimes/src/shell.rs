//! Running programs, and waiting for conditions.

use std::fmt::Debug;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Runs a program to its end, and returns its standard output. Panics if the program fails.
pub fn run(command: &mut Command) -> String {
    try_run(command).unwrap_or_else(|said| panic!("{said}"))
}

/// Runs a program to its end: its standard output, or how it failed.
pub(crate) fn try_run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("start {command:?}: {error}"))?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(out);
    }
    Err(format!("{command:?}: {}\n{out}{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// Repeats an attempt until it succeeds. After half a minute it panics with the last error.
pub fn eventually<T, E: Debug>(what: &str, mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(error) => assert!(Instant::now() < deadline, "{what}: {error:?}"),
        }
        thread::sleep(Duration::from_millis(50));
    }
}
