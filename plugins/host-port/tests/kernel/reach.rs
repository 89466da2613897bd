//! Who reaches a published port, and as whom the container sees them.

use sandbox::{UPLINK_V4, UPLINK_V6, isolated, traffic};
use serde_json::json;

use crate::world::World;

fn everybody_reaches_it(bridge_filter: bool) {
    let world = World::new(bridge_filter);
    let (web, other) = (world.container("web", 11), world.container("other", 12));
    let inside = Some(&web.namespace);
    traffic::serve_tcp(inside, "web", "[::]:80");
    traffic::serve_udp(inside, "web", "10.1.0.11:53");
    traffic::serve_udp(inside, "web", "[fd00:1::11]:53");
    let mappings = json!([
        {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
        {"hostPort": 5353, "containerPort": 53, "protocol": "udp"},
        {"hostPort": 9090, "containerPort": 80, "hostIP": "127.0.0.1"},
    ]);
    web.add(&mappings, &json!({})).unwrap();
    web.check(&mappings, &json!({})).unwrap();
    for (name, from, address, source) in [
        ("outside", Some(&world.host.outside), UPLINK_V4, "192.0.2.2"),
        ("outside", Some(&world.host.outside), UPLINK_V6, "2001:db8::2"),
        ("host", None, UPLINK_V4, "10.1.0.1"),
        ("host", None, UPLINK_V6, "fd00:1::1"),
        ("host", None, "127.0.0.1", "10.1.0.1"),
        ("other", Some(&other.namespace), UPLINK_V4, "10.1.0.1"),
        ("other", Some(&other.namespace), "10.1.0.1", "10.1.0.1"),
        ("other", Some(&other.namespace), UPLINK_V6, "fd00:1::1"),
        ("web", inside, UPLINK_V4, "10.1.0.1"),
        ("web", inside, UPLINK_V6, "fd00:1::1"),
    ] {
        let socket = |port: u16| {
            let address: std::net::IpAddr = address.parse().unwrap();
            std::net::SocketAddr::new(address, port).to_string()
        };
        let expected = format!("web sees {source}");
        let tcp = traffic::ask_tcp(from, &socket(8080));
        assert_eq!(tcp.expect(name), expected, "tcp from {name} to {address}");
        let udp = traffic::ask_udp(from, &socket(5353));
        assert_eq!(udp.expect(name), expected, "udp from {name} to {address}");
    }
    assert_eq!(traffic::ask_tcp(None, "127.0.0.1:9090").unwrap(), "web sees 10.1.0.1");
    for (from, address) in [(Some(&world.host.outside), UPLINK_V4), (Some(&other.namespace), "10.1.0.1")] {
        assert!(
            traffic::ask_tcp(from, &format!("{address}:9090")).is_err(),
            "{address} leads to a port of 127.0.0.1"
        );
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
        traffic::serve_tcp(Some(&web.namespace), "web", "[::]:80");
        traffic::serve_tcp(Some(&other.namespace), "other", "[::]:8080");
        traffic::serve_tcp(Some(&world.host.outside), "outside", "[::]:8080");
        web.add(&json!([{"hostPort": 8080, "containerPort": 80}]), &json!({})).unwrap();
        let to = |from, address: &str| traffic::ask_tcp(from, address).unwrap();
        assert_eq!(to(Some(&web.namespace), "10.1.0.12:8080"), "other sees 10.1.0.11");
        assert_eq!(to(None, "192.0.2.2:8080"), "outside sees 192.0.2.1");
        assert_eq!(to(None, "10.1.0.12:8080"), "other sees 10.1.0.1");
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
        assert!(v6.is_err(), "0.0.0.0 is of IPv4 only");
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
        // The chain of the other goes; the table and its ports stay.
        hides.del();
        assert_eq!(traffic::ask_tcp(outside, "192.0.2.1:8081").unwrap(), "shows sees 192.0.2.2");
    });
}
