//! Its beginning and its end.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use sandbox::isolated;
use serde_json::json;

use crate::agent::{AGENT, Agent, FOLDER, SOCKET, conf, log, networks, prepare, run, until, write};

#[test]
fn it_is_ready_at_once_without_a_network_and_ends_by_signals() {
    isolated(|| {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let agent = Agent::start();
            assert_eq!(agent.tells("STATUS="), "STATUS=networks: 0, peers: 0");
            agent.tells("READY=1");
            assert_eq!(fs::metadata(SOCKET).unwrap().permissions().mode() & 0o777, 0o600);
            assert!(Path::new(FOLDER).is_dir());
            let (status, manager) = agent.end_by(signal);
            assert!(status.success(), "{status}: {}", log());
            manager.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let mut last = [0; 256];
            let count = manager.recv(&mut last).unwrap();
            assert_eq!(&last[..count], b"STOPPING=1\n");
            assert_eq!(log(), "", "nothing happened");
        }
    });
}

#[test]
fn there_is_one_and_its_place_is_free_when_it_is_killed() {
    isolated(|| {
        let first = Agent::start();
        first.tells("READY=1");
        let second = run(&["run"]);
        let said = String::from_utf8(second.stderr).unwrap();
        assert_eq!(second.status.code(), Some(1));
        assert!(said.starts_with("cleat-overlay: another cleat-overlay runs on this node"), "{said}");
        // The socket is still the first one's.
        assert!(networks().is_empty());
        first.end_by(Signal::SIGKILL);
        assert!(Path::new(SOCKET).exists());
        Agent::start().tells("READY=1");
    });
}

#[test]
fn a_machine_without_an_id_is_told() {
    isolated(|| {
        prepare();
        for text in ["", "uninitialized\n"] {
            fs::write("/etc/machine-id", text).unwrap();
            let output = run(&[]);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1));
            assert!(said.starts_with("cleat-overlay: /etc/machine-id: it is "), "{said}");
            assert!(said.contains("systemd-machine-id-setup") && said.lines().count() == 1, "{said}");
        }
    });
}

#[test]
fn a_network_whose_engine_is_away_does_not_hold_up_the_node() {
    isolated(|| {
        write("shop.json", &conf(&json!({})).to_string(), 0o600);
        let agent = Agent::start();
        agent.tells("READY=1");
        assert_eq!(networks(), ["shop"]);
        until("its state is logged", || log().contains("cleat-overlay: shop: "));
        let (status, _) = agent.end_by(Signal::SIGTERM);
        assert!(status.success(), "{status}: {}", log());
    });
}

#[test]
fn in_the_journal_lines_have_their_priority() {
    isolated(|| {
        prepare();
        write("odd.json", "{", 0o600);
        let file = fs::File::create("/run/journal").unwrap();
        let metadata = file.metadata().unwrap();
        let journal = format!("{}:{}", metadata.dev(), metadata.ino());
        for (stream, begin) in [(journal.as_str(), "<3>odd: "), ("8:15", "cleat-overlay: odd: ")] {
            let mut child = Command::new(AGENT)
                .env("JOURNAL_STREAM", stream)
                .stderr(file.try_clone().unwrap())
                .spawn()
                .unwrap();
            let text = || fs::read_to_string("/run/journal").unwrap();
            until(begin, || text().lines().any(|line| line.starts_with(begin)));
            child.kill().unwrap();
            child.wait().unwrap();
        }
    });
}

#[test]
fn a_network_is_removed_while_the_agent_runs() {
    isolated(|| {
        write("shop.json", &conf(&json!({})).to_string(), 0o600);
        let agent = Agent::start();
        agent.tells("READY=1");
        fs::create_dir_all("/var/lib/cleat/overlay/shop").unwrap();
        let refused = run(&["remove", "shop"]);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("127.0.0.1:9") && said.contains("--force"), "{said}");
        until("it goes on", || networks() == ["shop"]);
        let removed = run(&["remove", "shop", "--force"]);
        assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
        assert!(networks().is_empty());
        assert_eq!(fs::read_dir(FOLDER).unwrap().count(), 0);
        assert!(!Path::new("/var/lib/cleat/overlay/shop").exists());
        let again = run(&["remove", "shop", "--force"]);
        let said = String::from_utf8(again.stderr).unwrap();
        assert!(said.contains("/etc/cleat/overlay/shop.json"), "{said}");
    });
}
