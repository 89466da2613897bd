//! Ports that another container or a process of the host already has.

use std::net::TcpListener;

use netlink::Socket;
use sandbox::{isolated, traffic};
use serde_json::json;

use crate::world::{World, ruleset};

#[test]
fn a_port_that_is_taken_is_refused_with_its_holders_name() {
    isolated(|| {
        let world = World::new(false);
        let (first, second) = (world.container("first", 11), world.container("second", 12));
        first.add(&json!([{"hostPort": 8080, "containerPort": 80}]), &json!({})).unwrap();
        let before = ruleset();
        let error = second
            .add(
                &json!([{"hostPort": 8081, "containerPort": 80}, {"hostPort": 8080, "containerPort": 80}]),
                &json!({}),
            )
            .unwrap_err();
        assert_eq!(error.code(), 102);
        assert_eq!(error.message(), "port 0.0.0.0:8080/tcp is published by container first on network net");
        assert_eq!(ruleset(), before, "a refused ADD leaves nothing");
        // The same number by another protocol, or on another host address, is another port.
        second
            .add(
                &json!([
                    {"hostPort": 8080, "containerPort": 80, "protocol": "sctp"},
                    {"hostPort": 8080, "containerPort": 80, "hostIP": "127.0.0.1"},
                ]),
                &json!({}),
            )
            .unwrap();
    });
}

/// podman publishes the ports of a container on each of its networks.
#[test]
fn a_port_that_the_container_has_by_another_network_is_no_conflict() {
    isolated(|| {
        let world = World::new(false);
        let (front, back) = (world.container("web", 11), world.container("back", 12));
        traffic::serve_tcp(Some(&front.namespace), "web", "[::]:80");
        let back = crate::world::Container { id: "web".to_owned(), ifname: "eth1", ..back };
        let mappings = json!([{"hostPort": 8080, "containerPort": 80}]);
        front.add(&mappings, &json!({})).unwrap();
        back.add(&mappings, &json!({})).unwrap();
        front.check(&mappings, &json!({})).unwrap();
        back.check(&mappings, &json!({})).unwrap();
        // The same host port to another port of the container is a conflict.
        let error = back.add(&json!([{"hostPort": 8080, "containerPort": 81}]), &json!({})).unwrap_err();
        assert_eq!(error.code(), 102);
        back.add(&mappings, &json!({})).unwrap();
        back.del();
        assert_eq!(traffic::ask_tcp(None, "127.0.0.1:8080").unwrap(), "web sees 10.1.0.1");
        back.add(&mappings, &json!({})).unwrap();
        front.del();
        back.del();
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn a_port_of_a_container_that_has_gone_is_taken_over() {
    isolated(|| {
        let world = World::new(false);
        let (gone, next) = (world.container("gone", 11), world.container("next", 12));
        traffic::serve_tcp(Some(&next.namespace), "next", "[::]:80");
        let many: Vec<_> = (8080..8120).map(|port| json!({"hostPort": port, "containerPort": 80})).collect();
        gone.add(&json!(many), &json!({})).unwrap();
        assert!(Socket::open().unwrap().del_link_by_name("veth11").unwrap());
        next.add(&json!([{"hostPort": 8080, "containerPort": 80}]), &json!({})).unwrap();
        assert_eq!(traffic::ask_tcp(None, "127.0.0.1:8080").unwrap(), "next sees 10.1.0.1");
        assert!(!ruleset().contains("10.1.0.11"), "{}", ruleset());
        // A late DEL removes nothing of the new holder.
        gone.del();
        assert_eq!(traffic::ask_tcp(None, "127.0.0.1:8080").unwrap(), "next sees 10.1.0.1");
    });
}

#[test]
fn an_address_that_was_given_away_anew_is_taken_over() {
    isolated(|| {
        let world = World::new(false);
        let web = world.container("web", 11);
        web.add(&json!([{"hostPort": 8080, "containerPort": 80}]), &json!({})).unwrap();
        let heir = crate::world::Container { id: "heir".to_owned(), ..web };
        heir.add(&json!([{"hostPort": 8081, "containerPort": 80}]), &json!({})).unwrap();
        assert!(!ruleset().contains("8080"), "{}", ruleset());
        heir.check(&json!([{"hostPort": 8081, "containerPort": 80}]), &json!({})).unwrap();
        heir.del();
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn an_add_that_is_repeated_replaces() {
    isolated(|| {
        let world = World::new(false);
        let web = world.container("web", 11);
        let (old, new) = (
            json!([{"hostPort": 8080, "containerPort": 80}]),
            json!([{"hostPort": 8080, "containerPort": 81}, {"hostPort": 8081, "containerPort": 80}]),
        );
        web.add(&old, &json!({})).unwrap();
        web.add(&old, &json!({})).unwrap();
        web.check(&old, &json!({})).unwrap();
        web.add(&new, &json!({})).unwrap();
        web.check(&new, &json!({})).unwrap();
        let error = web.check(&old, &json!({})).unwrap_err();
        assert_eq!(error.code(), 101);
        assert_eq!(error.message(), "element tcp . 8080 of map port4 leads somewhere else");
        web.del();
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn a_port_that_the_host_listens_on_is_refused_where_that_is_asked_for() {
    isolated(|| {
        let world = World::new(false);
        let web = world.container("web", 11);
        let listener = TcpListener::bind("192.0.2.1:8080").unwrap();
        let mappings = json!([{"hostPort": 8080, "containerPort": 80}]);
        let error = web.add(&mappings, &json!({"checkHostListeners": true})).unwrap_err();
        assert_eq!(error.code(), 102);
        assert_eq!(
            error.message(),
            "port 0.0.0.0:8080/tcp is in use by a process of the host, which listens on 192.0.2.1:8080"
        );
        assert_eq!(ruleset(), "");
        // By default a listener is no conflict: podman and nerdctl themselves listen on the port that they publish.
        web.add(&mappings, &json!({})).unwrap();
        drop(listener);
        web.add(&mappings, &json!({"checkHostListeners": true})).unwrap();
    });
}

#[test]
fn free_ports_are_chosen_past_those_that_are_taken() {
    isolated(|| {
        let world = World::new(false);
        let (first, second) = (world.container("first", 11), world.container("second", 12));
        netlink::sysctl::set("net/ipv4/ip_local_port_range", "40000 40003").unwrap();
        netlink::sysctl::set("net/ipv4/ip_local_reserved_ports", "40001").unwrap();
        let _listener = TcpListener::bind("[::]:40002").unwrap();
        let open = json!([{"hostPort": 0, "containerPort": 80}]);
        let chosen = || -> Vec<String> {
            let mut rules = nftables::Socket::open().unwrap();
            let all = host_port::published(&mut rules).unwrap();
            all.iter().map(|published| format!("{} {}", published.container_id, published.port)).collect()
        };
        first.add(&open, &json!({})).unwrap();
        first.check(&open, &json!({})).unwrap();
        second.add(&open, &json!({})).unwrap();
        second.check(&open, &json!({})).unwrap();
        let mut ports: Vec<String> =
            chosen().iter().map(|text| text.split(' ').nth(1).unwrap().to_owned()).collect();
        ports.sort();
        assert_eq!(ports, ["0.0.0.0:40000/tcp", "0.0.0.0:40003/tcp", "[::]:40000/tcp", "[::]:40003/tcp"]);
        let third = world.container("third", 13);
        let error = third.add(&open, &json!({})).unwrap_err();
        assert_eq!((error.code(), error.message()), (102, "no tcp port of 40000 to 40003 is free"));
    });
}
