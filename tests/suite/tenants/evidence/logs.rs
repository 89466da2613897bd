//! The log of a container in the background has a bound, never blocks the container, and is read in order.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use sandbox::{Host, Snapshot, isolated};

use crate::shared::cleat::{NETWORK, call, cleat, install_networks, ok};
use crate::shared::programs::CLEAT;
use crate::shared::shell::{said, shell};

const LOGS: &str = "/var/log/cleat";
/// The greatest length of one file.
const FILE: u64 = 10 << 20;

/// Starts a container in the background; returns its ID.
fn start(name: &str, line: &str) -> String {
    let mut command = cleat(&["run", "-d", "--network", NETWORK, "--name", name, "--", "sh", "-c", line]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The files of a container's log with their lengths.
fn files(id: &str) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(format!("{LOGS}/{id}")).into_iter().flatten().flatten();
    entries.map(|entry| (entry.path(), entry.metadata().unwrap().len())).collect()
}

#[test]
fn a_writer_without_end_fills_nothing_and_its_last_lines_are_there() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let id = start("loud", "yes 'a line that a service writes' | head -n 2300000; echo last; sleep 600");
        eventually("the writer goes on", || ok(&["logs", "loud"]).ends_with("a service writes\nlast\n"));
        let files = files(&id);
        assert!(files.len() == 2 && files.iter().all(|(_, length)| *length <= FILE), "{files:?}");
        let on_run = said(&Command::new("du").args(["-sk", "/run"]).output().unwrap());
        assert!(on_run.split_whitespace().next().unwrap().parse::<u64>().unwrap() < 1024, "{on_run}");
        let text = ok(&["logs", "loud"]);
        assert!(
            text.lines().rev().skip(1).all(|line| line == "a line that a service writes"),
            "lines are whole"
        );
        // The log is removed with the container.
        ok(&["rm", "-f", "-t", "0", "loud"]);
        assert!(!fs::exists(LOGS).unwrap());
        before.assert_unchanged();
    });
}

#[test]
fn who_follows_a_log_reads_each_line_once_from_file_to_file() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let line =
            "i=0; while [ $i -lt 120000 ]; do echo $i $FILLER; i=$((i+1)); done; echo end >&2; sleep 600";
        let line = format!("FILLER={}; {line}", "x".repeat(200));
        let id = start("counts", &line);
        let mut follower = cleat(&["logs", "-f", "counts"]);
        let follower = follower.stdout(std::process::Stdio::piped()).spawn().unwrap();
        eventually("the last line is written", || ok(&["logs", "counts"]).ends_with("end\n"));
        assert!(files(&id).iter().all(|(path, _)| !path.ends_with("log.1")), "the first file is removed");
        ok(&["stop", "-t", "0", "counts"]);
        let output = follower.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let numbers: Vec<u32> =
            text.lines().filter_map(|line| line.split_once(' ')?.0.parse().ok()).collect();
        assert!(numbers.iter().copied().eq(0..120_000), "{} lines", numbers.len());
        assert!(text.ends_with("\nend\n"));
        ok(&["rm", "counts"]);
    });
}

#[test]
fn a_disk_that_is_full_or_read_only_keeps_no_writer_waiting() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        for (kind, options) in [("full", "size=1m"), ("read-only", "ro")] {
            shell(&format!("mount -t tmpfs -o {options} none /var/log"));
            let line = "yes line | head -c 5000000; echo done >/run/written; sleep 600";
            let id = start("writes", line);
            eventually(kind, || fs::exists("/run/written").unwrap());
            let kept = ok(&["logs", "writes"]);
            assert!(kept.contains("line\n") && kept.len() < 3 << 20, "{kind}: {}", kept.len());
            // The link in the run's folder leads to the log's file.
            assert!(fs::metadata(format!("/run/cleat/runs/{id}/log")).unwrap().is_file());
            ok(&["rm", "-f", "-t", "0", "writes"]);
            fs::remove_file("/run/written").unwrap();
            shell("umount /var/log");
        }
    });
}

#[test]
fn what_the_version_before_kept_is_read_gone_on_with_and_removed() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let id = start("old", "echo new; sleep 600");
        eventually("it writes", || ok(&["logs", "old"]) == "new\n");
        ok(&["stop", "-t", "0", "old"]);
        // The previous version had one file, beside the record.
        let file = format!("/run/cleat/runs/{id}/log");
        fs::remove_dir_all(LOGS).unwrap();
        fs::remove_file(&file).unwrap();
        fs::write(&file, "from before\n").unwrap();
        assert_eq!(ok(&["logs", "old"]), "from before\n");
        ok(&["restart", "old"]);
        eventually("it goes on", || ok(&["logs", "old"]) == "from before\nnew\n");
        ok(&["rm", "-f", "-t", "0", "old"]);
        // Logs whose containers ended by a reboot are removed when the next container starts.
        fs::create_dir_all(format!("{LOGS}/stranded")).unwrap();
        start("next", "sleep 600");
        assert!(!fs::exists(format!("{LOGS}/stranded")).unwrap());
        ok(&["rm", "-f", "-t", "0", "next"]);
        before.assert_unchanged();
    });
}

#[test]
fn a_terminal_is_not_steered_by_what_a_container_writes_or_is_called() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        start("evil", r"printf 'a\033]0;title\007\302\233b\342\200\256c\n\tok\n'; sleep 600");
        let bytes = "a\u{1b}]0;title\u{7}\u{9b}b\u{202e}c\n\tok\n";
        eventually("it writes", || ok(&["logs", "evil"]) == bytes);
        let on_terminal = |line: &str| {
            let mut command = Command::new("script");
            let env = cleat(&[]);
            let env = env.get_envs().filter_map(|(name, value)| Some((name, value?)));
            said(&command.args(["-qec", line, "/dev/null"]).envs(env).env("NO_COLOR", "1").output().unwrap())
        };
        let shown = on_terminal(&format!("{CLEAT} logs evil"));
        assert_eq!(shown.replace("\r\n", "\n"), "a\\u{1b}]0;title\\u{7}\\u{9b}b\\u{202e}c\n\tok\n");
        assert!(on_terminal(&format!("{CLEAT} logs --raw evil")).contains("\u{1b}]0;title\u{7}"));
        // Control characters in an argument, in a network's configuration, and in the name of a file of the cache.
        let name = "x\u{1b}[2J\u{9b}\u{202e}";
        fs::write("/run/net.d/evil.conflist", format!("{{\"name\": \"{name}\"}}")).unwrap();
        fs::create_dir_all(format!("/var/lib/cni/results/cleat-{name}-eth0")).unwrap();
        for args in [
            &["inspect", name][..],
            &["logs", name],
            &["network", "inspect", name],
            &["conf", "check"],
            &["check"],
            &["gc"],
            &["port", name],
            &["conf", "check", "--json"],
            &["check", "--json"],
            &["add", name, "/nowhere"],
        ] {
            let (_, text) = call(args);
            let is_order = |c: char| c != '\n' && c != '\t' && (c.is_control() || c == '\u{202e}');
            assert!(!text.contains(is_order), "{args:?}: {text:?}");
        }
        ok(&["rm", "-f", "-t", "0", "evil"]);
    });
}
