//! `cleat run`: containers with one command each, as users start them.

use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use sandbox::traffic::ask_tcp;
use sandbox::{Host, Snapshot, UPLINK_V4, isolated};

use crate::shared::cleat::{cleat, install_networks};

const NETWORK: [&str; 3] = ["run", "--network", "cleat"];

/// The shell command of a server that answers each connection with a text, until it is killed.
fn server(port: u16, text: &str) -> String {
    format!("exec busybox nc -ll -p {port} -e echo {text}")
}

fn run(args: &[&str], line: &str) -> Command {
    let mut command = cleat(&NETWORK);
    command.args(args).args(["--", "sh", "-c", line]);
    command
}

fn output(command: &mut Command) -> (Output, String) {
    let output = command.output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output, said)
}

/// Starts a container in the background, and waits until `ready` holds.
fn start(args: &[&str], line: &str, ready: impl Fn() -> bool) -> Child {
    let mut child = run(args, line).stdout(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !ready() {
        assert!(child.try_wait().unwrap().is_none(), "{args:?} ended early");
        assert!(Instant::now() < deadline, "{args:?} is not ready");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

fn stop(mut child: Child, signal: &str) -> Option<i32> {
    let status =
        Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    child.wait().unwrap().code()
}

fn attached() -> usize {
    fs::read_dir("/var/lib/cni/results").map_or(0, Iterator::count)
}

#[test]
fn a_command_has_a_network_of_its_own_and_its_exit_code_comes_back() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let (status, said) = output(&mut run(
            &["--name", "one", "--hostname", "first"],
            "ip -4 -o addr; cat /etc/hosts; echo $HOSTNAME; exit 7",
        ));
        assert_eq!(status.status.code(), Some(7), "{said}");
        assert!(said.contains("eth0") && said.contains("10.90.0.2/16") && !said.contains("uplink"), "{said}");
        assert!(said.contains("10.90.0.2\tfirst") && said.ends_with("first\n"), "{said}");
        let (status, said) = output(&mut run(&[], "kill -TERM $$"));
        assert_eq!(status.status.code(), Some(128 + 15), "{said}");
        let (status, said) = output(cleat(&NETWORK).args(["--", "/no/such/command"]));
        assert!(!status.status.success() && said.contains("/no/such/command"), "{said}");
        before.assert_unchanged();
    });
}

#[test]
fn ports_are_published_while_the_command_runs() {
    isolated(|| {
        let host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let web = start(&["--name", "web", "-p", "80:80", "-p", "8080:80"], &server(80, "hello"), || {
            ask_tcp(None, "127.0.0.1:8080").is_ok()
        });
        for port in [80, 8080] {
            assert_eq!(ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:{port}")).unwrap(), "hello\n");
        }
        let (status, said) = output(&mut run(&["-p", "80:8000"], "true"));
        assert!(!status.status.success() && said.contains("80/tcp"), "{said}");
        assert_eq!(stop(web, "INT"), Some(128 + 2));
        assert!(ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:80")).is_err());
        before.assert_unchanged();
    });
}

#[test]
fn exposed_ports_are_published_on_free_ones_which_cleat_port_shows() {
    isolated(|| {
        let host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let args =
            ["--name", "web", "-P", "--expose", "80", "--expose", "53/udp", "-p", "127.0.0.1:5000:5000/udp"];
        let web = start(&args, &server(80, "hello"), || attached() == 1);
        let port = |args: &[&str]| output(cleat(&["port"]).args(args));
        let (status, said) = port(&["web"]);
        assert!(status.status.success(), "{said}");
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 3, "{said}");
        assert!(
            lines[0].starts_with("53/udp -> 0.0.0.0:") && lines[1].starts_with("80/tcp -> 0.0.0.0:"),
            "{said}"
        );
        assert_eq!(lines[2], "5000/udp -> 127.0.0.1:5000");
        let chosen: u16 = lines[1].rsplit(':').next().unwrap().parse().unwrap();
        assert!(chosen >= 32768, "{said}");
        assert_eq!(port(&["web", "80"]).1, format!("0.0.0.0:{chosen}\n"));
        let outside = Some(&host.outside);
        let served = || ask_tcp(outside, &format!("{UPLINK_V4}:{chosen}"));
        let deadline = Instant::now() + Duration::from_secs(10);
        while served().is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(served().unwrap(), "hello\n");
        assert!(port(&["web", "81"]).1.contains("81/tcp of container web is not published"));
        assert!(port(&["nobody"]).1.contains("nobody"));
        stop(web, "TERM");
        before.assert_unchanged();
    });
}

#[test]
fn a_link_gives_variables_a_name_and_the_address_of_now() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let db_args = ["--name", "db", "--expose", "5432", "-e", "PG_VERSION=9.3"];
        let db = start(&db_args, &server(5432, "from-db"), || attached() == 1);
        let (status, said) = output(&mut run(
            &["--name", "web", "--link", "db:webdb"],
            "env | grep ^WEBDB | sort; grep webdb /etc/hosts; busybox nc webdb 5432 </dev/null",
        ));
        assert!(status.status.success(), "{said}");
        for line in [
            "WEBDB_ENV_PG_VERSION=9.3\n",
            "WEBDB_NAME=/web/webdb\n",
            "WEBDB_PORT=tcp://10.90.0.2:5432\n",
            "WEBDB_PORT_5432_TCP=tcp://10.90.0.2:5432\n",
            "WEBDB_PORT_5432_TCP_ADDR=10.90.0.2\n",
            "WEBDB_PORT_5432_TCP_PORT=5432\n",
            "WEBDB_PORT_5432_TCP_PROTO=tcp\n",
            "from-db\n",
        ] {
            assert!(said.contains(line), "no {line:?} in {said}");
        }
        let is_of_link = |line: &str| {
            let (address, names) = line.split_once('\t').unwrap_or_default();
            address == "10.90.0.2" && names.split(' ').any(|name| name == "webdb")
        };
        assert!(said.lines().any(is_of_link), "{said}");
        // The recipient keeps running while the source is started again and gets another address.
        fs::create_dir("/run/test").unwrap();
        let web = start(
            &["--name", "web", "--link", "db:webdb"],
            "while sleep 0.05; do grep webdb /etc/hosts >/run/test/seen.new; mv /run/test/seen.new /run/test/seen; done",
            || fs::read_to_string("/run/test/seen").is_ok_and(|text| text.contains("10.90.0.2\t")),
        );
        assert_eq!(stop(db, "TERM"), Some(128 + 15));
        let again = start(&db_args, &server(5432, "from-db"), || {
            fs::read_to_string("/run/test/seen")
                .is_ok_and(|text| text.contains("10.90.0.5\t") && !text.contains("10.90.0.2\t"))
        });
        stop(web, "TERM");
        stop(again, "TERM");
        fs::remove_dir_all("/run/test").unwrap();
        before.assert_unchanged();
    });
}

#[test]
fn members_know_each_other_by_name_and_alias_and_a_missing_source_is_refused() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let args = ["--name", "db", "--network-alias", "store", "--expose", "80"];
        let db = start(&args, &server(80, "from-db"), || attached() == 1);
        let (status, said) = output(&mut run(
            &["--name", "web"],
            "for name in db store db.cleat; do busybox nc $name 80 </dev/null; done",
        ));
        assert!(status.status.success(), "{said}");
        assert_eq!(said, "from-db\n".repeat(3));
        let (status, said) = output(&mut run(&["--link", "nobody:x"], "true"));
        assert!(!status.status.success() && said.contains("nobody"), "{said}");
        let (status, said) = output(&mut run(&["--name", "db"], "true"));
        assert!(!status.status.success() && said.contains("db"), "{said}");
        stop(db, "TERM");
        before.assert_unchanged();
    });
}

#[test]
fn in_the_background_it_is_stopped_restarted_read_and_forgotten() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let verb = |args: &[&str]| output(&mut cleat(args));
        let line = "echo out; echo err >&2; echo $COLOUR; pwd; trap '' USR1; exec busybox nc -ll -p 80 -e echo hello";
        let args = ["-d", "--name", "web", "-p", "8080:80", "--add-host", "printer:192.0.2.9"];
        let (started, id) = output(run(&args, line).env("COLOUR", "green").current_dir("/var"));
        assert!(started.status.success() && id.trim().len() == 64, "{id}");
        let reached = || ask_tcp(None, "127.0.0.1:8080").is_ok_and(|text| text == "hello\n");
        let wait = || {
            let deadline = Instant::now() + Duration::from_secs(10);
            while !reached() {
                assert!(Instant::now() < deadline, "{}", verb(&["logs", "web"]).1);
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        wait();
        assert_eq!(verb(&["logs", "web"]).1, "out\nerr\ngreen\n/var\n");
        let hosts = fs::read_to_string(format!("/run/cleat/containers/{}/hosts", id.trim())).unwrap();
        assert!(hosts.contains("192.0.2.9\tprinter"), "{hosts}");
        // Only root may read the container's configuration and its log.
        for (path, mode) in [("", 0o700), ("/run.json", 0o600), ("/log", 0o600)] {
            let metadata = fs::metadata(format!("/run/cleat/runs/{}{path}", id.trim())).unwrap();
            assert_eq!(
                std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777,
                mode,
                "{path}"
            );
        }
        let (taken, text) = output(&mut run(&["-d", "--name", "web"], "true"));
        assert!(!taken.status.success() && text.contains("has that name"), "{text}");
        assert!(verb(&["rm", "web"]).1.contains("it runs"));
        // A restart keeps the ID, the name, the environment, the working directory and the port, and appends to the log.
        let (restarted, text) = verb(&["restart", "-t", "5", "web"]);
        assert!(restarted.status.success(), "{text}");
        wait();
        assert_eq!(verb(&["logs", &id[..12]]).1, "out\nerr\ngreen\n/var\n".repeat(2));
        assert_eq!(verb(&["stop", "web"]).1, "web\n");
        assert_eq!(attached(), 0);
        let (_, listed) = verb(&["ps", "-a"]);
        assert!(listed.contains("exited (143)") && !verb(&["ps"]).1.contains("web"), "{listed}");
        // A container that ignores SIGTERM is killed, and cleaned up all the same.
        let (started, text) =
            output(&mut run(&["-d", "--name", "deaf"], "trap '' TERM; while :; do sleep 1; done"));
        assert!(started.status.success(), "{text}");
        assert!(verb(&["stop", "-t", "0", "deaf"]).0.status.success());
        assert!(verb(&["ps", "-a"]).1.contains("exited (137)"));
        // The process of `cleat` that supervises a container may be killed as well: `rm` removes what it left.
        verb(&["restart", "web"]);
        let keeper = fs::read_to_string(format!("/run/cleat/runs/{}/run.json", id.trim())).unwrap();
        let keeper = keeper.split("\"keeper\":").nth(1).unwrap().split(',').next().unwrap().to_owned();
        assert!(Command::new("kill").args(["-9", &keeper]).status().unwrap().success());
        let (removed, text) = verb(&["rm", "-f", "web", "deaf"]);
        assert!(removed.status.success(), "{text}");
        // A command that cannot be started is reported, and leaves nothing.
        let (failed, text) = output(cleat(&NETWORK).args(["-d", "--", "/no/such/command"]));
        assert!(!failed.status.success() && text.contains("/no/such/command"), "{text}");
        before.assert_unchanged();
    });
}

#[test]
fn several_networks_addresses_and_what_cannot_be() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let both =
            ["run", "--network", "cleat-dual-stack:cleat", "--ip", "10.91.7.7", "--ip6", "fd00:91::77"];
        let (ran, said) =
            output(cleat(&both).args(["--", "sh", "-c", "ip -o addr; ip route; cat /etc/hosts"]));
        assert!(ran.status.success(), "{said}");
        for words in [
            "10.91.7.7/16",
            "fd00:91::77/64",
            "eth1    inet 10.90.0.",
            "10.91.7.7\t",
            "default via 10.91.0.1",
        ] {
            assert!(said.contains(words), "no {words:?} in {said}");
        }
        // The default route of the second network comes after that of the first.
        let ways: Vec<&str> = said.lines().filter(|line| line.starts_with("default via")).collect();
        assert!(ways.len() == 2 && ways[0].contains("eth0") && ways[1].contains("eth1"), "{said}");
        for (args, words) in [
            (["--network", "cleat", "--network", "cleat"], "named twice"),
            (["--network", "cleat", "--ip", "10.91.0.9"], "10.91.0.9"),
            (["--network", "cleat:nowhere", "--ip", "10.90.0.9"], "nowhere"),
        ] {
            let (ran, said) = output(cleat(&["run"]).args(args).args(["--", "true"]));
            assert!(!ran.status.success() && said.contains(words), "{args:?}: {said}");
        }
        before.assert_unchanged();
    });
}

#[test]
fn a_keeper_that_was_killed_leaves_a_free_name_and_no_more_than_gc_takes() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let mut web = start(&["--name", "web", "-p", "8080:80"], "exec sleep 100", || attached() == 1);
        web.kill().unwrap();
        web.wait().unwrap();
        // The kernel removes the interface some time after the namespace has ended; name and port are free then.
        let deadline = Instant::now() + Duration::from_secs(10);
        while output(Command::new("ip").args(["-o", "link", "show", "master", "cleat0"])).1.contains("veth") {
            assert!(Instant::now() < deadline, "the interface of a container that has gone is still there");
            std::thread::sleep(Duration::from_millis(10));
        }
        let again = start(&["--name", "web", "-p", "8080:80"], "exec sleep 100", || attached() == 2);
        stop(again, "TERM");
        let (collected, said) = output(&mut cleat(&["gc", "cleat"]));
        assert!(collected.status.success(), "{said}");
        before.assert_unchanged();
    });
}

#[test]
fn what_runs_is_drawn() {
    isolated(|| {
        let host = Host::new();
        install_networks();
        let address = format!("{UPLINK_V4}:8080");
        let web = start(&["--name", "web", "-p", "8080:80"], &server(80, "web"), || {
            ask_tcp(Some(&host.outside), &address).is_ok()
        });
        let app = start(&["--name", "app", "--link", "web:shop"], "exec sleep 60", || attached() == 2);
        let draw = |args: &[&str]| output(cleat(&["graph"]).args(args));
        let (_, mermaid) = draw(&["--format", "mermaid", "cleat"]);
        for text in ["[\"cleat · 10.90.0.0/16\"]", "{{\"cleat0\"}}", "|\":8080 → 80/tcp\"|", "-.->|\"shop\"|"]
        {
            assert!(mermaid.contains(text), "{text}: {mermaid}");
        }
        let (_, svg) = draw(&[]);
        for text in [">web<", ">app<", ">cleat0<", ">:8080<", ">80/tcp<", ">shop<", ">no containers<"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        let (wrong, said) = draw(&["nothing"]);
        assert!(!wrong.status.success() && said.contains("no network \"nothing\""), "{said}");
        stop(app, "TERM");
        stop(web, "TERM");
    });
}
