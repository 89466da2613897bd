//! When DEL of bridge returns, its links are gone, although the kernel has not finished removing them.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use sandbox::{Host, Namespaced, Snapshot, isolated};
use serde_json::json;

use crate::shared::bridge::{add, call, conf};

fn links() -> String {
    let output = Command::new("ip").args(["-o", "link"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// How many processes of this sandbox still wait until the kernel has finished removing a link, after DEL has returned.
fn deputies() -> usize {
    let here = fs::read_link("/proc/self/ns/user").unwrap();
    let removes_a_link = |process: &fs::DirEntry| {
        let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == b"remove-link")
            && fs::read_link(process.path().join("ns/user")).is_ok_and(|theirs| theirs == here)
    };
    fs::read_dir("/proc").unwrap().flatten().filter(removes_a_link).count()
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
        let deadline = Instant::now() + Duration::from_secs(5);
        while deputies() > 0 {
            assert!(Instant::now() < deadline, "a process that removes a link has not ended");
            thread::sleep(Duration::from_millis(10));
        }
        before.assert_unchanged_but_for(&container);
    });
}
