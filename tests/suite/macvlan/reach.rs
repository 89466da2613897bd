//! Whom a container reaches, by real packets.

use std::time::{Duration, Instant};

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Host, Namespaced, Snapshot, isolated};
use serde_json::json;

use super::lan::{Container, call, conf, reached};
use crate::shared::shell::shell;

/// A neighbour without announcement finds out after more than a second.
const AT_ONCE: Duration = Duration::from_millis(500);

/// Each mode: whether containers on one master reach each other. All reach the outside host, and none the host itself.
#[test]
fn each_mode_reaches_whom_it_says() {
    isolated(|| {
        let host = Host::new();
        serve_tcp(Some(&host.outside), "outside", "[::]:80");
        serve_tcp(None, "host", "[::]:80");
        let before = Snapshot::take();
        for (mode, each_other) in [("bridge", true), ("private", false), ("vepa", false)] {
            let keys = json!({"mode": mode});
            let (a, b) = (Container::start("a", conf(&keys)), Container::start("b", conf(&keys)));
            assert_eq!(a.is_reached_from(Some(&b.netns)), each_other, "{mode}: b to a");
            assert_eq!(b.is_reached_from(Some(&a.netns)), each_other, "{mode}: a to b");
            for container in [&a, &b] {
                assert!(container.is_reached_from(Some(&host.outside)), "{mode}: from outside");
                for server in ["192.0.2.2:80", "[2001:db8::2]:80"] {
                    let answer = ask_tcp(Some(&container.netns), server).unwrap();
                    assert!(answer.starts_with("outside sees"), "{mode}: {answer}");
                }
            }
            assert!(!a.is_reached_from(None), "{mode}: from the host");
            let hosts = ["192.0.2.1:80", "[2001:db8::1]:80"];
            assert_eq!(reached(Some(&a.netns), &hosts), 0, "{mode}: to the host");
            a.stop();
            b.stop();
            before.assert_unchanged();
        }
    });
}

/// A container in this mode has the master's hardware address, and the master to itself.
#[test]
fn passthru_has_its_master_alone() {
    isolated(|| {
        let host = Host::new();
        let before = Snapshot::take();
        let keys = json!({"mode": "passthru"});
        let a = Container::start("a", conf(&keys));
        assert!(a.is_reached_from(Some(&host.outside)));
        let second = Namespaced::new("second");
        let (code, said) = call("ADD", &conf(&json!({})), &second).run().error();
        assert_eq!(code, 7, "{said}");
        assert!(said.contains("link uplink cannot have another macvlan"), "{said}");
        a.stop();
        drop(second);
        before.assert_unchanged();
    });
}

/// A neighbour that has known an address by another hardware address learns of the new one with the ADD.
#[test]
fn neighbours_learn_of_a_moved_address_at_once() {
    isolated(|| {
        let host = Host::new();
        let fixed = json!({"runtimeConfig": {"ips": ["192.0.2.77/24", "2001:db8::77/64"]}});
        let ask = |container: &Container| {
            let start = Instant::now();
            assert!(container.is_reached_from(Some(&host.outside)));
            start.elapsed()
        };
        // Until then it solicits nobody.
        host.outside
            .enter(|| shell("until ! ip -6 addr show dev eth0 tentative | grep -q .; do sleep 0.05; done"));
        let one = Container::start("one", conf(&fixed));
        host.outside.enter(|| shell("ip neigh flush dev eth0"));
        ask(&one);
        one.stop();
        let other = Container::start("other", conf(&fixed));
        let took = ask(&other);
        assert!(took < AT_ONCE, "{took:?}");
        other.stop();
    });
}

/// A master that an earlier plugin made in the container, and one that the plugin before in the list names.
#[test]
fn masters_in_the_container_and_of_the_plugin_before() {
    isolated(|| {
        let host = Host::new();
        // As the reference's host-device leaves it: a link to the network in the container.
        let netns = Namespaced::new("inner");
        shell("ip link add port type veth peer name far && ip link set port netns outside");
        shell("ip link set far netns inner");
        netns.enter(|| shell("ip link set far up"));
        host.outside.enter(|| shell("ip addr add 198.51.100.2/24 dev port && ip link set port up"));
        serve_tcp(Some(&host.outside), "outside", "[::]:80");
        let ipam = json!({"type": "host-local", "ranges": [[{"subnet": "198.51.100.0/24", "rangeStart": "198.51.100.64"}]]});
        let keys = json!({"master": "far", "linkInContainer": true, "ipam": ipam});
        let inside = conf(&keys);
        let result = call("ADD", &inside, &netns).run().result();
        assert_eq!(result["interfaces"].as_array().unwrap().len(), 1);
        let answer = ask_tcp(Some(&netns), "198.51.100.2:80").unwrap();
        assert!(answer.starts_with("outside sees"), "{answer}");
        let mut checked = inside.clone();
        checked["prevResult"] = result;
        call("CHECK", &checked, &netns).run().silent();
        call("DEL", &checked, &netns).run().silent();
        netns.enter(|| shell("! ip link show eth0 2>/dev/null && ip link show far >/dev/null"));

        // The default route's interface is not the one before it.
        shell(
            "ip link add other type veth peer name beyond && ip link set other up && ip link set beyond netns outside",
        );
        let previous = json!({"cniVersion": "1.1.0", "interfaces": [{"name": "other"}],
            "ips": [{"address": "203.0.113.9/24"}], "routes": []});
        let chained = conf(&json!({"master": null, "ipam": null, "prevResult": previous}));
        let second = Namespaced::new("second");
        let result = call("ADD", &chained, &second).run().result();
        assert_eq!(result["ips"], json!([{"address": "203.0.113.9/24", "interface": 0}]));
        host.outside.enter(|| shell("ip addr add 203.0.113.1/24 dev beyond && ip link set beyond up"));
        serve_tcp(Some(&second), "second", "[::]:80");
        let answer = ask_tcp(Some(&host.outside), "203.0.113.9:80").unwrap();
        assert!(answer.starts_with("second sees"), "{answer}");
        let mut checked = conf(&json!({"master": null, "ipam": null}));
        checked["prevResult"] = result;
        call("CHECK", &checked, &second).run().silent();
        // Without the plugin before, it is that of the default route.
        let third = Namespaced::new("third");
        let _ = call("ADD", &conf(&json!({"master": null})), &third).run().result();
        serve_tcp(Some(&third), "third", "[::]:80");
        assert!(ask_tcp(Some(&host.outside), "192.0.2.64:80").unwrap().starts_with("third"));
    });
}
