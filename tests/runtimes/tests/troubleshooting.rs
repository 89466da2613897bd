//! docs/troubleshooting.md quotes what runtimes print: the messages are those of the runtimes that Debian has.

use runtimes::cri::{Cri, PodSpec};
use runtimes::{Containerd, IMAGE, Machine, Podman, Release, eventually, machine};
use serde_json::{Value, json};

use crate::cri::await_network;

/// The network configuration that conf/ has for containerd, with a place for one container.
fn small() -> Value {
    let mut network: Value =
        serde_json::from_str(include_str!("../../../conf/containerd/10-containerd-net.conflist")).unwrap();
    network["plugins"][0]["ipam"]["ranges"] = json!([[{ "subnet": "10.94.0.0/30" }]]);
    network["plugins"][0]["ipam"]["routes"] = json!([{ "dst": "0.0.0.0/0" }]);
    network
}

/// Whether the page has a block of a runtime with such a line: `…` stands for any text.
fn is_quoted(message: &str) {
    let page = include_str!("../../../docs/troubleshooting.md");
    let quoted = page.split("\n```console\n").skip(1).map(|rest| rest.split("\n```").next().unwrap());
    let says = |line: &str| {
        let mut rest = message;
        line.split('…').all(|part| match rest.find(part) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
    };
    assert!(quoted.flat_map(str::lines).any(says), "docs/troubleshooting.md does not quote: {message}");
}

#[test]
fn what_containerd_says_is_quoted() {
    machine(|machine: &Machine| {
        let containerd = Containerd::start(Release::Debian12);
        let cri = Cri::new(containerd.socket());
        let (is_ready, message) = cri.network_status().unwrap();
        assert!(!is_ready);
        is_quoted(&message);
        machine.network("10-pods.conflist", &small());
        await_network(&cri);
        let spec = |name: &str| PodSpec { name: name.to_owned(), ..PodSpec::default() };
        cri.run_pod(&spec("only")).unwrap();
        is_quoted(cri.run_pod(&spec("second")).unwrap_err().message());
        // A plugin that is not in the runtime's folder.
        let mut absent = small();
        absent["plugins"][0]["type"] = json!("brigde");
        machine.network("10-pods.conflist", &absent);
        let message = eventually("the other network", || match cri.run_pod(&spec("third")) {
            Err(status) if status.message().contains("brigde") => Ok(status.message().to_owned()),
            other => Err(format!("{other:?}")),
        });
        is_quoted(&message);
    });
}

#[test]
fn what_podman_says_is_quoted() {
    machine(|machine: &Machine| {
        let mut network = small();
        network["name"] = json!("small");
        network["cniVersion"] = json!("0.4.0");
        machine.network("20-small.conflist", &network);
        let podman = Podman::new();
        podman.run(&["run", "-d", "--network", "small", IMAGE, "sleep", "100"]);
        let message = podman.try_run(&["run", "--rm", "--network", "small", IMAGE, "true"]).unwrap_err();
        is_quoted(&message);
    });
}
