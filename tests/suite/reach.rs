//! Which containers and hosts reach each other over a bridge as soon as ADD returns, also when many are attached at once.

use std::time::{Duration, Instant};

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Host, Namespaced, OUTSIDE_V4, OUTSIDE_V6, Snapshot, UPLINK_V4, UPLINK_V6, isolated};
use serde_json::{Value, json};

use crate::shared::bridge::{add, call, conf, with_result};
use crate::shared::shell::shell;

#[test]
fn containers_reach_each_other_the_host_and_the_outside() {
    isolated(|| {
        let host = Host::new();
        let before = Snapshot::take();
        let (a, b) = (Namespaced::new("a"), Namespaced::new("b"));
        let result = add(&conf(), "a", &a);
        assert_eq!(
            result["ips"][0],
            json!({"interface": 2, "address": "10.1.0.2/24", "gateway": "10.1.0.1"})
        );
        assert_eq!(
            result["ips"][1],
            json!({"interface": 2, "address": "fd00:1::2/64", "gateway": "fd00:1::1"})
        );
        assert_eq!(result["interfaces"][0]["name"], "br0");
        assert_eq!(result["interfaces"][2]["sandbox"], a.path().display().to_string());
        assert_eq!(result["routes"], json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]));
        // What ADD returns works at once: nothing here waits.
        for (v4, port) in [("10.1.0.1", 7001), ("0.0.0.0", 7002)] {
            serve_tcp(None, "host", &format!("{v4}:{port}"));
        }
        serve_tcp(None, "host", "[::]:7003");
        assert_eq!(ask_tcp(Some(&a), "10.1.0.1:7001").unwrap(), "host sees 10.1.0.2");
        add(&conf(), "b", &b);
        serve_tcp(Some(&b), "b", "[::]:80");
        assert_eq!(ask_tcp(Some(&a), "10.1.0.3:80").unwrap(), "b sees 10.1.0.2");
        assert_eq!(ask_tcp(Some(&a), "[fd00:1::3]:80").unwrap(), "b sees fd00:1::2");
        assert_eq!(ask_tcp(None, "10.1.0.3:80").unwrap(), "b sees 10.1.0.1");
        assert_eq!(ask_tcp(Some(&a), "[fd00:1::1]:7003").unwrap(), "host sees fd00:1::2");
        // A destination that is routed through a member of the bridge sees the container's own address.
        b.enter(|| shell("ip addr add 192.0.2.9/32 dev lo"));
        shell("ip route add 192.0.2.9/32 via 10.1.0.3");
        assert_eq!(ask_tcp(Some(&a), "192.0.2.9:80").unwrap(), "b sees 10.1.0.2");
        shell("ip route del 192.0.2.9/32");
        // The outside sees the host, and has no way to the container's address.
        serve_tcp(Some(&host.outside), "outside", "[::]:80");
        assert_eq!(
            ask_tcp(Some(&a), &format!("{OUTSIDE_V4}:80")).unwrap(),
            format!("outside sees {UPLINK_V4}")
        );
        assert_eq!(
            ask_tcp(Some(&a), &format!("[{OUTSIDE_V6}]:80")).unwrap(),
            format!("outside sees {UPLINK_V6}")
        );
        assert!(ask_tcp(Some(&host.outside), "10.1.0.3:80").is_err());
        call("CHECK", &with_result(&result), "a", &a).run().silent();
        for (id, netns) in [("a", &a), ("b", &b)] {
            call("DEL", &conf(), id, netns).run().silent();
            call("DEL", &conf(), id, netns).run().silent();
        }
        drop((a, b));
        before.assert_unchanged();
    });
}

/// Linux sets a new port of a bridge forwarding from a work queue. While the kernel was busy removing namespaces, it lost
/// the first neighbour solicitation of one container in thirty, which cost a second.
#[test]
fn the_first_packet_after_add_is_not_lost() {
    isolated(|| {
        let _host = Host::new();
        for n in 0..60 {
            let netns = Namespaced::new(&format!("c{n}"));
            let result = add(&conf(), netns.name(), &netns);
            let address = result["ips"][1]["address"].as_str().unwrap().trim_end_matches("/64").to_owned();
            serve_tcp(Some(&netns), "c", "[::]:80");
            let start = Instant::now();
            assert_eq!(ask_tcp(None, &format!("[{address}]:80")).unwrap(), "c sees fd00:1::1");
            assert!(start.elapsed() < Duration::from_millis(500), "{:?} for container {n}", start.elapsed());
        }
    });
}

/// Linux sends no neighbour solicitation for a packet that it forwards while the bridge has no link-local address. The
/// bridge has one only a second after its first port came up.
#[test]
fn the_first_forwarded_ipv6_packet_is_not_lost() {
    isolated(|| {
        let host = Host::new();
        host.outside.enter(|| shell("ip -6 route add fd00:1::/64 via 2001:db8::1"));
        let mut conf = conf();
        conf["ipMasq"] = json!(false);
        for n in 0..20 {
            let netns = Namespaced::new(&format!("c{n}"));
            let result = add(&conf, netns.name(), &netns);
            let address = result["ips"][1]["address"].as_str().unwrap().trim_end_matches("/64").to_owned();
            serve_tcp(Some(&netns), "c", "[::]:80");
            let start = Instant::now();
            let said = ask_tcp(Some(&host.outside), &format!("[{address}]:80")).unwrap();
            assert_eq!(said, format!("c sees {OUTSIDE_V6}"));
            assert!(start.elapsed() < Duration::from_millis(500), "{:?} for bridge {n}", start.elapsed());
            // The bridge goes with its last port, so each round has a new one.
            call("DEL", &conf, netns.name(), &netns).run().silent();
        }
    });
}

#[test]
fn many_at_once_get_an_address_each() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        // Everything that containers share: masquerading, the guard of ports, the gate of the bridge.
        let mut conf = conf();
        conf["macspoofchk"] = json!(true);
        conf["ingress"] = json!("published");
        let containers: Vec<_> = (0..24).map(|n| Namespaced::new(&format!("c{n}"))).collect();
        let each = |work: &(dyn Fn(&Namespaced) -> Value + Sync)| -> Vec<Value> {
            std::thread::scope(|scope| {
                let workers: Vec<_> =
                    containers.iter().map(|netns| scope.spawn(move || work(netns))).collect();
                workers.into_iter().map(|worker| worker.join().unwrap()).collect()
            })
        };
        let mut addresses: Vec<String> = each(&|netns| add(&conf, netns.name(), netns))
            .iter()
            .map(|result| result["ips"][0]["address"].to_string())
            .collect();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), containers.len());
        // Some are deleted while others are added again.
        each(&|netns| {
            call("DEL", &conf, netns.name(), netns).run().silent();
            add(&conf, netns.name(), netns);
            call("DEL", &conf, netns.name(), netns).run().silent();
            Value::Null
        });
        drop(containers);
        before.assert_unchanged();
    });
}
