//! `conf/overlay/cleat-overlay.service` against what the program does: its rights, its folders, and its sockets.

use std::fs;
use std::path::Path;
use std::process::Command;

use sandbox::{isolated, only};
use serde_json::json;

use crate::agent::{Agent, conf, log, networks, until, write};

/// The values of a key of the unit.
fn values(key: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conf/overlay/cleat-overlay.service");
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

fn command(words: &[&str]) {
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn it_needs_no_more_than_its_unit_lets_it() {
    isolated(|| {
        assert_eq!(values("Type"), ["notify"]);
        assert!(values("ExecStop").is_empty() && values("Restart") == ["always"]);
        for runtime in ["containerd.service", "crio.service", "kubelet.service", "podman.service"] {
            assert!(values("Before").contains(&runtime.to_owned()), "{runtime}");
        }
        write("shop.json", &conf(&json!({})).to_string(), 0o600);
        // As with ProtectSystem=strict, but for the folders that systemd makes.
        let mut writable = Vec::new();
        for (key, base) in [("RuntimeDirectory", "/run"), ("StateDirectory", "/var/lib")] {
            for folder in values(key) {
                writable.push(format!("{base}/{folder}"));
            }
        }
        for folder in &writable {
            command(&["mkdir", "-p", folder]);
            command(&["mount", "--bind", folder, folder]);
        }
        crate::agent::prepare();
        let capabilities: Vec<String> = values("CapabilityBoundingSet")
            .iter()
            .map(|name| name.trim_start_matches("CAP_").to_lowercase())
            .collect();
        let rights = only(&capabilities.iter().map(String::as_str).collect::<Vec<_>>());
        let trace = format!("{}/trace", writable[0]);
        let strict = "for folder in /etc /run /var/lib; do
                mount --rbind $folder $folder && mount -o remount,bind,ro $folder || exit 1
            done; exec \"$@\"";
        let mut words: Vec<&str> = vec!["unshare", "--mount", "sh", "-c", strict, "sh"];
        words.extend(["strace", "-f", "-qq", "-e", "trace=socket", "-o", &trace]);
        words.extend(rights.iter().map(String::as_str));
        let agent = Agent::start_by(&words);
        agent.tells("READY=1");
        until("the network is there", || networks() == ["shop"]);
        until("it has asked for its engine", || fs::read_to_string(&trace).unwrap().contains("AF_INET,"));
        let allowed = values("RestrictAddressFamilies");
        let calls = fs::read_to_string(&trace).unwrap();
        for call in calls.lines().filter(|line| line.contains("socket(AF_")) {
            let family = call.split("socket(").nth(1).unwrap().split(',').next().unwrap();
            assert!(allowed.contains(&family.to_owned()), "{call}");
        }
        assert!(calls.contains("AF_NETLINK"), "{calls}");
        assert!(!log().contains("read-only") && !log().contains("not permitted"), "{}", log());
    });
}
