//! 127.0.0.1: open to the host, closed to its neighbours, and `route_localnet` as it was afterwards.

use netlink::{Socket, sysctl};
use sandbox::{isolated, traffic};
use serde_json::json;

use crate::world::{World, route_localnet, ruleset};

#[test]
fn neighbours_reach_nothing_on_127_0_0_1() {
    isolated(|| {
        let world = World::new(false);
        let (web, other) = (world.container("web", 11), world.container("other", 12));
        traffic::serve_tcp(Some(&web.namespace), "web", "[::]:80");
        traffic::serve_tcp(None, "host", "127.0.0.1:7000");
        web.add(&json!([{"hostPort": 9090, "containerPort": 80, "hostIP": "127.0.0.1"}]), &json!({}))
            .unwrap();
        // What a hostile container does: packets for 127.0.0.1 go to the gateway.
        other.namespace.enter(|| {
            let mut socket = Socket::open().unwrap();
            let link = socket.get_link("eth0").unwrap().unwrap().index;
            let gateway = "10.1.0.1".parse().ok();
            let route = netlink::Route {
                gateway,
                oif: Some(link),
                ..netlink::Route::new("127.0.0.2/32".parse().unwrap())
            };
            sysctl::set("net/ipv4/conf/eth0/route_localnet", "1").unwrap();
            socket.add_route(&route).unwrap();
        });
        sysctl::set("net/ipv4/conf/all/rp_filter", "0").unwrap();
        traffic::serve_tcp(None, "host", "127.0.0.2:7000");
        assert_eq!(traffic::ask_tcp(None, "127.0.0.2:7000").unwrap(), "host sees 127.0.0.1");
        assert!(traffic::ask_tcp(Some(&other.namespace), "127.0.0.2:7000").is_err());
        // Without the guard it would be reached: the test would otherwise show nothing.
        let flush = std::process::Command::new("nft")
            .args(["flush", "chain", "inet", "cleat_host_port", "guard"])
            .status();
        assert!(flush.unwrap().success());
        assert!(traffic::ask_tcp(Some(&other.namespace), "127.0.0.2:7000").is_ok());
    });
}

#[test]
fn route_localnet_is_on_while_a_port_needs_it() {
    isolated(|| {
        let world = World::new(false);
        let (a, b, c) = (world.container("a", 11), world.container("b", 12), world.container("c", 13));
        c.add(&json!([{"hostPort": 8082, "containerPort": 80, "hostIP": "192.0.2.1"}]), &json!({})).unwrap();
        assert_eq!(route_localnet(), "0", "a port on 192.0.2.1 needs no 127.0.0.1");
        a.add(&json!([{"hostPort": 8080, "containerPort": 80}]), &json!({})).unwrap();
        b.add(&json!([{"hostPort": 8081, "containerPort": 80}]), &json!({"masqAll": true})).unwrap();
        assert_eq!(route_localnet(), "1");
        a.del();
        assert_eq!(route_localnet(), "1", "the other chain needs it still");
        b.del();
        assert_eq!(route_localnet(), "0");
        assert!(ruleset().contains("chain guard"));
        c.del();
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn who_had_route_localnet_on_keeps_it() {
    isolated(|| {
        let world = World::new(false);
        let a = world.container("a", 11);
        sysctl::set("net/ipv4/conf/br0/route_localnet", "1").unwrap();
        a.add(&json!([{"hostPort": 8080, "containerPort": 80}]), &json!({})).unwrap();
        a.del();
        assert_eq!(route_localnet(), "1");
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn localhost_by_ipv6_is_the_hosts_own() {
    isolated(|| {
        let world = World::new(false);
        let web = world.container("web", 11);
        traffic::serve_tcp(Some(&web.namespace), "web", "[::]:80");
        web.add(&json!([{"hostPort": 8080, "containerPort": 80}]), &json!({})).unwrap();
        let refused = traffic::ask_tcp(None, "[::1]:8080").unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "at once, not by a timeout");
        traffic::serve_tcp(None, "host", "[::1]:8080");
        assert_eq!(traffic::ask_tcp(None, "[::1]:8080").unwrap(), "host sees ::1");
    });
}
