//! Many containers that are added and deleted at once on several networks, and GC at the same time.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use sandbox::traffic::ask_tcp;
use sandbox::{Call, Snapshot, UPLINK_V4, UPLINK_V6, isolated};
use serde_json::{Value, json};

use crate::shared::cleat::{DUAL, json_of, ok, states};
use crate::shared::crowd::{
    Container, LINKS, MIXED, addresses, at_once, by_id, distinct, install, list, ports, success,
};
use crate::shared::members::{assert_closed, assert_open, host, ways};
use crate::shared::programs::program;

#[test]
fn two_hundred_come_at_once_to_three_networks_and_go_at_once() {
    const CROWD: usize = 200;
    const SAMPLE: usize = 12;
    isolated(|| {
        let host = host();
        install();
        let before = Snapshot::take();
        let mut crowd: Vec<Container> = (0..CROWD).map(Container::new).collect();
        crowd.iter().take(SAMPLE).for_each(Container::serve);

        let results = at_once(&crowd, Container::add);
        let given: Vec<Vec<String>> = results.iter().map(addresses).collect();
        let all: Vec<&String> = given.iter().flatten().collect();
        let dual = crowd.iter().filter(|container| container.network() == DUAL).count();
        assert_eq!((all.len(), distinct(&all)), (CROWD + dual, CROWD + dual));
        let ports = ports();
        assert_eq!(distinct(ports.iter().map(|(_, port)| port)), CROWD, "{ports:?}");
        let port_of = |container: &Container| {
            let id = container.netns.name();
            ports.iter().find(|(known, _)| known == id).unwrap_or_else(|| panic!("no {id} in {ports:?}")).1
        };
        for container in &crowd {
            let fixed = container.fixed_port().map(|port| port as u64);
            assert!(fixed.is_none_or(|fixed| fixed == port_of(container)), "{ports:?}");
        }
        // They are reached from outside by their published ports, and from each other where the network allows it.
        let (mut open, mut closed) = (Vec::new(), Vec::new());
        for (container, given) in crowd.iter().zip(&given).take(SAMPLE) {
            let (name, port) = (container.netns.name(), port_of(container));
            let seen = ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:{port}")).unwrap();
            assert_eq!(seen, format!("{name} sees 192.0.2.2"));
            if container.network() == DUAL {
                let seen = ask_tcp(Some(&host.outside), &format!("[{UPLINK_V6}]:{port}")).unwrap();
                assert_eq!(seen, format!("{name} sees 2001:db8::2"));
            }
            let neighbour = &crowd[(container.number + MIXED.len()) % SAMPLE];
            let way = ways(Some(&neighbour.netns), &[format!("{}:80", given[0])]).remove(0);
            let is_open = neighbour.network() != LINKS || neighbour.source() == Some(container.number);
            if is_open { open.push(way) } else { closed.push(way) }
        }
        assert_open(&open);
        assert_closed(&closed);
        assert!(!closed.is_empty());
        // The hosts file names all containers of the network; on the network for links, the linked one alone.
        for container in &crowd {
            let (network, hosts) = (container.network(), container.hosts());
            let own = crowd.iter().filter(|other| other.network() == network).count();
            // A line for each address.
            let names =
                hosts.lines().filter_map(|line| line.split_whitespace().find(|word| word.ends_with(network)));
            let known = distinct(names);
            let is_linked = hosts.split_whitespace().any(|word| word == "source");
            assert_eq!(is_linked, container.source().is_some(), "{hosts}");
            assert!(network == LINKS || known == own, "{known} of {own}: {hosts}");
        }
        assert_eq!(states(&["check"]), ["ok"; CROWD]);

        // Every fifth container is deleted by its ID alone, after its namespace.
        let gone: Vec<Container> =
            crowd.extract_if(.., |container| container.number.is_multiple_of(5)).collect();
        let mut dels: Vec<Command> =
            gone.iter().map(|gone| by_id("del", gone.network(), gone.number)).collect();
        drop(gone);
        dels.extend(crowd.iter().map(|container| container.verb("del")));
        thread::scope(|scope| {
            for del in &mut dels {
                scope.spawn(|| success(del));
            }
        });
        drop(crowd);
        before.assert_unchanged();
    });
}

/// Calls GC for each plugin as a runtime does, with the valid attachments, until `stop`. Returns the number of rounds.
fn collect_over_and_over(valid: &[Value], stop: &AtomicBool) -> usize {
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        for (name, file) in MIXED {
            for plugin in list(file)["plugins"].as_array().unwrap() {
                let mut conf = plugin.clone();
                conf["name"] = json!(name);
                conf["cniVersion"] = json!("1.1.0");
                conf["cni.dev/valid-attachments"] = json!(valid);
                Call::new(program(plugin["type"].as_str().unwrap()), "GC", &conf).run().silent();
            }
        }
        rounds += 1;
    }
    rounds
}

#[test]
fn gc_beside_those_who_come_and_go_takes_the_dead_alone() {
    const EACH: usize = 12;
    isolated(|| {
        let host = host();
        install();
        let before = Snapshot::take();
        let group = |group: usize| -> Vec<Container> {
            (group * EACH..(group + 1) * EACH).map(Container::new).collect()
        };
        let [stay, go, dead, come] = [0, 1, 2, 3].map(group);
        for group in [&stay, &go, &dead] {
            at_once(group, Container::add);
        }
        stay.iter().for_each(Container::serve);
        drop(dead);
        let alive: Vec<&Container> = stay.iter().chain(&go).chain(&come).collect();
        let valid: Vec<Value> = alive
            .iter()
            .map(|container| json!({"containerID": container.netns.name(), "ifname": "eth0"}))
            .collect();
        let stop = AtomicBool::new(false);
        let rounds = thread::scope(|scope| {
            let plugins = scope.spawn(|| collect_over_and_over(&valid, &stop));
            let gc = scope.spawn(|| {
                for (network, _) in MIXED {
                    ok(&["gc", network]);
                }
            });
            let adds = scope.spawn(|| at_once(&come, Container::add));
            at_once(&go, Container::del);
            adds.join().unwrap();
            gc.join().unwrap();
            stop.store(true, Ordering::Relaxed);
            plugins.join().unwrap()
        });
        assert!(rounds > 0);
        assert_eq!(states(&["check"]), ["ok"; 2 * EACH]);
        for (id, port) in ports().iter().filter(|(id, _)| stay.iter().any(|stays| stays.netns.name() == id)) {
            let seen = ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:{port}")).unwrap();
            assert_eq!(seen, format!("{id} sees 192.0.2.2"));
        }
        assert_eq!(json_of(&["gc"]), json!([]));
        for group in [&stay, &come] {
            at_once(group, Container::del);
        }
        drop((stay, go, come));
        before.assert_unchanged();
    });
}
