//! ADD against DEL at the same time: of one container, and of two on one bridge.

use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use sandbox::traffic::ask_tcp;
use sandbox::{Host, Namespaced, Snapshot, UPLINK_V4, isolated};
use serde_json::{Value, json};

use crate::shared::bridge;
use crate::shared::cleat::succeed;
use crate::shared::crowd::{Container, MIXED, install, ports};
use crate::shared::members::{Network, host};
use crate::shared::programs::BRIDGE;
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

/// DEL of container `a`, whose link the kernel is asked to remove 0.4 s late: at the first request of the process behind it.
fn del_with_a_late_link(conf: &Value, netns: &Namespaced) {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=sendto:delay_enter=400000:when=1", BRIDGE]);
    strace.env_clear().env("PATH", "/usr/bin:/bin").env("CNI_COMMAND", "DEL").env("CNI_PATH", "/");
    strace.env("CNI_CONTAINERID", "a").env("CNI_NETNS", netns.path()).env("CNI_IFNAME", "eth0");
    let output = sandbox::run(&mut strace, conf.to_string().as_bytes());
    assert!(output.status.success(), "{}", said(&output));
}

/// DEL takes a port off its bridge's gate while the kernel removes the link. An ADD in between finds no gate and a port on the
/// bridge, and closes the bridge for that port as well, which then never leaves.
#[test]
fn an_add_beside_the_last_del_takes_the_port_that_goes_for_no_member() {
    isolated(|| {
        let _host = Host::new();
        for keys in [json!({"ingress": "published"}), json!({"icc": false})] {
            let before = Snapshot::take();
            let mut conf = bridge::conf();
            conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
            let (a, b) = (Namespaced::new("a"), Namespaced::new("b"));
            bridge::add(&conf, "a", &a);
            let ports =
                || succeed(Command::new("ip").args(["-o", "link", "show", "master", "br0"])).lines().count();
            thread::scope(|scope| {
                let del = scope.spawn(|| del_with_a_late_link(&conf, &a));
                let deadline = Instant::now() + Duration::from_secs(5);
                while succeed(Command::new("nft").args(["list", "tables"])).contains("cleat_gate") {
                    assert!(Instant::now() < deadline, "DEL has not opened the gate");
                }
                bridge::add(&conf, "b", &b);
                assert_eq!(ports(), 2, "the link of a went before ADD of b had seen it");
                del.join().unwrap();
            });
            assert_eq!(ports(), 1);
            bridge::call("DEL", &conf, "b", &b).run().silent();
            drop((a, b));
            before.assert_unchanged();
        }
    });
}
