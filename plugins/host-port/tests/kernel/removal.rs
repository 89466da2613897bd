//! DEL and GC leave nothing in the packet filter, however often and in whatever order they are called.

use std::process::Command;
use std::thread;

use cni::Plugin;
use host_port::HostPort;
use sandbox::{Snapshot, UPLINK_V6, isolated, traffic};
use serde_json::json;

use crate::world::{World, request, ruleset};

#[test]
fn del_leaves_nothing_and_may_come_twice() {
    isolated(|| {
        let world = World::new(false);
        let (web, many) = (world.container("web", 11), world.container("many", 12));
        let before = Snapshot::take();
        web.del();
        let few = json!([
            {"hostPort": 8080, "containerPort": 80},
            {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": UPLINK_V6},
            {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "127.0.0.1"},
        ]);
        web.add(&few, &json!({})).unwrap();
        let one = ruleset();
        many.add(&json!([{"hostPort": 10000, "containerPort": 10000, "range": 300}]), &json!({})).unwrap();
        many.del();
        assert_eq!(ruleset(), one);
        web.del();
        web.del();
        before.assert_unchanged();
        // Another program may have removed the table.
        web.add(&few, &json!({})).unwrap();
        assert!(std::process::Command::new("nft").args(["flush", "ruleset"]).status().unwrap().success());
        web.del();
        web.add(&few, &json!({})).unwrap();
        web.check(&few, &json!({})).unwrap();
    });
}

#[test]
fn a_udp_flow_that_never_rests_follows() {
    isolated(|| {
        let world = World::new(false);
        let (old, new) = (world.container("old", 11), world.container("new", 12));
        let mappings = json!([{"hostPort": 5353, "containerPort": 53, "protocol": "udp"}]);
        for (container, address) in [(&old, "[fd00:1::11]:53"), (&new, "[fd00:1::12]:53")] {
            traffic::serve_udp(Some(&container.namespace), &container.id, "0.0.0.0:53");
            traffic::serve_udp(Some(&container.namespace), &container.id, address);
        }
        // The kernel tracks connections once there is a rule that needs it.
        let first = world.container("first", 13);
        first.add(&json!([{"hostPort": 8080, "containerPort": 80}]), &json!({})).unwrap();
        let outside = Some(&world.host.outside);
        let flows = [
            traffic::Datagrams::new(outside, "192.0.2.1:5353"),
            traffic::Datagrams::new(outside, "[2001:db8::1]:5353"),
        ];
        // A flow to the same port of another host is not deleted.
        traffic::serve_udp(outside, "outside", "0.0.0.0:5353");
        let bystander = traffic::Datagrams::new(None, "192.0.2.2:5353");
        assert_eq!(bystander.ask().unwrap(), "outside sees 192.0.2.1");
        let entry = || {
            let mut socket = nftables::Socket::open().unwrap();
            let filter = nftables::conntrack::Filter::new(nftables::Family::Ip, 17)
                .orig_dst("192.0.2.2".parse().unwrap());
            nftables::conntrack::flows(&mut socket, &[filter]).unwrap().len()
        };
        assert_eq!(entry(), 1);
        // No server answers yet: the kernel tracks the flows before the port is published.
        assert!(flows.iter().all(|flow| flow.ask().is_err()));
        old.add(&mappings, &json!({})).unwrap();
        for flow in &flows {
            assert!(flow.ask().unwrap().starts_with("old sees"));
        }
        old.del();
        for flow in &flows {
            assert!(flow.ask().is_err(), "a flow outlived its port");
        }
        new.add(&mappings, &json!({})).unwrap();
        for flow in &flows {
            assert!(flow.ask().unwrap().starts_with("new sees"));
        }
        assert_eq!(entry(), 1);
    });
}

/// A provider may route a block of addresses to a host, and a load balancer its own addresses: no interface has them.
#[test]
fn a_udp_flow_to_an_address_that_is_local_by_a_route_alone_follows() {
    isolated(|| {
        let world = World::new(false);
        let web = world.container("web", 11);
        let ip = |args: &str| {
            assert!(Command::new("ip").args(args.split(' ')).status().unwrap().success(), "ip {args}");
        };
        ip("route add local 198.51.100.0/24 dev lo");
        ip("-6 route add local 2001:db8:51::/64 dev lo");
        world.host.outside.enter(|| {
            ip("route add 198.51.100.0/24 via 192.0.2.1");
            ip(&format!("-6 route add 2001:db8:51::/64 via {UPLINK_V6}"));
        });
        traffic::serve_udp(Some(&web.namespace), "web", "10.1.0.11:53");
        traffic::serve_udp(Some(&web.namespace), "web", "[fd00:1::11]:53");
        let outside = Some(&world.host.outside);
        let flows = ["198.51.100.7:53", "[2001:db8:51::7]:53"].map(|to| traffic::Datagrams::new(outside, to));
        // No server answers yet. Whether the kernel's refusal arrives in time does not matter here.
        for flow in &flows {
            let _ = flow.ask();
        }
        web.add(&json!([{"hostPort": 53, "containerPort": 53, "protocol": "udp"}]), &json!({})).unwrap();
        for flow in &flows {
            assert!(flow.ask().unwrap().starts_with("web sees"));
        }
        web.del();
        for flow in &flows {
            assert!(flow.ask().is_err(), "a flow outlived its port");
        }
    });
}

#[test]
fn gc_removes_what_is_not_valid() {
    isolated(|| {
        let world = World::new(false);
        let (a, b) = (world.container("a", 11), world.container("b", 12));
        a.add(&json!([{"hostPort": 8080, "containerPort": 80}]), &json!({})).unwrap();
        b.add(&json!([{"hostPort": 8081, "containerPort": 80}]), &json!({"masqAll": true})).unwrap();
        let gc = |keys| HostPort::gc(&request(cni::Command::Gc, keys)).unwrap();
        let both = ruleset();
        gc(json!({}));
        assert_eq!(ruleset(), both, "a GC without a list removes nothing");
        gc(json!({"cni.dev/valid-attachments": [{"containerID": "a", "ifname": "eth0"}]}));
        assert!(ruleset().contains("8080") && !ruleset().contains("8081"));
        let mut elsewhere = request(cni::Command::Gc, json!({"cni.dev/valid-attachments": []}));
        elsewhere.conf.network = cni::NetworkName::new("elsewhere").unwrap();
        HostPort::gc(&elsewhere).unwrap();
        assert!(ruleset().contains("8080"), "GC removes no ports of another network");
        gc(json!({"cni.dev/valid-attachments": []}));
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn many_at_once_lose_and_leave_nothing() {
    isolated(|| {
        let world = World::new(false);
        let containers: Vec<_> =
            (10..40).map(|number| world.container(&format!("c{number}"), number)).collect();
        let before = Snapshot::take();
        thread::scope(|scope| {
            for (at, container) in containers.iter().enumerate() {
                scope.spawn(move || {
                    let mappings = json!([{"hostPort": 8000 + at, "containerPort": 80}, {"hostPort": 0, "containerPort": 81}]);
                    let keys = json!({"masqAll": at % 2 == 0});
                    for _ in 0..10 {
                        container.add(&mappings, &keys).unwrap();
                        container.check(&mappings, &keys).unwrap();
                        container.del();
                    }
                });
            }
        });
        before.assert_unchanged();
    });
}
