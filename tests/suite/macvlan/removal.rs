//! DEL and GC: what an attachment had is gone, and what lives keeps what it has.

use std::fs;
use std::process::{Command, Stdio};

use sandbox::{Call, Host, Namespaced, Snapshot, isolated};
use serde_json::json;

use super::lan::{Container, call, conf};
use crate::shared::programs::{MACVLAN, REFERENCE};
use crate::shared::shell::shell;

/// Without the namespace, without a previous result, and twice.
#[test]
fn del_removes_the_link_and_the_lease() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let a = Container::start("a", conf(&json!({"synchronousDel": true})));
        call("DEL", &a.conf, &a.netns).run().silent();
        a.netns.enter(|| shell("! ip link show eth0 2>/dev/null"));
        a.stop();
        let b = Container::start("b", conf(&json!({})));
        let Container { netns, conf: keys, .. } = b;
        let gone = call("DEL", &keys, &netns).env("CNI_NETNS", "/run/netns/gone");
        let without = call("DEL", &keys, &netns).without("CNI_NETNS");
        drop(netns);
        gone.run().silent();
        without.run().silent();
        before.assert_unchanged();
    });
}

/// A path that another container has by now, a link of another kind, and a macvlan that the reference made.
#[test]
fn del_removes_its_own_link_and_no_other() {
    isolated(|| {
        let _host = Host::new();
        let a = Container::start("a", conf(&json!({})));
        // As after a reboot: the runtime's path leads to another container's namespace.
        call("DEL", &a.conf, &a.netns).env("CNI_CONTAINERID", "before").run().silent();
        a.check().silent();
        a.stop();
        let other = Namespaced::new("other");
        other.enter(|| shell("ip link add eth0 type veth peer name eth1"));
        call("DEL", &conf(&json!({})), &other).run().silent();
        other.enter(|| shell("ip link show eth0 >/dev/null"));
        let theirs = Namespaced::new("theirs");
        let program = format!("{REFERENCE}/macvlan");
        let old = conf(&json!({"cniVersion": "1.0.0"}));
        let made = Call::new(&program, "ADD", &old).of("theirs", &theirs, "eth0").run().result();
        let mut with_result = old.clone();
        with_result["prevResult"] = made;
        call("CHECK", &with_result, &theirs).run().silent();
        call("DEL", &with_result, &theirs).run().silent();
        theirs.enter(|| shell("! ip link show eth0 2>/dev/null"));
        let left: Vec<_> = fs::read_dir("/var/lib/cni/networks/lan").unwrap().collect();
        let is_lease = |name: &str| name.starts_with("192.") || name.starts_with("2001:");
        let left = left.into_iter().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(left.filter(|name| is_lease(name)).count(), 0);
    });
}

/// What is not in the runtime's list goes, but for what is in a namespace with a process.
#[test]
fn gc_removes_what_is_not_valid_and_keeps_what_lives() {
    isolated(|| {
        let _host = Host::new();
        let valid = Container::start("valid", conf(&json!({})));
        let ended = Container::start("ended", conf(&json!({})));
        let lives = Container::start("lives", conf(&json!({})));
        let mut sleep = Command::new("nsenter");
        sleep.arg(format!("--net={}", lives.netns.path().display())).args(["sleep", "60"]);
        let mut process = sleep.stdin(Stdio::null()).spawn().unwrap();
        while !lives_in(&lives.netns, process.id()) {
            std::thread::yield_now();
        }
        let mut gc = conf(&json!({}));
        gc["cni.dev/valid-attachments"] = json!([{"containerID": "valid", "ifname": "eth0"}]);
        Call::new(MACVLAN, "GC", &gc).run().silent();
        valid.check().silent();
        lives.check().silent();
        ended.netns.enter(|| shell("! ip link show eth0 2>/dev/null"));
        let (_, said) = ended.check().error();
        assert!(!said.is_empty());
        // Another network's are not looked at.
        gc["name"] = json!("another");
        gc["cni.dev/valid-attachments"] = json!([]);
        Call::new(MACVLAN, "GC", &gc).run().silent();
        valid.check().silent();
        process.kill().unwrap();
        process.wait().unwrap();
        gc["name"] = json!("lan");
        Call::new(MACVLAN, "GC", &gc).run().silent();
        for container in [&valid, &lives] {
            container.netns.enter(|| shell("! ip link show eth0 2>/dev/null"));
        }
    });
}

fn lives_in(netns: &Namespaced, process: u32) -> bool {
    let inode = |path: &str| fs::metadata(path).map(|found| std::os::unix::fs::MetadataExt::ino(&found)).ok();
    inode(&format!("/proc/{process}/ns/net")) == inode(&netns.path().display().to_string())
}
