//! Several hosts on one wire, each with an address of both families.

use std::process::Command;

use crate::host::Namespaced;

/// Makes the wire: a switch in this namespace.
pub fn wire() {
    shell("ip link add wire type bridge && ip link set wire up");
}

/// Connects a host to the wire: its interface eth0 has `198.51.100.NUMBER` and `2001:db8:51::NUMBER` (documentation ranges, RFC
/// 5737 and RFC 3849).
pub fn plug(host: &Namespaced, number: usize) {
    shell(&format!(
        "ip link add wire{number} type veth peer name eth0 netns {name} && ip link set wire{number} master wire up",
        name = host.name()
    ));
    host.enter(|| {
        shell(&format!(
            "echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad; ip link set eth0 up
             ip addr add 198.51.100.{number}/24 dev eth0; ip addr add 2001:db8:51::{number}/64 dev eth0 nodad
             until ip -6 addr show dev eth0 scope link -tentative | grep -q fe80; do sleep 0.02; done"
        ));
    });
}

fn shell(line: &str) {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}
