//! A bridge that existed before the first ADD: it is changed to fit the configuration, or refused where that breaks its ports.

use std::process::Command;
use std::thread;
use std::time::Duration;

use netlink::{Namespace, Socket, sysctl};
use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Host, Namespaced, Snapshot, isolated};
use serde_json::{Value, json};

use crate::shared::bridge::{add, call, conf, with_result};
use crate::shared::shell::shell;

fn bridge() -> netlink::Link {
    Socket::open().unwrap().get_link("br0").unwrap().unwrap()
}

fn with(keys: &Value) -> Value {
    let mut conf = conf();
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    conf
}

#[test]
fn a_bridge_without_ports_takes_on_the_configuration() {
    isolated(|| {
        let _host = Host::new();
        shell("ip link add br0 type bridge && ip link set br0 mtu 1500");
        let before = Snapshot::take();
        let netns = Namespaced::new("a");
        let wanted = with(&json!({"mtu": 1400, "promiscMode": true, "hairpinMode": false}));
        // An ADD that fails undoes its changes.
        let mut wrong = wanted.clone();
        wrong["ipam"]["routes"] = json!([{"dst": "10.9.0.0/16", "gw": "172.31.0.1"}]);
        assert_eq!(call("ADD", &wrong, "a", &netns).run().error().0, 100);
        before.assert_unchanged_but_for(&netns);
        assert!(!bridge().up && !bridge().promisc);

        let result = add(&wanted, "a", &netns);
        assert_eq!((bridge().mtu, bridge().promisc, bridge().up), (1400, true, true));
        let mut check = wanted.clone();
        check["prevResult"] = result;
        call("CHECK", &check, "a", &netns).run().silent();
        // DEL leaves the bridge as it is: cleat did not make it.
        call("DEL", &wanted, "a", &netns).run().silent();
        assert_eq!((bridge().mtu, bridge().promisc, bridge().up), (1400, true, true));
    });
}

/// An operator changes the MTU under running containers: new ones get it, the others keep theirs. The MTU of the bridge itself
/// is left to the kernel, as the reference (1.9.1) does: it is the smallest of its ports'.
#[test]
fn a_changed_mtu_is_for_new_containers() {
    isolated(|| {
        let _host = Host::new();
        let netns = ["a", "b", "c", "d"].map(Namespaced::new);
        let inside = |netns: &Namespaced| {
            netns.enter(|| Socket::open().unwrap().get_link("eth0").unwrap().unwrap().mtu)
        };
        let mut results = Vec::new();
        for (netns, (mtu, bridges)) in netns.iter().zip([(0, 1500), (1400, 1400), (9000, 1400), (1400, 1400)])
        {
            results.push(add(&with(&json!({"mtu": mtu})), netns.name(), netns));
            assert_eq!(bridge().mtu, bridges);
        }
        assert_eq!(netns.each_ref().map(inside), [1500, 1400, 9000, 1400]);
        for (netns, result) in netns.iter().zip(&results) {
            call("CHECK", &with_result(result), netns.name(), netns).run().silent();
        }
        serve_tcp(Some(&netns[0]), "a", "[::]:80");
        for other in &netns[1..] {
            assert!(ask_tcp(Some(other), "10.1.0.2:80").is_ok());
        }
        for netns in &netns[1..] {
            call("DEL", &with(&json!({"mtu": 1300})), netns.name(), netns).run().silent();
        }
        assert_eq!(bridge().mtu, 1500);
    });
}

/// A bridge whose hardware address was never set takes the lowest of its ports'. After such a change the containers' neighbour
/// entries for the gateway would be wrong.
#[test]
fn the_gateway_keeps_its_hardware_address() {
    isolated(|| {
        let _host = Host::new();
        shell("ip link add br0 type bridge && ip link add low type veth peer name lower");
        let netns = Namespaced::new("a");
        let result = add(&conf(), "a", &netns);
        serve_tcp(None, "host", "[::]:7000");
        assert_eq!(ask_tcp(Some(&netns), "10.1.0.1:7000").unwrap(), "host sees 10.1.0.2");
        let mac = bridge().mac;
        shell("ip link set low address 02:00:00:00:00:01 && ip link set low master br0");
        assert_eq!(bridge().mac, mac);
        call("CHECK", &with_result(&result), "a", &netns).run().silent();
        assert_eq!(ask_tcp(Some(&netns), "10.1.0.1:7000").unwrap(), "host sees 10.1.0.2");
    });
}

/// A running ADD, for any bridge, holds a lock. A DEL waits for that lock before it removes a bridge.
#[test]
fn a_bridge_goes_with_its_last_port_while_others_are_added() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let netns = Namespaced::new("a");
        add(&conf(), "a", &netns);
        let here = Namespace::current().unwrap();
        let lock = here.lock_shared(Duration::from_secs(1)).unwrap().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(150));
                drop(lock);
            });
            call("DEL", &conf(), "a", &netns).run().silent();
        });
        drop(netns);
        before.assert_unchanged();
    });
}

/// Linux may be built without `CONFIG_BRIDGE_VLAN_FILTERING`. `make test-kernels` tests VLANs on kernels that have it.
#[test]
fn a_kernel_that_cannot_filter_vlans_is_told_and_nothing_stays() {
    isolated(|| {
        let _host = Host::new();
        let can =
            Command::new("ip").args(["link", "add", "try", "type", "bridge", "vlan_filtering", "1"]).status();
        let can = can.unwrap().success();
        if can {
            shell("ip link del try");
        }
        let netns = Namespaced::new("a");
        let vlan = with(&json!({"vlan": 10}));
        for existing in [false, true] {
            if existing {
                shell("ip link add br0 type bridge");
            }
            let before = Snapshot::take();
            let answer = call("ADD", &vlan, "a", &netns).run();
            if can {
                assert_eq!(answer.result()["interfaces"][3]["name"], "br0.10");
                call("DEL", &vlan, "a", &netns).run().silent();
                continue;
            }
            let (code, said) = answer.error();
            assert_eq!(code, 100, "{said}");
            assert!(
                said.contains("cannot filter VLANs") && said.contains("CONFIG_BRIDGE_VLAN_FILTERING"),
                "{said}"
            );
            before.assert_unchanged();
        }
    });
}

/// A bridge with ports keeps an MTU that was set by hand, even if a new port has another one.
#[test]
fn an_mtu_set_by_hand_stays_where_there_are_ports() {
    isolated(|| {
        let _host = Host::new();
        shell(
            "ip link add br0 type bridge && ip link add one type veth peer name other && ip link set one master br0 \
             && ip link set br0 mtu 1450",
        );
        let netns = Namespaced::new("a");
        let wanted = with(&json!({"mtu": 1400}));
        add(&wanted, "a", &netns);
        assert_eq!(bridge().mtu, 1450);
        call("DEL", &wanted, "a", &netns).run().silent();
        assert_eq!(bridge().mtu, 1450);
    });
}

/// The addresses of the bridge without link-local ones, in the kernel's order: the first of an IPv4 network is its primary one.
fn addresses() -> Vec<String> {
    let mut socket = Socket::open().unwrap();
    let found = socket.addresses(bridge().index).unwrap();
    let found = found.into_iter().map(|address| address.network.to_string());
    found.filter(|address| !address.starts_with("fe80")).collect()
}

/// An operator changes a network's gateway under running containers, or uses an existing bridge.
#[test]
fn a_gateway_takes_the_place_of_another_and_of_nothing_else() {
    isolated(|| {
        let _host = Host::new();
        serve_tcp(None, "host", "[::]:7000");
        for promote in ["0", "1"] {
            shell("ip link add br0 type bridge");
            sysctl::set("net/ipv4/conf/br0/promote_secondaries", promote).unwrap();
            for address in ["10.1.0.1/24", "10.1.0.53/24", "10.1.0.54/24", "fd00:1::53/64", "fd09::1/64"] {
                shell(&format!("ip addr add {address} dev br0 nodad"));
            }
            let netns = ["a", "b"].map(Namespaced::new);
            let kept = ["10.1.0.53/24", "10.1.0.54/24"];
            let gateway = |address: &str| {
                let mut conf = with(&json!({"forceAddress": true}));
                conf["ipam"]["ranges"] = json!([[{"subnet": "10.1.0.0/24", "gateway": address}]]);
                conf["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}]);
                conf
            };
            let others = ["fd00:1::53/64", "fd09::1/64"];
            let before = addresses();
            assert_eq!(before.len(), 5);
            // A failing ADD keeps the addresses, both before the bridge has a port (here) and after (below).
            let mut wrong = gateway("10.1.0.254");
            wrong["ipam"]["routes"] = json!([{"dst": "10.9.0.0/16", "gw": "172.31.0.1"}]);
            assert_eq!(call("ADD", &wrong, "b", &netns[1]).run().error().0, 100);
            assert_eq!(addresses(), before);
            let result = add(&gateway("10.1.0.254"), "a", &netns[0]);
            let with_kept = |first: &str| -> Vec<String> {
                let all = [&[first], &kept[..], &others[..]].concat();
                let mut sorted: Vec<String> = all.iter().map(ToString::to_string).collect();
                sorted[1..].sort();
                sorted
            };
            let sorted = |mut found: Vec<String>| {
                found[1..].sort();
                found
            };
            assert_eq!(sorted(addresses()), with_kept("10.1.0.254/24"));
            let mut check = gateway("10.1.0.254");
            check["prevResult"] = result;
            call("CHECK", &check, "a", &netns[0]).run().silent();
            let before = addresses();
            let mut wrong = gateway("10.1.0.9");
            wrong["ipam"]["routes"] = json!([{"dst": "10.9.0.0/16", "gw": "172.31.0.1"}]);
            assert_eq!(call("ADD", &wrong, "b", &netns[1]).run().error().0, 100);
            assert_eq!(sorted(addresses()), sorted(before));
            // A further change of the gateway replaces the gateway's address alone.
            add(&gateway("10.1.0.9"), "b", &netns[1]);
            assert_eq!(sorted(addresses()), with_kept("10.1.0.9/24"));
            assert!(ask_tcp(Some(&netns[1]), "10.1.0.9:7000").is_ok());
            // IPv6: addresses that overlap with the gateway's subnet are removed, and the others stay.
            let mut dual = with(&json!({"forceAddress": true}));
            dual["ipam"]["ranges"] =
                json!([[{"subnet": "10.1.0.0/24", "gateway": "10.1.0.9"}], [{"subnet": "fd00:1::/64"}]]);
            for (id, netns) in ["a", "b"].iter().zip(&netns) {
                call("DEL", &dual, id, netns).run().silent();
            }
            add(&dual, "a", &netns[0]);
            let found = addresses();
            for (address, is_there) in [
                ("10.1.0.9/24", true),
                ("fd00:1::1/64", true),
                ("fd09::1/64", true),
                ("fd00:1::53/64", false),
            ] {
                assert_eq!(found.contains(&address.to_owned()), is_there, "{found:?}");
            }
            call("DEL", &dual, "a", &netns[0]).run().silent();
            shell("ip link del br0");
        }
    });
}
