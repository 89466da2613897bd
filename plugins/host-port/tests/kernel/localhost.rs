//! 127.0.0.1: open to the host and closed to its neighbours. `route_localnet` is afterwards what it was before.

use netlink::{Socket, sysctl};
use sandbox::{Snapshot, isolated, traffic};
use serde_json::json;

use crate::world::{Container, World, nft, route_localnet, ruleset};

/// Routes a container's packets for 127.0.0.2 to the gateway, as a hostile container can to reach the host's loopback.
fn lead_localhost_to_the_gateway(container: &Container) {
    container.namespace.enter(|| {
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
}

#[test]
fn neighbours_reach_nothing_on_127_0_0_1_with_or_without_rules() {
    isolated(|| {
        let world = World::new(false);
        let (web, other) = (world.container("web", 11), world.container("other", 12));
        traffic::serve_tcp(Some(&web.namespace), "web", "[::]:80");
        traffic::serve_tcp(None, "host", "127.0.0.1:7000");
        web.add(&json!([{"hostPort": 9090, "containerPort": 80, "hostIP": "127.0.0.1"}]), &json!({}))
            .unwrap();
        lead_localhost_to_the_gateway(&other);
        sysctl::set("net/ipv4/conf/all/rp_filter", "0").unwrap();
        traffic::serve_tcp(None, "host", "127.0.0.2:7000");
        assert_eq!(traffic::ask_tcp(None, "127.0.0.2:7000").unwrap(), "host sees 127.0.0.1");
        let is_reached = || traffic::ask_tcp(Some(&other.namespace), "127.0.0.2:7000").is_ok();
        assert!(!is_reached());
        // The chain `guard` still drops them where another program switches `route_localnet` on.
        sysctl::set("net/ipv4/conf/br0/route_localnet", "1").unwrap();
        assert!(!is_reached());
        nft("flush ruleset");
        // Without the rules the port is reached: this shows that the test can fail.
        assert!(is_reached());
        sysctl::set("net/ipv4/conf/br0/route_localnet", "0").unwrap();
        assert!(!is_reached());
    });
}

fn ip(words: &str) {
    assert!(std::process::Command::new("ip").args(words.split(' ')).status().unwrap().success(), "{words}");
}

#[test]
fn localhost_needs_a_route_and_no_route_localnet() {
    isolated(|| {
        let world = World::new(false);
        let (a, b, c) = (world.container("a", 11), world.container("b", 12), world.container("c", 13));
        let before = Snapshot::take();
        let has_route = || Socket::open().unwrap().is_local("169.254.213.2".parse().unwrap()).unwrap();
        for container in [&a, &b] {
            traffic::serve_tcp(Some(&container.namespace), &container.id, "[::]:80");
            traffic::serve_udp(Some(&container.namespace), &container.id, "[::]:53");
        }
        c.add(&json!([{"hostPort": 8082, "containerPort": 80, "hostIP": "192.0.2.1"}]), &json!({})).unwrap();
        assert!(!has_route(), "a port on 192.0.2.1 needs no stand-in for 127.0.0.1");
        a.add(
            &json!([{"hostPort": 8080, "containerPort": 80}, {"hostPort": 5353, "containerPort": 53, "protocol": "udp"}]),
            &json!({}),
        )
        .unwrap();
        let at = json!([{"hostPort": 8081, "containerPort": 80, "hostIP": "127.0.0.7"}]);
        b.add(&at, &json!({"masqAll": true})).unwrap();
        assert_eq!((has_route(), route_localnet().as_str()), (true, "0"));
        // A port without `hostIP` is on every address of 127.0.0.0/8, a port with one only on that.
        for address in ["127.0.0.1:8080", "127.0.0.7:8080"] {
            assert_eq!(traffic::ask_tcp(None, address).unwrap(), "a sees 10.1.0.1");
        }
        assert_eq!(traffic::ask_tcp(None, "127.0.0.7:8081").unwrap(), "b sees 10.1.0.1");
        traffic::serve_tcp(None, "host", "127.0.0.1:8081");
        assert_eq!(traffic::ask_tcp(None, "127.0.0.1:8081").unwrap(), "host sees 127.0.0.1");
        assert_eq!(traffic::ask_udp(None, "127.0.0.1:5353").unwrap(), "a sees 10.1.0.1");
        // As fragments, in both directions.
        let client = traffic::Datagrams::new(None, "127.0.0.1:5353");
        assert_eq!(client.echo(&[b'x'; 5000]).unwrap(), 5000);
        // Only the host can use the address that stands in for 127.0.0.1.
        for (place, gateway) in [(&world.host.outside, "192.0.2.1"), (&c.namespace, "10.1.0.1")] {
            place.enter(|| ip(&format!("route replace 169.254.213.2 via {gateway}")));
            assert!(traffic::ask_tcp(Some(place), "169.254.213.2:8080").is_err());
        }
        a.del();
        assert!(has_route(), "container b still needs it");
        b.del();
        assert!(!has_route());
        assert!(ruleset().contains("chain guard"));
        c.del();
        assert_eq!(ruleset(), "");
        world.host.outside.enter(|| ip("route del 169.254.213.2"));
        before.assert_unchanged();
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

/// On a bridge of this suite `route_localnet` is switched off where nothing needs it. Where /proc/sys is read-only it stays
/// on, and the ADD succeeds nevertheless: the rules protect localhost.
#[test]
fn route_localnet_that_cannot_be_switched_off_keeps_nobody_from_coming() {
    isolated(|| {
        let world = World::new(false);
        let (a, b) = (world.container("a", 11), world.container("b", 12));
        let shell = |script: &str| {
            assert!(std::process::Command::new("sh").args(["-c", script]).status().unwrap().success());
        };
        shell("ip link set br0 alias 'cleat bridge'");
        sysctl::set("net/ipv4/conf/br0/route_localnet", "1").unwrap();
        shell("mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys");
        traffic::serve_tcp(Some(&a.namespace), "a", "[::]:80");
        a.add(&json!([{"hostPort": 8080, "containerPort": 80}]), &json!({})).unwrap();
        assert_eq!(route_localnet(), "1");
        assert!(traffic::ask_tcp(None, "127.0.0.1:8080").is_ok());
        shell("umount /proc/sys");
        b.add(&json!([{"hostPort": 8081, "containerPort": 80}]), &json!({})).unwrap();
        assert_eq!(route_localnet(), "0");
    });
}

/// The kernel drops answers to `::1` that come from elsewhere than `lo`, so another address stands in for it.
fn localhost_by_ipv6(bridge_filter: bool) {
    let world = World::new(bridge_filter);
    let (web, other) = (world.container("web", 11), world.container("other", 12));
    let before = Snapshot::take();
    traffic::serve_tcp(Some(&web.namespace), "web", "[::]:80");
    traffic::serve_udp(Some(&web.namespace), "web", "[::]:53");
    traffic::serve_tcp(None, "host", "[::1]:7000");
    let mappings = json!([
        {"hostPort": 8080, "containerPort": 80},
        {"hostPort": 8081, "containerPort": 80, "hostIP": "::1"},
        {"hostPort": 8082, "containerPort": 80, "hostIP": "127.0.0.1"},
        {"hostPort": 5353, "containerPort": 53, "protocol": "udp"},
    ]);
    web.add(&mappings, &json!({})).unwrap();
    web.check(&mappings, &json!({})).unwrap();
    for port in [8080, 8081] {
        assert_eq!(traffic::ask_tcp(None, &format!("[::1]:{port}")).unwrap(), "web sees fd00:1::1");
    }
    assert_eq!(traffic::ask_udp(None, "[::1]:5353").unwrap(), "web sees fd00:1::1");
    // As fragments, in both directions: the kernel verifies the checksum of a datagram that it reassembles.
    let client = traffic::Datagrams::new(None, "[::1]:5353");
    assert_eq!(client.echo(&[b'x'; 5000]).unwrap(), 5000);
    assert_eq!(traffic::ask_tcp(None, "[::1]:7000").unwrap(), "host sees ::1");
    // A port that is not published on [::1] is the host's own: the connection is refused at once.
    let refused = traffic::ask_tcp(None, "[::1]:8082").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    // Other hosts and containers can use neither the port of [::1] nor the address that stands in for ::1.
    let outside = Some(&world.host.outside);
    assert!(traffic::ask_tcp(outside, "[2001:db8::1]:8081").is_err());
    for (place, gateway) in [(outside, "2001:db8::1"), (Some(&other.namespace), "fd00:1::1")] {
        let route = ["-6", "route", "replace", "fd63:6c65:6174::34c3", "via", gateway];
        let add = || std::process::Command::new("ip").args(route).status().unwrap();
        assert!(place.unwrap().enter(add).success());
        for port in [8080, 8081] {
            assert!(traffic::ask_tcp(place, &format!("[fd63:6c65:6174::34c3]:{port}")).is_err());
        }
    }
    web.del();
    assert!(traffic::ask_tcp(None, "[::1]:8080").is_err());
    before.assert_unchanged();
}

#[test]
fn localhost_by_ipv6_leads_to_the_container() {
    isolated(|| localhost_by_ipv6(false));
}

#[test]
fn localhost_by_ipv6_leads_to_the_container_where_bridged_packets_are_filtered() {
    isolated(|| localhost_by_ipv6(true));
}

#[test]
fn a_port_of_localhost_by_ipv6_has_one_owner() {
    isolated(|| {
        let world = World::new(false);
        let (a, b) = (world.container("a", 11), world.container("b", 12));
        a.add(&json!([{"hostPort": 8080, "containerPort": 80, "hostIP": "::"}]), &json!({})).unwrap();
        let mine = json!([{"hostPort": 8080, "containerPort": 80, "hostIP": "::1"}]);
        let error = b.add(&mine, &json!({})).unwrap_err();
        assert_eq!(error.message(), "port [::1]:8080/tcp is published by container a on network net");
        a.del();
        b.add(&mine, &json!({})).unwrap();
        b.del();
        assert_eq!(ruleset(), "");
    });
}
