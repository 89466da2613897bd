//! From where a published port is reached, and which source address the container sees.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use sandbox::{Namespaced, UPLINK_V4, UPLINK_V6, isolated, traffic};
use serde_json::json;

use crate::world::World;

type Serve = fn(Option<&Namespaced>, &str, u16);
type Ask = fn(Option<&Namespaced>, &str) -> io::Result<String>;

/// Each protocol's server and client.
const PROTOCOLS: [(&str, Serve, Ask); 3] = [
    ("tcp", |place, name, port| traffic::serve_tcp(place, name, &format!("[::]:{port}")), traffic::ask_tcp),
    (
        "udp",
        // An answer must come from the address that the client sent to; a socket of both families may choose another.
        |place, name, port| {
            traffic::serve_udp(place, name, &format!("0.0.0.0:{port}"));
            traffic::serve_udp(place, name, &format!("[fd00:1::11]:{port}"));
        },
        traffic::ask_udp,
    ),
    ("sctp", traffic::serve_sctp, traffic::ask_sctp),
];

fn everybody_reaches_it(bridge_filter: bool) {
    println!(
        "SCTP by {}",
        if traffic::has_sctp_sockets() { "the kernel's sockets" } else { "packets written by hand" }
    );
    let world = World::new(bridge_filter);
    let (web, other) = (world.container("web", 11), world.container("other", 12));
    let (outside, beside, inside) = (Some(&world.host.outside), Some(&other.namespace), Some(&web.namespace));
    let mut mappings = Vec::new();
    for (at, (protocol, serve, _)) in PROTOCOLS.iter().enumerate() {
        serve(inside, "web", 80);
        for (host_port, host_ip) in [(8080, ""), (9090, "127.0.0.1"), (7070, UPLINK_V4), (7071, "::")] {
            // Several ports of the host lead to one of the container.
            mappings.push(json!({
                "hostPort": host_port + at, "containerPort": 80, "protocol": protocol, "hostIP": host_ip
            }));
        }
    }
    web.add(&json!(mappings), &json!({})).unwrap();
    web.check(&json!(mappings), &json!({})).unwrap();
    for (at, (protocol, _, ask)) in PROTOCOLS.iter().enumerate() {
        let number = |port: u16| port + u16::try_from(at).unwrap();
        for (name, from, address, port, source) in [
            ("outside", outside, UPLINK_V4, 8080, "192.0.2.2"),
            ("outside", outside, UPLINK_V6, 8080, "2001:db8::2"),
            ("outside", outside, UPLINK_V4, 7070, "192.0.2.2"),
            ("outside", outside, UPLINK_V6, 7071, "2001:db8::2"),
            ("host", None, UPLINK_V4, 8080, UPLINK_V4),
            ("host", None, UPLINK_V6, 8080, UPLINK_V6),
            ("host", None, "10.1.0.1", 8080, "10.1.0.1"),
            ("host", None, "127.0.0.1", 8080, "10.1.0.1"),
            ("host", None, "127.0.0.1", 9090, "10.1.0.1"),
            ("host", None, "::1", 8080, "fd00:1::1"),
            ("host", None, "::1", 7071, "fd00:1::1"),
            ("other", beside, UPLINK_V4, 8080, "10.1.0.1"),
            ("other", beside, UPLINK_V4, 7070, "10.1.0.1"),
            ("other", beside, "10.1.0.1", 8080, "10.1.0.1"),
            ("other", beside, UPLINK_V6, 8080, "fd00:1::1"),
            ("other", beside, "fd00:1::1", 7071, "fd00:1::1"),
            ("web", inside, UPLINK_V4, 8080, "10.1.0.1"),
            ("web", inside, "10.1.0.1", 8080, "10.1.0.1"),
            ("web", inside, UPLINK_V6, 8080, "fd00:1::1"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let answer = ask(from, &SocketAddr::new(address, number(port)).to_string());
            let what = format!("{protocol} from {name} to {address} port {port}");
            assert_eq!(answer.expect(&what), format!("web sees {source}"), "{what}");
        }
    }
    // For datagrams a refusal shows only as a timeout, so only TCP is tried.
    for (from, address, port) in [
        (outside, UPLINK_V4, 9090),
        (beside, "10.1.0.1", 9090),
        (outside, UPLINK_V4, 7071),
        (None, "127.0.0.1", 7070),
        (None, "10.1.0.1", 7070),
    ] {
        assert!(traffic::ask_tcp(from, &format!("{address}:{port}")).is_err(), "{address}:{port}");
    }
}

#[test]
fn everybody_reaches_a_port() {
    isolated(|| everybody_reaches_it(false));
}

#[test]
fn everybody_reaches_a_port_where_bridged_packets_are_filtered() {
    isolated(|| everybody_reaches_it(true));
}

#[test]
fn what_is_only_forwarded_is_left_alone() {
    isolated(|| {
        let world = World::new(true);
        let (web, other) = (world.container("web", 11), world.container("other", 12));
        let outside = Some(&world.host.outside);
        for (place, name) in
            [(Some(&web.namespace), "web"), (Some(&other.namespace), "other"), (outside, "outside")]
        {
            traffic::serve_tcp(place, name, if name == "web" { "[::]:80" } else { "[::]:8080" });
        }
        for (family, to, by) in [("-4", "10.1.0.0/24", UPLINK_V4), ("-6", "fd00:1::/64", UPLINK_V6)] {
            let route = ["route", "add", to, "via", by];
            let add = || Command::new("ip").arg(family).args(route).status().unwrap();
            assert!(world.host.outside.enter(add).success());
        }
        web.add(&json!([{"hostPort": 8080, "containerPort": 80}]), &json!({})).unwrap();
        for (from, to, answer) in [
            (Some(&web.namespace), "10.1.0.12:8080", "other sees 10.1.0.11"),
            (Some(&web.namespace), "[fd00:1::12]:8080", "other sees fd00:1::11"),
            (Some(&other.namespace), "192.0.2.2:8080", "outside sees 10.1.0.12"),
            (Some(&other.namespace), "[2001:db8::2]:8080", "outside sees fd00:1::12"),
            (outside, "10.1.0.12:8080", "other sees 192.0.2.2"),
            (outside, "[fd00:1::12]:8080", "other sees 2001:db8::2"),
            (None, "192.0.2.2:8080", "outside sees 192.0.2.1"),
            (None, "10.1.0.12:8080", "other sees 10.1.0.1"),
        ] {
            assert_eq!(traffic::ask_tcp(from, to).expect(to), answer);
        }
    });
}

#[test]
fn a_port_on_one_address_goes_before_the_same_port_on_all() {
    isolated(|| {
        let world = World::new(false);
        let (one, all) = (world.container("one", 11), world.container("all", 12));
        for container in [&one, &all] {
            traffic::serve_tcp(Some(&container.namespace), &container.id, "[::]:80");
        }
        all.add(&json!([{"hostPort": 8080, "containerPort": 80, "hostIP": "0.0.0.0"}]), &json!({})).unwrap();
        one.add(&json!([{"hostPort": 8080, "containerPort": 80, "hostIP": UPLINK_V4}]), &json!({})).unwrap();
        let outside = Some(&world.host.outside);
        assert_eq!(traffic::ask_tcp(outside, "192.0.2.1:8080").unwrap(), "one sees 192.0.2.2");
        assert_eq!(traffic::ask_tcp(None, "127.0.0.1:8080").unwrap(), "all sees 10.1.0.1");
        let v6 = traffic::ask_tcp(outside, &format!("[{UPLINK_V6}]:8080"));
        assert!(v6.is_err(), "0.0.0.0 is IPv4 only");
    });
}

#[test]
fn masq_all_hides_every_client_and_no_snat_none() {
    isolated(|| {
        let world = World::new(false);
        let (hides, shows) = (world.container("hides", 11), world.container("shows", 12));
        for container in [&hides, &shows] {
            traffic::serve_tcp(Some(&container.namespace), &container.id, "[::]:80");
        }
        hides.add(&json!([{"hostPort": 8080, "containerPort": 80}]), &json!({"masqAll": true})).unwrap();
        shows.add(&json!([{"hostPort": 8081, "containerPort": 80}]), &json!({"snat": false})).unwrap();
        let outside = Some(&world.host.outside);
        assert_eq!(traffic::ask_tcp(outside, "192.0.2.1:8080").unwrap(), "hides sees 10.1.0.1");
        assert_eq!(traffic::ask_tcp(outside, "192.0.2.1:8081").unwrap(), "shows sees 192.0.2.2");
        assert_eq!(traffic::ask_tcp(None, "192.0.2.1:8081").unwrap(), "shows sees 192.0.2.1");
        assert_eq!(traffic::ask_tcp(None, "127.0.0.1:8080").unwrap(), "hides sees 10.1.0.1");
        // The chain of `hides` is removed; the table and the ports of `shows` stay.
        hides.del();
        assert_eq!(traffic::ask_tcp(outside, "192.0.2.1:8081").unwrap(), "shows sees 192.0.2.2");
    });
}

/// kube-proxy may translate a Service to a pod that also has a host port. It masquerades by itself where that is needed, so
/// this plugin must not.
fn what_others_have_translated_keeps_its_source(priority: i32) {
    // Answers between containers of one bridge pass netfilter, as on every Kubernetes node.
    let world = World::new(true);
    let (web, other) = (world.container("web", 11), world.container("other", 12));
    traffic::serve_tcp(Some(&web.namespace), "web", "[::]:80");
    let mappings = json!([{"hostPort": 80, "containerPort": 80}]);
    let rules = format!(
        "table inet services {{ chain pre {{ type nat hook prerouting priority {priority}; \
         ip daddr 10.96.0.1 tcp dport 80 dnat ip to 10.1.0.11:80; \
         ip daddr {UPLINK_V4} tcp dport 30080 dnat ip to 10.1.0.11:80; \
         ip6 daddr fd00:96::1 tcp dport 80 dnat ip6 to [fd00:1::11]:80; }}\n }}"
    );
    assert!(Command::new("nft").arg(rules).status().unwrap().success());
    for keys in [json!({}), json!({"masqAll": true})] {
        web.add(&mappings, &keys).unwrap();
        let seen = |address: &str| traffic::ask_tcp(Some(&other.namespace), address).expect(address);
        assert_eq!(seen("10.96.0.1:80"), "web sees 10.1.0.12");
        assert_eq!(seen(&format!("{UPLINK_V4}:30080")), "web sees 10.1.0.12");
        assert_eq!(seen("[fd00:96::1]:80"), "web sees fd00:1::12");
        assert_eq!(seen(&format!("{UPLINK_V4}:80")), "web sees 10.1.0.1");
        assert_eq!(seen(&format!("[{UPLINK_V6}]:80")), "web sees fd00:1::1");
        let by_outside = traffic::ask_tcp(Some(&world.host.outside), &format!("{UPLINK_V4}:30080")).unwrap();
        assert_eq!(by_outside, "web sees 192.0.2.2");
    }
}

#[test]
fn what_others_have_translated_before_keeps_its_source() {
    isolated(|| what_others_have_translated_keeps_its_source(-101));
}

#[test]
fn what_others_translate_after_it_keeps_its_source() {
    isolated(|| what_others_have_translated_keeps_its_source(-99));
}
