//! Other users of the host cannot read what the suite keeps, except for the hosts file of the container that they are in.
//! Only root can become another user.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use runtimes::{machine, run};
use serde_json::json;

const OTHER: [&str; 5] = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--"];

#[test]
fn other_users_read_nothing_but_the_hosts_file_of_their_container() {
    machine(|machine| {
        for umask in ["000", "077"] {
            machine.network(
                "10-shop.conflist",
                &json!({"cniVersion": "1.0.0", "name": "shop", "plugins": [
                    {"type": "bridge", "isGateway": true, "ipMasq": true,
                     "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.7.0.0/24"}]]}},
                    {"type": "host-port", "capabilities": {"portMappings": true}},
                    {"type": "link-env", "cdiDir": "/run/cdi", "capabilities": {"portMappings": true, "aliases": true}},
                ]}),
            );
            let cleat = |args: &[&str]| {
                let cleat = machine.cleat();
                let mut command = Command::new("sh");
                command.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]);
                run(command.arg(cleat.get_program()).args(args))
            };
            cleat(&[
                "run",
                "-d",
                "--name",
                "db",
                "--expose",
                "5432",
                "-e",
                "SECRET=hush",
                "--",
                "sleep",
                "60",
            ]);
            let web = ["run", "--name", "web", "--link", "db:pg", "--"];
            let hosts = cleat(&[&web[..], &OTHER, &["cat", "/etc/hosts"]].concat());
            assert!(hosts.contains("pg"), "{hosts}");
            let places = ["/run/cleat", "/run/cdi", "/etc/netns", "/var/lib/cni"];
            let files = |user: &[&str], which: &str| {
                let words = [user, &["find"], &places, &["-type", "f", which]].concat();
                let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
                String::from_utf8(output.stdout).unwrap()
            };
            assert!(files(&[], "-readable").contains("/run/cleat/"), "root sees them");
            for which in ["-readable", "-writable"] {
                assert_eq!(files(&OTHER, which), "", "umask {umask}");
            }
            cleat(&["stop", "db"]);
            cleat(&["rm", "db"]);
        }
    });
}

/// A user who can open a file can lock it with flock(2). Here another user locks every file of the suite that it can open,
/// and its namespace, for as long as the test runs.
#[test]
fn other_users_hold_up_nobody_by_any_lock() {
    const TAKE_ALL: &str = r#"
        for file in /proc/self/ns/net $(find /run /var/lib/cni /etc/cni -not -type l -readable 2>/dev/null); do
            flock --close --nonblock --exclusive "$file" sh -c "echo $file; exec sleep 600" &
        done
        sleep 1
        echo end
        wait"#;
    machine(|machine| {
        let before = machine.snapshot();
        machine.network(
            "10-shop.conflist",
            &json!({"cniVersion": "1.0.0", "name": "shop", "plugins": [
                {"type": "bridge", "bridge": "shop0", "isGateway": true, "ipMasq": true,
                 "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.7.0.0/24"}]]}},
                {"type": "link-env"},
            ]}),
        );
        let cleat = |args: &[&str]| {
            let start = Instant::now();
            let said = run(machine.cleat().args(args));
            assert!(start.elapsed() < Duration::from_secs(5), "{args:?} took {:?}", start.elapsed());
            said
        };
        cleat(&["run", "-d", "--name", "db", "--network", "shop", "--", "sleep", "60"]);
        let mut command = Command::new(OTHER[0]);
        command.args(&OTHER[1..]).args(["sh", "-c", TAKE_ALL]).stdout(Stdio::piped());
        let mut user = command.spawn().unwrap();
        let told = BufReader::new(user.stdout.take().unwrap()).lines().map(Result::unwrap);
        let held: Vec<String> = told.take_while(|line| line != "end").collect();
        assert!(held.iter().any(|line| line == "/proc/self/ns/net"), "{held:?}");
        assert!(!held.iter().any(|line| line.contains("lock") && line != "/run/lock"), "{held:?}");
        for _ in 0..2 {
            cleat(&["run", "--network", "shop", "--", "true"]);
        }
        cleat(&["gc"]);
        cleat(&["network", "create", "further"]);
        cleat(&["network", "rm", "further"]);
        cleat(&["stop", "db"]);
        cleat(&["rm", "db"]);
        user.kill().unwrap();
        user.wait().unwrap();
        before.assert_unchanged();
    });
}
