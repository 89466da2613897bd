//! Scenarios that people know from Docker, with `cleat`'s own commands. Each test names the Docker command that it replays,
//! sends real packets, and leaves nothing on the host.

mod firewall;
mod members;
mod names;
mod networks;
mod outside;
mod several;
mod way_out;

use std::fs;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use sandbox::{Host, Snapshot, isolated};
use serde_json::Value;

use crate::shared::cleat::{NETWORKS, cleat};

/// Docker's default network: containers reach each other by address, and by name only over links.
const DEFAULT: &str = r#"{"cniVersion": "1.0.0", "name": "bridge", "plugins": [
    {"type": "bridge", "bridge": "docker0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
     "ingress": "published", "ipam": {"type": "host-local", "ranges": [[{"subnet": "172.17.0.0/16"}]],
     "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "host-port", "capabilities": {"portMappings": true}},
    {"type": "link-env", "names": "links", "capabilities": {"portMappings": true, "aliases": true}}]}"#;

/// Runs a scenario on a host with the default network. Afterwards nothing of it may be left.
fn story(tell: impl FnOnce(&Host)) {
    isolated(|| {
        let host = Host::new();
        fs::create_dir_all(NETWORKS).unwrap();
        fs::write(format!("{NETWORKS}/10-bridge.conflist"), DEFAULT).unwrap();
        // No DNS server runs here: looking up a name that is in no hosts file fails at once.
        fs::write("/run/resolv.conf", "nameserver 127.0.0.1\n").unwrap();
        let bind = ["--bind", "/run/resolv.conf", "/etc/resolv.conf"];
        assert!(Command::new("mount").args(bind).status().unwrap().success());
        let before = Snapshot::take();
        tell(&host);
        before.assert_unchanged();
    });
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A verb that succeeds, written as one would type it; what it prints.
fn ok(line: &str) -> String {
    let output = cleat(&words(line)).output().unwrap();
    assert!(output.status.success(), "cleat {line}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// A verb that is refused; what it says.
fn refused(line: &str) -> String {
    let output = cleat(&words(line)).output().unwrap();
    assert!(!output.status.success(), "cleat {line}: {}", said(&output));
    said(&output)
}

/// A verb's JSON.
fn json(line: &str) -> Value {
    let text = ok(&format!("{line} --json"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("cleat {line}: {error}: {text}"))
}

fn words(line: &str) -> Vec<&str> {
    line.split_ascii_whitespace().collect()
}

/// A container in the background: `options` of `cleat run`, and the line that its shell runs.
fn up(options: &str, line: &str) -> String {
    let mut command = cleat(&["run", "-d", "--rm"]);
    let output = command.args(words(options)).args(["--", "sh", "-c", line]).output().unwrap();
    assert!(output.status.success(), "cleat run -d {options}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A container in the foreground: whether its shell line succeeds, and its output.
fn run(options: &str, line: &str) -> (bool, String) {
    let output = cleat(&["run"]).args(words(options)).args(["--", "sh", "-c", line]).output().unwrap();
    (output.status.success(), said(&output))
}

fn down(names: &str) {
    // Two seconds for a process that does not end at the signal, instead of Docker's ten.
    ok(&format!("stop -t 2 {names}"));
}

/// The shell line of a server that answers each connection with a text.
fn serving(port: u16, text: &str) -> String {
    format!("exec busybox nc -ll -p {port} -e echo {text}")
}

/// The ID of a container's process.
fn process(name: &str) -> String {
    let all = json("ps");
    let found = all.as_array().unwrap().iter().find(|attached| attached["name"] == name);
    let netns = found.unwrap_or_else(|| panic!("no {name} in {all}"))["netns"].as_str().unwrap();
    netns.split('/').nth(2).unwrap().to_owned()
}

/// A line of the shell inside a running container, in its network and with its hosts file.
fn inside(name: &str, line: &str) -> (bool, String) {
    let mut command = Command::new("nsenter");
    command.args(["--target", &process(name), "--net", "--mount", "--uts", "--", "sh", "-c", line]);
    let output = command.output().expect("start nsenter(1) of util-linux");
    (output.status.success(), said(&output))
}

/// What a server answers to a client inside a container; empty where it cannot be reached.
fn asks(name: &str, server: &str, port: u16) -> String {
    let (answered, text) = inside(name, &format!("timeout 2 busybox nc {server} {port} </dev/null"));
    if answered { text.trim().to_owned() } else { String::new() }
}

/// The environment that a container's command was started with: the child of its first process.
fn environment(name: &str) -> Vec<String> {
    let first = process(name);
    let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
    let text = fs::read_to_string(format!("/proc/{}/environ", children.trim())).unwrap();
    text.split('\0').map(str::to_owned).collect()
}

/// Waits until a condition holds, as servers take a moment to listen.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: {}", said(&cleat(&["ps"]).output().unwrap()));
        thread::sleep(Duration::from_millis(20));
    }
}
