//! What the tests share: a sandbox with its loopback up, and programs in it.

#![allow(clippy::disallowed_methods, reason = "tests start nft and ip")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something fails")]
#![allow(dead_code, reason = "not every test starts programs")]

use std::io::Write;
use std::process::{Command, Stdio};

/// Runs the calling test in a sandbox whose loopback is up.
pub(crate) fn run(body: impl FnOnce()) {
    sandbox::isolated(|| {
        program("ip", &["link", "set", "lo", "up"], "");
        body();
    });
}

/// Runs a program with `input` on its standard input and returns its standard output; it must succeed.
pub(crate) fn program(name: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(name)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{name} is needed: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}: {stderr}\n{input}");
    String::from_utf8(output.stdout).unwrap()
}
