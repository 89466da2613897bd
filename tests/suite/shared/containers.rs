//! Containers with a server, on one of the shipped networks.

use std::process::Command;

use sandbox::traffic::serve_tcp;
use sandbox::{Namespaced, Snapshot};
use serde_json::json;

use crate::shared::cleat::{cleat, ok};
use crate::shared::shell::said;

/// A container with a server, attached by `cleat add` as by any runtime.
pub(crate) fn add(name: &str, network: &str, host_port: u16) -> Namespaced {
    add_as(name, name, network, host_port)
}

/// The same, in a namespace of another name.
pub(crate) fn add_as(id: &str, netns: &str, network: &str, host_port: u16) -> Namespaced {
    let netns = Namespaced::new(netns);
    serve_tcp(Some(&netns), id, "[::]:80");
    let mappings = json!({"portMappings": [{"hostPort": host_port, "containerPort": 80}]});
    let mut command = cleat(&["add", network, netns.path().to_str().unwrap(), "--id", id]);
    let output = command.env("CAP_ARGS", mappings.to_string()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    netns
}

/// Detaches a container, and removes its namespace.
#[expect(clippy::needless_pass_by_value, reason = "dropping it is what removes the namespace")]
pub(crate) fn del(network: &str, netns: Namespaced) {
    ok(&["del", network, netns.path().to_str().unwrap(), "--id", netns.name()]);
}

/// The container's link, addresses and routes, which a repair in place may not change.
pub(crate) fn inner(netns: &Namespaced) -> String {
    let list = || {
        said(&Command::new("sh").args(["-c", "ip -o link show eth0; ip -o addr show eth0 scope global; ip route; ip -6 route show default"]).output().unwrap())
    };
    netns.enter(list)
}

/// The state of the host without files, and without link-local addresses, which the kernel assigns some time later.
pub(crate) fn steady() -> Vec<String> {
    let now = Snapshot::take();
    let is_steady = |line: &&str| !line.contains("fe80:") && !line.starts_with("file ");
    now.lines().filter(is_steady).map(str::to_owned).collect()
}
