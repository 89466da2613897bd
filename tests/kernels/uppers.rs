//! ipvlan in each mode, macvlan, and networks on VLANs of an interface, with real packets, on a kernel that has all of them:
//! `make test-kernels` runs this in an emulated machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests start programs")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Answer, Call, Host, Namespaced, Snapshot, isolated};
use serde_json::{Value, json};

const IPVLAN: &str = env!("CARGO_BIN_EXE_ipvlan");
const MACVLAN: &str = env!("CARGO_BIN_EXE_macvlan");
const CLEAT: &str = env!("CARGO_BIN_EXE_cleat");
const NETWORKS: &str = "/run/net.d";

/// A network on the uplink: addresses of the uplink's own subnet.
fn conf(program: &str, keys: &Value) -> Value {
    let kind = Path::new(program).file_name().unwrap().to_str().unwrap();
    let mut conf = json!({
        "cniVersion": "1.1.0", "name": "lan", "type": kind, "master": "uplink",
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "192.0.2.0/24", "rangeStart": "192.0.2.64", "gateway": "192.0.2.2"}]],
            "routes": [{"dst": "0.0.0.0/0"}]
        }
    });
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    conf
}

fn call(program: &str, verb: &str, conf: &Value, netns: &Namespaced) -> Answer {
    Call::new(program, verb, conf).of(netns.name(), netns, "eth0").run()
}

fn shell(line: &str) {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", said(&output));
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}

fn cleat(args: &[&str]) -> Output {
    let folder = Path::new(CLEAT).parent().unwrap();
    Command::new(CLEAT).args(args).env("CNI_PATH", folder).env("NETCONFPATH", NETWORKS).output().unwrap()
}

fn ok(args: &[&str]) -> String {
    let output = cleat(args);
    assert!(output.status.success(), "{args:?}: {}", said(&output));
    said(&output)
}

/// Containers reach each other in each mode, and the host in none. Outside hosts are reached in mode l2, and in the others by a
/// route back.
#[test]
fn ipvlan_reaches_whom_each_mode_says() {
    isolated(|| {
        let host = Host::new();
        serve_tcp(Some(&host.outside), "outside", "0.0.0.0:80");
        let before = Snapshot::take();
        for mode in ["l2", "l3", "l3s"] {
            let conf = conf(IPVLAN, &json!({"mode": mode}));
            Call::new(IPVLAN, "STATUS", &conf).run().silent();
            let (a, b) = (Namespaced::new("a"), Namespaced::new("b"));
            let mut checked = conf.clone();
            for netns in [&a, &b] {
                checked["prevResult"] = call(IPVLAN, "ADD", &conf, netns).result();
                call(IPVLAN, "CHECK", &checked, netns).silent();
                serve_tcp(Some(netns), netns.name(), "0.0.0.0:80");
            }
            let address = |result: &Value| {
                let text = result["ips"][0]["address"].as_str().unwrap();
                text.split('/').next().unwrap().to_owned()
            };
            let last = address(&checked["prevResult"]);
            assert!(ask_tcp(Some(&a), &format!("{last}:80")).unwrap().starts_with("b sees"), "{mode}");
            if mode == "l2" {
                assert!(ask_tcp(Some(&a), "192.0.2.2:80").unwrap().starts_with("outside sees"));
                assert!(ask_tcp(Some(&host.outside), &format!("{last}:80")).unwrap().starts_with("b sees"));
            } else {
                // Nobody answers for the container's address there: outside needs its neighbour by hand.
                let uplink = netlink::Socket::open().unwrap().get_link("uplink").unwrap().unwrap();
                let mac = uplink.mac.unwrap();
                host.outside.enter(|| {
                    shell(&format!("ip neigh replace {last} dev eth0 lladdr {mac}"));
                });
                assert!(
                    ask_tcp(Some(&host.outside), &format!("{last}:80")).unwrap().starts_with("b sees"),
                    "{mode}"
                );
            }
            assert!(ask_tcp(None, &format!("{last}:80")).is_err(), "{mode}: from the host");
            // The hardware address is the master's, and the mode is what CHECK compares.
            let (code, other) = {
                checked["mode"] = json!(if mode == "l2" { "l3" } else { "l2" });
                call(IPVLAN, "CHECK", &checked, &b).error()
            };
            assert!(code == 101 && other.contains(&format!("is in mode {mode}")), "{other}");
            for netns in [&a, &b] {
                call(IPVLAN, "DEL", &conf, netns).silent();
                netns.enter(|| shell("! ip link show eth0 2>/dev/null"));
            }
            drop((a, b));
            before.assert_unchanged();
        }
    });
}

#[test]
fn a_master_has_one_of_both_kinds() {
    isolated(|| {
        let _host = Host::new();
        let (a, b) = (Namespaced::new("a"), Namespaced::new("b"));
        let (ours, theirs) = (conf(IPVLAN, &json!({})), conf(MACVLAN, &json!({})));
        let _ = call(IPVLAN, "ADD", &ours, &a).result();
        let (code, said) = call(MACVLAN, "ADD", &theirs, &b).error();
        assert!(code == 7 && said.contains("link uplink cannot have a macvlan"), "{said}");
        b.enter(|| shell("! ip link show eth0 2>/dev/null"));
        call(IPVLAN, "DEL", &ours, &a).silent();
        let _ = call(MACVLAN, "ADD", &theirs, &b).result();
        let (code, said) = call(IPVLAN, "ADD", &ours, &a).error();
        assert!(code == 7 && said.contains("link uplink cannot have a ipvlan"), "{said}");
    });
}

#[test]
fn neighbours_reach_a_macvlan_container_and_a_hardware_address_is_given_once() {
    isolated(|| {
        let host = Host::new();
        let (a, b) = (Namespaced::new("a"), Namespaced::new("b"));
        let conf = conf(MACVLAN, &json!({"mac": "02:00:00:00:00:77"}));
        let _ = call(MACVLAN, "ADD", &conf, &a).result();
        serve_tcp(Some(&a), "a", "0.0.0.0:80");
        assert!(ask_tcp(Some(&host.outside), "192.0.2.64:80").unwrap().starts_with("a sees"));
        let (code, said) = call(MACVLAN, "ADD", &conf, &b).error();
        assert!(code == 102 && said.contains("is in use on master uplink"), "{said}");
    });
}

/// Two networks on VLANs of one interface: each reaches its own VLAN outside. The interfaces come and go with the networks.
#[test]
fn vlans_are_made_and_removed_with_their_networks() {
    isolated(|| {
        let host = Host::new();
        fs::create_dir_all(NETWORKS).unwrap();
        let before = Snapshot::take();
        for vlan in [50, 60] {
            host.outside.enter(|| {
                shell(&format!(
                    "ip link add link eth0 name eth0.{vlan} type vlan id {vlan} && ip addr add 10.{vlan}.0.2/24 dev eth0.{vlan} && \
                     ip link set eth0.{vlan} up"
                ));
            });
            serve_tcp(Some(&host.outside), &format!("vlan{vlan}"), &format!("10.{vlan}.0.2:80"));
        }
        for (driver, vlan) in [("macvlan", 50), ("ipvlan", 60)] {
            let (parent, subnet) = (format!("parent=uplink.{vlan}"), format!("10.{vlan}.0.0/24"));
            let name = format!("lab{vlan}");
            ok(&[
                "network",
                "create",
                "-d",
                driver,
                "-o",
                &parent,
                "--subnet",
                &subnet,
                "--ip-range",
                &format!("10.{vlan}.0.64/26"),
                &name,
            ]);
            ok(&["conf", "check", &format!("{NETWORKS}/zz-{name}.conflist")]);
            shell(&format!("ip -d link show uplink.{vlan} up | grep -q 'id {vlan}'"));
            let netns = Namespaced::new("c");
            let path = netns.path().to_str().unwrap();
            ok(&["add", &name, path, "--id", "c"]);
            let answer = ask_tcp(Some(&netns), &format!("10.{vlan}.0.2:80")).unwrap();
            assert!(answer.starts_with(&format!("vlan{vlan} sees")), "{answer}");
            ok(&["check"]);
            ok(&["del", &name, path, "--id", "c"]);
        }
        // A second network on the first one's VLAN keeps it.
        ok(&["network", "create", "-d", "macvlan", "-o", "parent=uplink.50", "second"]);
        ok(&["network", "rm", "lab50"]);
        shell("ip link show uplink.50 >/dev/null");
        ok(&["network", "rm", "second", "lab60"]);
        shell("! ip link show uplink.50 2>/dev/null && ! ip link show uplink.60 2>/dev/null");
        before.assert_unchanged();
        // One that was there before stays.
        shell("ip link add link uplink name uplink.70 type vlan id 70 && ip link set uplink.70 up");
        ok(&["network", "create", "-d", "macvlan", "-o", "parent=uplink.70", "own"]);
        ok(&["network", "rm", "own"]);
        shell("ip link show uplink.70 >/dev/null");
    });
}
