//! The kernel's part on a node of its own, compared with what ip(8) and bridge(8) show.

#![allow(clippy::disallowed_methods, reason = "tests start programs")]

mod conflicts;
mod device;
mod events;
mod mending;
mod packets;
mod peers;
mod underlay;
mod wireguard;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{Applied, Event, Kernel};
use crate::record::{Backend, Mac};
use crate::wanted::{Device, Identity, Peer, Wanted};

/// Runs a test on a node of its own with the interface eth0.
fn on_a_node(test: impl AsyncFnOnce(&mut Kernel)) {
    sandbox::isolated(|| {
        shell(
            "ip link set lo up; ip link add eth0 type veth peer name wire; ip link set wire up; ip link set eth0 up
             ip addr add 198.51.100.1/24 dev eth0; ip addr add 2001:db8:51::1/64 dev eth0 nodad",
        );
        block_on(async || {
            let mut kernel = Kernel::open().unwrap();
            kernel.underlay(Some("eth0"), None).await.unwrap();
            test(&mut kernel).await;
        });
    });
}

fn block_on(test: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test());
}

/// Runs a shell line, and returns what it writes.
fn shell(line: &str) -> String {
    let output = Command::new("sh").args(["-ec", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a program with `-j` writes.
fn json(line: &str) -> Vec<Value> {
    serde_json::from_str(&shell(line)).unwrap()
}

fn mac(number: u16) -> Mac {
    let [high, low] = number.to_be_bytes();
    Mac([2, 0, 0, 0, high, low])
}

/// Node 1 of a network of both families, with the first nodes of it as peers.
fn wanted(peers: u16) -> Wanted {
    let underlay = json("ip -j link show eth0")[0]["ifindex"].as_u64().unwrap();
    Wanted {
        device: Device {
            name: "vx1".to_owned(),
            backend: Backend::Vxlan,
            vni: 4711,
            port: 4789,
            local: [198, 51, 100, 1].into(),
            underlay: u32::try_from(underlay).unwrap(),
            mac: mac(1),
            key: None,
            mtu: 1450,
            blocks: blocks(1),
        },
        peers: (2..peers + 2).map(|number| (format!("node{number:05}"), peer(number))).collect(),
        prefixes: ["10.128.0.0/9", "fd00:201::/32"].map(|prefix| prefix.parse().unwrap()).to_vec(),
    }
}

fn blocks(number: u16) -> Vec<ipnetwork::IpNetwork> {
    let v4 = 0x0a80_0000_u32 + (u32::from(number) << 8);
    let v6 = format!("fd00:201:{number:x}::/48");
    vec![format!("{}/24", std::net::Ipv4Addr::from(v4)).parse().unwrap(), v6.parse().unwrap()]
}

fn peer(number: u16) -> Peer {
    let [high, low] = number.to_be_bytes();
    Peer {
        address: [198, 51, high + 100, low].into(),
        identity: Identity::Mac(mac(number)),
        blocks: blocks(number),
    }
}

/// The same over IPv6.
fn over_v6(mut wanted: Wanted) -> Wanted {
    wanted.device.local = "2001:db8:51::1".parse().unwrap();
    wanted.device.mtu = 1430;
    for peer in wanted.peers.values_mut() {
        let IpAddr::V4(address) = peer.address else { continue };
        let number = address.octets()[3];
        peer.address = format!("2001:db8:51::{number:x}").parse().unwrap();
    }
    wanted
}

/// Applies, and expects that nothing was refused.
async fn apply(kernel: &Kernel, wanted: &Wanted) -> Applied {
    let applied = kernel.apply(wanted).await.unwrap();
    assert!(applied.refused.is_empty(), "{applied:?}");
    applied
}

/// Applies, and expects that nothing was written.
async fn is_settled(kernel: &Kernel, wanted: &Wanted) {
    let applied = apply(kernel, wanted).await;
    assert!(applied.made == 0 && applied.removed == 0, "{applied:?}");
}

/// All that the network has in the kernel, as lines that do not depend on order: what a test compares before and after.
fn state(device: &str) -> Vec<String> {
    let mut lines = vec![shell(&format!(
        "ip -d -o link show {device} | sed 's/^[0-9]*: //; s/promiscuity.*vxlan/vxlan/; s/addrgenmode/\\n&/'"
    ))];
    for line in [
        format!("ip -o addr show dev {device} | sed 's/^[0-9]*: //'"),
        format!("bridge fdb show dev {device}"),
        format!("ip neigh show dev {device} nud permanent"),
        format!("ip -6 neigh show dev {device} nud permanent"),
        "ip route show proto 76".to_owned(),
        "ip -6 route show proto 76".to_owned(),
    ] {
        let mut found: Vec<String> = shell(&line).lines().map(|line| line.trim().to_owned()).collect();
        found.sort();
        lines.extend(found);
    }
    lines
}

/// The next event, which must come.
async fn event(kernel: &mut Kernel, wanted: &Wanted) -> Event {
    let event = kernel.event(&wanted.device.name, wanted.device.underlay);
    tokio::time::timeout(Duration::from_secs(5), event).await.expect("an event")
}

/// An event comes after a change, perhaps after others.
async fn is_told(kernel: &mut Kernel, wanted: &Wanted, expected: Event, change: &str) {
    let mut told = Vec::new();
    while told.last() != Some(&expected) {
        let event = kernel.event(&wanted.device.name, wanted.device.underlay);
        let event = tokio::time::timeout(Duration::from_secs(5), event).await;
        told.push(event.unwrap_or_else(|_| panic!("{change}: {told:?}, and not {expected:?}")));
    }
}

/// Passes over events until there are none.
async fn drain(kernel: &mut Kernel, wanted: &Wanted) {
    let mut is_quiet = false;
    while !is_quiet {
        let event = kernel.event(&wanted.device.name, wanted.device.underlay);
        is_quiet = tokio::time::timeout(Duration::from_millis(200), event).await.is_err();
    }
}

/// There is no event, by the time that one after it has come.
async fn is_quiet(kernel: &mut Kernel, wanted: &Wanted) {
    let event = kernel.event(&wanted.device.name, wanted.device.underlay);
    let event = tokio::time::timeout(Duration::from_millis(300), event).await;
    assert!(event.is_err(), "{event:?}");
}

/// The entries that programs show, by name.
fn shown(wanted: &Wanted) -> BTreeMap<&'static str, usize> {
    let name = &wanted.device.name;
    let count = |line: String| json(&line).len();
    BTreeMap::from([
        ("fdb", count(format!("bridge -j fdb show dev {name}"))),
        ("neigh", count(format!("ip -j -4 neigh show dev {name} nud permanent"))),
        ("neigh6", count(format!("ip -j -6 neigh show dev {name} nud permanent"))),
        ("routes", count(format!("ip -j -4 route show dev {name} proto 76"))),
        ("routes6", count(format!("ip -j -6 route show dev {name} proto 76"))),
    ])
}
