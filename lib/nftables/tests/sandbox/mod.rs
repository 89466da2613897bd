//! Runs a test in namespaces of its own, as root there, so that nothing on the host is seen or touched.
//!
//! The test's program is started once more through `unshare`, with the one test to run. Where that cannot be done
//! the test fails.

#![allow(clippy::disallowed_methods, reason = "tests start nft, ip and themselves")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something fails"
)]
#![allow(dead_code, reason = "not every test starts programs")]

use std::io::Write;
use std::process::{Command, Stdio};

const INSIDE: &str = "CLEAT_SANDBOX";

/// Runs `body` in fresh user, network, mount and process namespaces. `test` is the name of the calling test.
pub(crate) fn run(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        program("ip", &["link", "set", "lo", "up"], "");
        return body();
    }
    let output = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare (util-linux) is needed");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stdout.contains("1 passed"), "in the sandbox:\n{stdout}\n{stderr}");
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
