//! Recorded calls of containerd, ctr and podman, replayed: our plugins must answer what the reference answered.
//!
//! The calls were recorded with the reference plugins under each runtime, and are in their original order. Both suites assign
//! addresses in the same order, so the recorded previous results are right for our plugins as well.

use std::collections::BTreeMap;

use sandbox::{Call, Host, Namespaced, Snapshot, isolated};
use serde_json::{Value, json};

use crate::shared::programs::program;

/// The plugins that runtimes call. host-local has a test of its own: our bridge does its work without starting it.
const OURS: [&str; 3] = ["bridge", "portmap", "loopback"];

#[test]
fn calls_of_containerd_1_6() {
    replay(include_str!("../data/calls/containerd-1.6.jsonl"));
}

#[test]
fn calls_of_containerd_2_1() {
    replay(include_str!("../data/calls/containerd-2.1.jsonl"));
}

#[test]
fn calls_of_ctr_1_6() {
    replay(include_str!("../data/calls/ctr-1.6.jsonl"));
}

#[test]
fn calls_of_podman_4_3() {
    replay(include_str!("../data/calls/podman-4.3.jsonl"));
}

/// What the reference's bridge sent to host-local under all of them.
#[test]
fn calls_to_host_local() {
    isolated(|| {
        for calls in [
            include_str!("../data/calls/containerd-1.6.jsonl"),
            include_str!("../data/calls/containerd-2.1.jsonl"),
            include_str!("../data/calls/ctr-1.6.jsonl"),
            include_str!("../data/calls/podman-4.3.jsonl"),
        ] {
            let before = Snapshot::take();
            let mut containers = BTreeMap::new();
            assert!(repeat_all(calls, &["host-local"], &mut containers) > 5);
            drop(containers);
            before.assert_unchanged();
            // Each recording began on a fresh host.
            std::fs::remove_dir_all("/var/lib/cni").unwrap();
        }
    });
}

fn replay(calls: &'static str) {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let mut containers = BTreeMap::new();
        assert!(repeat_all(calls, &OURS, &mut containers) > 10);
        drop(containers);
        before.assert_unchanged();
    });
}

/// Repeats the calls of some plugins, and returns how many there were.
fn repeat_all(calls: &str, plugins: &[&str], containers: &mut BTreeMap<String, Namespaced>) -> usize {
    let calls = calls.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let wanted = calls.filter(|call| {
        // A failure that the recording made on purpose says nothing about plugins.
        let asked_for = call["stdout"]["msg"].as_str().is_some_and(|text| text.contains("failure asked for"));
        !asked_for && plugins.contains(&call["plugin"].as_str().unwrap())
    });
    wanted.inspect(|call| repeat(call, containers)).count()
}

fn repeat(recorded: &Value, containers: &mut BTreeMap<String, Namespaced>) {
    let plugin = recorded["plugin"].as_str().unwrap();
    let env = |name: &str| recorded["env"][name].as_str().unwrap_or_default();
    let mut call = Call::new(program(plugin), env("CNI_COMMAND"), &recorded["stdin"]);
    for (name, value) in recorded["env"].as_object().unwrap() {
        if name != "CNI_PATH" {
            call = call.env(name, value.as_str().unwrap());
        }
    }
    let path = env("CNI_NETNS");
    if path.starts_with('/') {
        let number = containers.len();
        let netns =
            containers.entry(path.to_owned()).or_insert_with(|| Namespaced::new(&format!("c{number}")));
        call = call.env("CNI_NETNS", &netns.path().display().to_string());
    }
    let answer = call.run();
    let about = format!("{plugin} {recorded}");
    match env("CNI_COMMAND") {
        "ADD" => assert_eq!(comparable(&answer.result()), comparable(&recorded["stdout"]), "{about}"),
        "VERSION" => {
            let (ours, theirs) = (answer.result(), &recorded["stdout"]);
            assert_eq!(ours["cniVersion"], theirs["cniVersion"]);
            for version in theirs["supportedVersions"].as_array().unwrap() {
                assert!(ours["supportedVersions"].as_array().unwrap().contains(version), "{about}");
            }
        }
        // Some recorded DELs of the reference failed: it did not recognise a message of iptables. Ours must succeed.
        _ => answer.silent(),
    }
}

/// A result without what differs in each run: hardware addresses, the host interface's name, the namespace.
fn comparable(result: &Value) -> Value {
    let mut result = result.clone();
    // Some versions of the reference write an empty object, some leave it out.
    if result["dns"] == json!({}) {
        result.as_object_mut().unwrap().remove("dns");
    }
    for ip in result["ips"].as_array_mut().into_iter().flatten() {
        // The reference's loopback omits it even where the version demands it.
        ip.as_object_mut().unwrap().remove("version");
    }
    for interface in result["interfaces"].as_array_mut().into_iter().flatten() {
        let name = interface["name"].as_str().unwrap().to_owned();
        assert!(interface["mac"].is_string());
        interface["mac"] = json!("a hardware address");
        if name.starts_with("veth") {
            interface["name"] = json!("a veth");
        }
        if interface.get("sandbox").is_some() {
            interface["sandbox"] = json!("a namespace");
        }
    }
    result
}
