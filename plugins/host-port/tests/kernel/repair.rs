//! Rules, elements and routes that other programs removed: CHECK names them, and the same ADD again restores them.

use std::net::TcpListener;
use std::process::Command;

use netlink::sysctl;
use sandbox::{Snapshot, isolated, traffic};
use serde_json::{Value, json};

use crate::world::{Container, World, ruleset};

fn damage(line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    assert!(Command::new(words[0]).args(&words[1..]).status().unwrap().success(), "{line}");
}

/// The ports that `published` lists for a container, in its order.
fn ports_of(container: &Container) -> Vec<String> {
    let all = host_port::published(&mut nftables::Socket::open().unwrap()).unwrap();
    let own = all.iter().filter(|published| published.container_id == container.id);
    own.map(|published| published.port.to_string()).collect()
}

#[test]
fn whatever_is_missing_is_named_and_put_back() {
    isolated(|| {
        let world = World::new(false);
        let (web, other) = (world.container("web", 11), world.container("other", 12));
        let before = Snapshot::take();
        for container in [&web, &other] {
            traffic::serve_tcp(Some(&container.namespace), &container.id, "[::]:80");
        }
        let (mine, theirs) = (
            json!([{"hostPort": 8080, "containerPort": 80}]),
            json!([{"hostPort": 8081, "containerPort": 80}]),
        );
        let add = |container: &Container, mappings: &Value| container.add(mappings, &json!({})).unwrap();
        add(&web, &mine);
        add(&other, &theirs);
        for (line, named) in [
            (
                "nft flush ruleset",
                "table inet cleat_host_port is missing, and with it every port of container web",
            ),
            ("nft flush table inet cleat_host_port", "rules of chain "),
            ("nft flush chain inet cleat_host_port pre", "rules of chain pre of table"),
            ("nft flush chain inet cleat_host_port guard", "rules of chain guard of table"),
            ("nft flush chain inet cleat_host_port away", "rules of chain away of table"),
            ("nft flush map inet cleat_host_port port4", "element tcp . 8080 of map port4 is missing"),
            ("nft flush set inet cleat_host_port local6", "element tcp . 8080 of map local6 is missing"),
            ("nft flush map inet cleat_host_port hair6", "element fd00:1::11 of map hair6 is missing"),
            ("nft flush map inet cleat_host_port owners", "knows nothing of container web"),
            ("ip -6 route del local fd63:6c65:6174::34c3", "local route to fd63:6c65:6174::34c3 is off"),
            ("nft flush set inet cleat_host_port local4", "element tcp . 8080 of map local4 is missing"),
            ("ip route del local 169.254.213.2", "local route to 169.254.213.2 is off"),
        ] {
            damage(line);
            let error = web.check(&mine, &json!({})).unwrap_err();
            assert_eq!(error.code(), 101);
            assert!(error.message().contains(named), "{line}: {error}");
            add(&web, &mine);
            web.check(&mine, &json!({})).unwrap_or_else(|error| panic!("{line}: {error}"));
            for address in ["127.0.0.1:8080", "192.0.2.1:8080", "[::1]:8080"] {
                assert!(traffic::ask_tcp(None, address).is_ok(), "{line}: {address}");
            }
            // What the ADD of `web` did not restore for `other` is restored by the ADD of `other`.
            if other.check(&theirs, &json!({})).is_err() {
                add(&other, &theirs);
            }
            other.check(&theirs, &json!({})).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert!(traffic::ask_tcp(None, "127.0.0.1:8081").is_ok(), "{line}");
        }
        web.del();
        other.del();
        before.assert_unchanged();
    });
}

#[test]
fn a_del_after_rules_were_flushed_takes_nothing_from_others() {
    isolated(|| {
        let world = World::new(false);
        let (web, other) = (world.container("web", 11), world.container("other", 12));
        let theirs = json!([{"hostPort": 8081, "containerPort": 80}]);
        web.add(&json!([{"hostPort": 8080, "containerPort": 80}]), &json!({"masqAll": true})).unwrap();
        other.add(&theirs, &json!({})).unwrap();
        damage("nft flush table inet cleat_host_port");
        web.del();
        assert_eq!(ports_of(&other), ["0.0.0.0:8081/tcp", "[::]:8081/tcp"]);
        other.add(&theirs, &json!({})).unwrap();
        other.check(&theirs, &json!({})).unwrap();
        other.del();
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn an_add_that_is_repeated_keeps_the_ports_it_chose() {
    isolated(|| {
        let world = World::new(false);
        let (web, other) = (world.container("web", 11), world.container("other", 12));
        let open = json!([
            {"hostPort": 0, "containerPort": 80},
            {"hostPort": 0, "containerPort": 80, "hostIP": "127.0.0.1"},
            {"hostPort": 0, "containerPort": 53, "protocol": "udp"},
        ]);
        web.add(&open, &json!({})).unwrap();
        other.add(&open, &json!({})).unwrap();
        let chosen = ports_of(&web);
        assert_eq!(chosen.len(), 5);
        damage("nft flush chain inet cleat_host_port post");
        web.add(&open, &json!({})).unwrap();
        assert_eq!(ports_of(&web), chosen);
        web.check(&open, &json!({})).unwrap();
    });
}

#[test]
fn free_ports_go_on_from_the_last_one() {
    isolated(|| {
        let world = World::new(false);
        let containers = [11, 12, 13, 14].map(|number| world.container(&format!("c{number}"), number));
        let keys = json!({"freePorts": "49000-49003"});
        sysctl::set("net/ipv4/ip_local_reserved_ports", "49001").unwrap();
        let open = json!([{"hostPort": 0, "containerPort": 80, "hostIP": "0.0.0.0"}]);
        let chosen = |container: &Container| {
            container.add(&open, &keys).unwrap();
            let port = ports_of(container).remove(0);
            port.strip_prefix("0.0.0.0:").unwrap().strip_suffix("/tcp").unwrap().parse::<u16>().unwrap()
        };
        let follows = |port: u16| match port {
            49000 => 49002,
            49002 => 49003,
            _ => 49000,
        };
        let first = chosen(&containers[0]);
        let second = chosen(&containers[1]);
        assert_eq!(second, follows(first));
        // A port that was released is chosen again only after the other free ports.
        containers[1].del();
        let third = chosen(&containers[2]);
        assert_eq!(third, follows(second));
        assert_eq!(chosen(&containers[3]), second);
        let error = containers[1].add(&open, &keys).unwrap_err();
        assert_eq!((error.code(), error.message()), (102, "no tcp port of 49000 to 49003 is free"));
        // A port that a process of the host listens on is skipped.
        containers[0].del();
        let _listener = TcpListener::bind(("127.0.0.1", first)).unwrap();
        assert!(containers[1].add(&open, &keys).is_err());
    });
}
