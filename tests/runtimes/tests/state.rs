//! Another user of the host, who is root's to make: what the suite keeps is not for them, but for the hosts file of the
//! container that they are in.

use std::process::Command;

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
