//! When DEL of bridge returns, its links are gone, although the kernel has not finished removing them.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sandbox::{Host, Namespaced, Snapshot, isolated};
use serde_json::{Value, json};

use crate::shared::bridge::{add, call, conf};

fn links() -> String {
    let output = Command::new("ip").args(["-o", "link"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// How many processes outlive the DELs that have returned.
fn deputies() -> usize {
    deputies_themselves().count()
}

/// The processes of this sandbox that remove a link, or keep sockets, behind a DEL.
fn deputies_themselves() -> impl Iterator<Item = Pid> {
    let here = fs::read_link("/proc/self/ns/user").unwrap();
    let removes_a_link = move |process: &fs::DirEntry| {
        let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == b"remove-link")
            && fs::read_link(process.path().join("ns/user")).is_ok_and(|theirs| theirs == here)
    };
    let deputies = fs::read_dir("/proc").unwrap().flatten().filter(removes_a_link);
    deputies.filter_map(|process| process.file_name().to_str()?.parse().ok().map(Pid::from_raw))
}

fn await_no_deputies() {
    let deadline = Instant::now() + Duration::from_secs(5);
    while deputies() > 0 {
        assert!(Instant::now() < deadline, "a process that removes a link has not ended");
        thread::sleep(Duration::from_millis(10));
    }
}

/// ADD and DEL of one container; returns how long the ADD took.
fn life(conf: &Value, container: &Namespaced) -> Duration {
    let start = Instant::now();
    let result = add(conf, "a", container);
    let took = start.elapsed();
    let mut conf = conf.clone();
    conf["prevResult"] = result;
    call("DEL", &conf, "a", container).run().silent();
    took
}

#[test]
fn links_are_gone_when_del_returns_and_nobody_stays() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let container = Namespaced::new("a");
        // One container directly after the other: names and addresses are free again at once.
        for round in 0..30 {
            let mut conf = conf();
            conf["ipam"]["ranges"] = json!([[{"subnet": "10.1.0.0/24"}]]);
            let id = format!("a{}", round % 2);
            let result = add(&conf, &id, &container);
            assert!(links().contains("br0"));
            conf["prevResult"] = result;
            call("DEL", &conf, &id, &container).run().silent();
            let left = links();
            assert!(!left.contains("veth") && !left.contains("br0"), "round {round}: {left}");
            assert_eq!(container.enter(links).matches("eth0").count(), 0);
        }
        await_no_deputies();
        before.assert_unchanged_but_for(&container);
    });
}

/// The kernel frees what a DEL deleted in the packet filter after a grace period of 4 to 20 ms, for which whoever closes a
/// socket waits, with everybody else behind: see `lib/nftables/src/closing`.
#[test]
fn an_add_behind_a_del_does_not_wait_for_it() {
    isolated(|| {
        let _host = Host::new();
        let (first, container) = (Namespaced::new("first"), Namespaced::new("a"));
        // It keeps the bridge: to remove one takes the kernel's lock on links for some 25 ms.
        add(&conf(), "first", &first);
        let (mut alone, mut behind) = (Vec::new(), Vec::new());
        for _ in 0..25 {
            thread::sleep(Duration::from_millis(60));
            alone.push(life(&conf(), &container));
            behind.push(life(&conf(), &container));
        }
        alone.sort();
        behind.sort();
        let (alone, behind) = (alone[12], behind[12]);
        assert!(behind < alone + Duration::from_millis(4), "{behind:?} behind a DEL, {alone:?} alone");
        await_no_deputies();
    });
}

#[test]
fn a_process_that_is_killed_behind_a_del_takes_nothing_with_it() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let container = Namespaced::new("a");
        for _ in 0..10 {
            life(&conf(), &container);
            for deputy in deputies_themselves() {
                // It may have ended by itself.
                let _ = kill(deputy, Signal::SIGKILL);
            }
        }
        await_no_deputies();
        before.assert_unchanged_but_for(&container);
    });
}

#[test]
fn synchronous_del_leaves_no_process() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let container = Namespaced::new("a");
        let mut conf = conf();
        conf["synchronousDel"] = json!(true);
        for _ in 0..5 {
            life(&conf, &container);
            assert_eq!(deputies(), 0);
            assert!(!links().contains("br0"));
        }
        before.assert_unchanged_but_for(&container);
        conf["synchronousDel"] = json!("yes");
        let (code, error) = call("ADD", &conf, "a", &container).run().error();
        assert!(code == 7 && error.contains("yes"), "{code}: {error}");
        before.assert_unchanged_but_for(&container);
    });
}
