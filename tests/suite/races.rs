//! ADD against DEL of one container, at the same time.

use std::collections::BTreeSet;
use std::process::Output;
use std::thread;
use std::time::Duration;

use sandbox::traffic::ask_tcp;
use sandbox::{Namespaced, Snapshot, UPLINK_V4, isolated};
use serde_json::json;

use crate::shared::crowd::{Container, MIXED, install, ports};
use crate::shared::members::{Network, host};
use crate::shared::shell::said;

/// A runtime must not do this (specification, section 2), but people do it by hand: the lock of `cleat` has one call wait for
/// the other.
#[test]
fn an_add_and_a_del_of_one_container_at_once_end_attached_or_not() {
    const ROUNDS: usize = 36;
    isolated(|| {
        let host = host();
        install();
        let containers: Vec<Container> = (0..MIXED.len()).map(Container::new).collect();
        containers.iter().for_each(Container::serve);
        let before = Snapshot::take();
        let mut outcomes = BTreeSet::new();
        for round in 0..ROUNDS {
            let container = &containers[round % MIXED.len()];
            // The second call is late by a delay that grows, and ADD and DEL take turns at being second.
            let late = Duration::from_millis((round / MIXED.len() * 4) as u64);
            let verbs = if round.is_multiple_of(2) { ["add", "del"] } else { ["del", "add"] };
            let outputs: [Output; 2] = thread::scope(|scope| {
                let first = scope.spawn(|| container.verb(verbs[0]).output().unwrap());
                thread::sleep(late);
                let second = container.verb(verbs[1]).output().unwrap();
                [first.join().unwrap(), second]
            });
            for output in &outputs {
                assert!(output.status.success(), "{}", said(output));
            }
            let left = before.differences();
            let checked = container.verb("check").output().unwrap();
            let is_attached = checked.status.success();
            assert!(
                is_attached || left.is_empty(),
                "attached in part by {verbs:?}, {late:?} apart: {}{left:#?}",
                said(&checked)
            );
            if is_attached {
                let port = ports().remove(0).1;
                let seen = ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:{port}"));
                assert_eq!(seen.unwrap(), format!("{} sees 192.0.2.2", container.netns.name()));
            }
            outcomes.insert(is_attached);
            container.del();
            before.assert_unchanged();
        }
        assert_eq!(outcomes.len(), 2, "some rounds end attached and some do not");
    });
}

/// The same to one plugin, as by a runtime without a lock: after the next DEL nothing is left. Before it, the container has
/// all or nothing of host-port and link-env; of the bridge, which takes several steps, it may have a part.
#[test]
fn plugins_that_add_and_delete_one_container_at_once_leave_nothing_to_the_next_del() {
    const ROUNDS: u64 = 24;
    isolated(|| {
        let _host = host();
        let netns = Namespaced::new("c");
        let before = Snapshot::take();
        let network =
            Network { name: "shop", subnet: 7, keys: json!({"icc": false, "ingress": "published"}) };
        let ports = json!([{"hostPort": 8080, "containerPort": 80}, {"hostPort": 0, "containerPort": 81}]);
        let member = network.publish(&netns, &json!({"name": "c", "expose": ["80"]}), &ports);
        for place in [2, 1, 0] {
            member.call(place, "DEL").run().silent();
            let base = Snapshot::take();
            for round in 0..ROUNDS {
                thread::scope(|scope| {
                    let add = scope.spawn(|| member.call(place, "ADD").run());
                    thread::sleep(Duration::from_micros(round * 400));
                    member.call(place, "DEL").run().silent();
                    add.join().unwrap();
                });
                let checked = member.call(place, "CHECK").run();
                let (is_attached, left) = (checked.output().status.success(), base.differences());
                assert!(place == 0 || is_attached || left.is_empty(), "in part: {checked:?}{left:#?}");
                member.call(place, "DEL").run().silent();
                base.assert_unchanged();
            }
        }
        before.assert_unchanged();
    });
}
