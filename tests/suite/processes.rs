//! The processes of a container of `cleat run`: with which signals they start, and that none outlives it.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sandbox::{Host, Snapshot, isolated};

use crate::shared::cleat::{NETWORK, call, cleat, install_networks, ok};

/// The processes with a word on their command line.
fn with(word: &str) -> usize {
    let lines = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.unwrap().path().join("cmdline")).ok());
    let words = lines.map(|line| line.split(|byte| *byte == 0).any(|found| found == word.as_bytes()));
    words.filter(|found| *found).count()
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: {}", with("4711"));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_command_has_the_default_action_of_every_signal() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let run = |args: &[&str], line: &str| {
            // A script's `&` has these ignored, and nohup(1) the hangup.
            let script = "trap '' INT QUIT HUP PIPE; exec \"$@\"";
            let mut command = Command::new("sh");
            let inner = cleat(&[]);
            command.args(["-c", script, "sh"]).arg(inner.get_program()).args(["run", "--network", NETWORK]);
            command.args(args).args(["--", "sh", "-c", line]);
            command.envs(inner.get_envs().filter_map(|(key, value)| value.map(|value| (key, value))));
            let output = command.stdin(Stdio::null()).output().unwrap();
            (output.status.code(), String::from_utf8(output.stdout).unwrap())
        };
        let signals = "grep -E '^Sig(Ign|Blk)' /proc/self/status";
        // Two that glibc has for itself: no program can send them.
        let internal = 0b11 << 31;
        for args in [&[][..], &["--pid", "host"]] {
            let (code, said) = run(args, signals);
            let sets = said.lines().map(|line| u64::from_str_radix(&line[8..], 16).unwrap() & !internal);
            assert_eq!((code, sets.collect::<Vec<_>>()), (Some(0), vec![0, 0]), "{args:?}: {said}");
            assert_eq!(run(args, "kill -INT $$; echo survived"), (Some(130), String::new()), "{args:?}");
        }
        before.assert_unchanged();
    });
}

#[test]
fn no_process_outlives_its_container() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        // One of another session, which is deaf to what stop sends first.
        let line = |end: &str| {
            format!("(trap '' TERM; exec setsid sleep 4711) & until pgrep -x sleep; do :; done; {end}")
        };
        for args in [&[][..], &["--pid", "host"]] {
            let start = ["run", "--network", NETWORK, "--name", "many"];
            // The command ends by itself.
            let ended = call(&[&start[..], args, &["--", "sh", "-c", &line("exit 3")]].concat());
            assert_eq!((ended.0, with("4711")), (Some(3), 0), "{args:?}: {}", ended.1);
            // It is stopped, or killed as it ignores that.
            for end in ["exec sleep 4711", "trap '' TERM; while :; do sleep 1; done"] {
                ok(&[&start[..], args, &["-d", "--", "sh", "-c", &line(end)]].concat());
                until("it starts", || with("4711") >= 1);
                ok(&["stop", "-t", "1", "many"]);
                assert_eq!(with("4711"), 0, "{args:?}: {end}");
                ok(&["rm", "many"]);
            }
            // Its supervisor is killed.
            let mut child = cleat(&start)
                .args(args)
                .args(["--", "sh", "-c", &line("exec sleep 4711")])
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            until("two run", || {
                with("4711") >= 2 && fs::read_dir("/var/lib/cni/results").is_ok_and(|all| all.count() > 0)
            });
            child.kill().unwrap();
            child.wait().unwrap();
            until("all have ended", || with("4711") == 0);
            ok(&["gc", NETWORK]);
        }
        before.assert_unchanged();
    });
}

#[test]
fn a_container_sees_its_own_processes_and_reaps_what_they_leave() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let run = |args: &[&str], line: &str| {
            ok(&[&["run", "--network", NETWORK], args, &["--", "sh", "-c", line]].concat())
        };
        let own = run(&[], "test $$ -lt 10; echo $?; ls -d /proc/[0-9]* | wc -l");
        let mut lines = own.lines();
        assert_eq!(lines.next(), Some("0"), "{own}");
        assert!(lines.next().unwrap().trim().parse::<usize>().unwrap() <= 5, "{own}");
        let zombies = run(
            &[],
            "for i in 1 2 3; do sh -c 'sleep 0.1 & exit'; done; sleep 0.6; grep -l '^State:.Z' /proc/[0-9]*/status; true",
        );
        assert_eq!(zombies, "");
        let host = fs::read_to_string("/proc/1/cmdline").unwrap();
        assert_eq!(run(&["--pid", "host"], "cat /proc/1/cmdline"), host);
        assert_ne!(run(&[], "cat /proc/1/cmdline"), host);
        // What is wrong on the command line cannot be taken for the command's own code, nor a command that cannot be started.
        for (args, code) in [
            (&["run", "--nothing", "--", "true"][..], 125),
            (&["run", "-p", "x", "--", "true"], 125),
            (&["run", "--network", NETWORK, "--", "/etc/passwd"], 126),
            (&["run", "--network", NETWORK, "--", "no-such-command"], 127),
            (&["run", "--network", NETWORK, "-e", "PATH=/nowhere", "--", "sh"], 127),
        ] {
            let (ended, said) = call(args);
            assert_eq!(ended, Some(code), "{args:?}: {said}");
        }
    });
}
