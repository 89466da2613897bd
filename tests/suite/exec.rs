//! `cleat exec`, `start` and `logs`.

use std::process::Command;

use sandbox::{Host, Namespaced, Snapshot, isolated};

use crate::shared::cleat::{NETWORK, call, cleat, install_networks, ok, succeed};
use crate::shared::shell::shell;

#[test]
fn in_a_container_of_run_it_is_as_the_containers_own_command() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        ok(&[
            "run",
            "-d",
            "--network",
            NETWORK,
            "--name",
            "db",
            "--expose",
            "5432",
            "-e",
            "V=9",
            "--",
            "sleep",
            "100",
        ]);
        let start = [
            "run",
            "-d",
            "--network",
            NETWORK,
            "--name",
            "web",
            "-h",
            "front",
            "--link",
            "db:sql",
            "-e",
            "A=1",
        ];
        let mut web = cleat(&start);
        web.args(["--", "sleep", "100"]).env("COLOUR", "green").env("LOST", "x").current_dir("/var");
        succeed(&mut web);
        let exec = |args: &[&str], line: &str| ok(&[&["exec"], args, &["web", "sh", "-c", line]].concat());
        let said =
            exec(&["-it"], "pwd; uname -n; echo $A $COLOUR $SQL_ENV_V $SQL_PORT_5432_TCP_PORT $HOSTNAME");
        assert_eq!(said, "/var\nfront\n1 green 9 5432 front\n");
        let said = exec(
            &[],
            "cat /etc/hostname; grep -c sql /etc/hosts; ip -o -4 addr show eth0 | grep -c 10.90.0.3; pgrep -x sleep | wc -l",
        );
        assert_eq!(said, "front\n1\n1\n1\n");
        assert_eq!(exec(&["-e", "A=2", "--env", "B=3", "-w", "/tmp"], "echo $A $B; pwd"), "2 3\n/tmp\n");
        assert_eq!(exec(&["-u", "0:0"], "id -u; id -g"), "0\n0\n");
        for (args, code, words) in [
            (&["exec", "web", "sh", "-c", "exit 7"][..], 7, ""),
            (&["exec", "web", "sh", "-c", "kill -9 $$"], 137, ""),
            (&["exec", "web", "no-such-command"], 127, "no-such-command"),
            (&["exec", "web", "/etc/passwd"], 126, "/etc/passwd"),
            (&["exec", "nobody-here", "true"], 1, "nobody-here"),
            (&["exec", "-w", "/no/folder", "web", "true"], 1, "/no/folder"),
            (&["exec", "-u", "stranger", "web", "true"], 1, "no such name"),
        ] {
            let (ended, said) = call(args);
            assert!(ended == Some(code) && said.contains(words), "{args:?}: {ended:?} {said}");
        }
        // What runs in a container ends with it.
        let mut child = cleat(&["exec", "web", "sleep", "100"]).spawn().unwrap();
        while ok(&["exec", "web", "pgrep", "-xc", "sleep"]) != "2\n" {}
        ok(&["stop", "-t", "0", "web"]);
        assert_eq!(child.wait().unwrap().code(), Some(137));
        let (ended, said) = call(&["exec", "web", "true"]);
        assert!(ended == Some(1) && said.contains("find container web"), "{said}");
        // It is started again with all that it had; what runs is left alone.
        assert_eq!(ok(&["start", "web", "db"]), "web\ndb\n");
        assert_eq!(exec(&[], "echo $A $COLOUR; uname -n"), "1 green\nfront\n");
        ok(&["rm", "-f", "web", "db"]);
        let (ended, said) = call(&["start", "web"]);
        assert!(ended == Some(1) && said.contains("web"), "{said}");
        before.assert_unchanged();
    });
}

#[test]
fn in_another_runtimes_container_it_is_the_hosts_program_in_the_containers_network() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let pod = Namespaced::new("pod");
        shell(
            "mkdir -p /run/test; printf 'nameserver 127.0.0.1\\n' >/run/test/resolv; mount --bind /run/test/resolv /etc/resolv.conf",
        );
        let before = Snapshot::take();
        ok(&["run", "-d", "--network", NETWORK, "--name", "db", "--", "sleep", "100"]);
        let mut add = cleat(&["add", NETWORK, pod.path().to_str().unwrap(), "--id", "pod-1"]);
        succeed(&mut add);
        let said = ok(&[
            "exec",
            "pod-1",
            "--",
            "sh",
            "-c",
            "ip -o -4 addr show eth0 | grep -c 10.90.0.3; getent hosts db | cut -d' ' -f1; uname -n; cat /etc/resolv.conf",
        ]);
        assert_eq!(said, "1\n10.90.0.2\npod-1\nnameserver 8.8.8.8\nnameserver 8.8.4.4\n");
        // The host has its own again.
        let output = Command::new("cat").arg("/etc/resolv.conf").output().unwrap();
        assert_eq!(output.stdout, b"nameserver 127.0.0.1\n");
        ok(&["del", NETWORK, pod.path().to_str().unwrap(), "--id", "pod-1"]);
        ok(&["rm", "-f", "db"]);
        before.assert_unchanged();
        shell("umount /etc/resolv.conf");
    });
}

#[test]
fn the_last_lines_of_a_log() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        ok(&[
            "run",
            "-d",
            "--network",
            NETWORK,
            "--name",
            "w",
            "--",
            "sh",
            "-c",
            "seq 5; printf end; sleep 100",
        ]);
        while !ok(&["logs", "w"]).ends_with("end") {}
        assert_eq!(ok(&["logs", "--tail", "2", "w"]), "5\nend");
        assert_eq!(ok(&["logs", "-n3", "w"]), "4\n5\nend");
        assert_eq!(ok(&["logs", "--tail=0", "w"]), "");
        assert_eq!(ok(&["logs", "--tail", "all", "w"]), ok(&["logs", "--tail", "99", "w"]));
        ok(&["rm", "-f", "w"]);
    });
}
