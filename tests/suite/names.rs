//! Names and links as Docker's users know them: real resolvers and connections in running containers, with the hosts
//! file that `ip netns exec` mounts over `/etc/hosts`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use sandbox::traffic::{ask_tcp, ask_udp, serve_tcp, serve_udp};
use sandbox::{Host, Namespaced, Snapshot, isolated};
use serde_json::{Value, json};

use crate::shared::cleat::{cleat, install_networks};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Families {
    V4,
    Both,
}

/// Writes a network of a bridge and link-env.
fn network(name: &str, number: u8, families: Families, keys: &Value) {
    let mut link_env = json!({
        "type": "link-env",
        "capabilities": {"aliases": true, "portMappings": true, "io.kubernetes.cri.pod-annotations": true},
    });
    link_env.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let mut subnets = vec![json!([{"subnet": format!("10.80.{number}.0/24")}])];
    if families == Families::Both {
        subnets.push(json!([{"subnet": format!("fd00:80:{number}::/64")}]));
    }
    let bridge = json!({
        "type": "bridge", "bridge": format!("names{number}"), "isGateway": true,
        "ipam": {"type": "host-local", "ranges": subnets},
    });
    let list = json!({"cniVersion": "1.0.0", "name": name, "plugins": [bridge, link_env]});
    fs::create_dir_all("/run/net.d").unwrap();
    fs::write(format!("/run/net.d/{name}.conflist"), list.to_string()).unwrap();
}

/// Attaches a container that is named after its namespace.
fn add(
    network: &str,
    netns: &Namespaced,
    ifname: &str,
    args: &str,
    annotations: &Value,
) -> std::process::Output {
    let args = format!("IgnoreUnknown=1;LINK_NAME={}{args}", netns.name());
    let capabilities = json!({"io.kubernetes.cri.pod-annotations": annotations});
    let mut command = cleat(&["add", network, netns.path().to_str().unwrap()]);
    command.env("CNI_ARGS", args).env("CNI_IFNAME", ifname).env("CAP_ARGS", capabilities.to_string());
    command.output().unwrap()
}

fn join(network: &str, netns: &Namespaced, ifname: &str, args: &str) {
    let output = add(network, netns, ifname, args, &json!({}));
    assert!(output.status.success(), "{output:?}");
}

fn leave(network: &str, netns: &Namespaced, ifname: &str) {
    let mut command = cleat(&["del", network, netns.path().to_str().unwrap()]);
    let output = command.env("CNI_IFNAME", ifname).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// A shell that keeps running in a container.
struct Shell {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn new(netns: &Namespaced) -> Self {
        let mut process = Command::new("ip")
            .args(["netns", "exec", netns.name(), "sh"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, input, output }
    }

    /// Runs a line and returns its output.
    fn run(&mut self, line: &str) -> String {
        writeln!(self.input, "{{ {line}; }} 2>&1; echo; echo ready").unwrap();
        let mut said = String::new();
        while !said.ends_with("\nready\n") {
            assert!(self.output.read_line(&mut said).unwrap() > 0, "the shell has ended: {said}");
        }
        said.trim_end_matches("ready\n").trim().to_owned()
    }

    /// The addresses and names that the system's resolver finds in the hosts file.
    fn look_up(&mut self, name: &str) -> Vec<String> {
        let said = self.run(&format!(
            "getent -s hosts:files ahostsv4 {name} | head -n1; getent -s hosts:files hosts {name}"
        ));
        said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    /// The answer of a server to a client that connects by name.
    fn ask(&mut self, name: &str, port: u16) -> String {
        self.run(&format!("busybox nc {name} {port} </dev/null"))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The folder of a container's files.
fn folder(netns: &Namespaced) -> PathBuf {
    let hosts = fs::read_link(format!("/etc/netns/{}/hosts", netns.name())).unwrap();
    hosts.parent().unwrap().to_owned()
}

#[test]
fn web_reaches_its_database_by_hosts_and_by_variables_and_follows_it() {
    isolated(|| {
        let _host = Host::new();
        network("links", 1, Families::V4, &json!({"names": "links"}));
        let before = Snapshot::take();
        let (db, web, other) = (Namespaced::new("db"), Namespaced::new("web"), Namespaced::new("other"));
        let annotations = json!({"link-env.cni/env": "PG_VERSION=9.3", "link-env.cni/expose": "5432/tcp"});
        let output = add("links", &db, "eth0", "", &annotations);
        assert!(output.status.success(), "{output:?}");
        serve_tcp(Some(&db), "db", "[::]:5432");
        join("links", &web, "eth0", ";LINK_LINKS=db:webdb");
        join("links", &other, "eth0", "");
        let mut shell = Shell::new(&web);
        assert_eq!(shell.ask("webdb", 5432), "db sees 10.80.1.3");
        let env = folder(&web).join("env");
        let variables = format!("( set -a; . {}; env | grep ^WEBDB | sort )", env.display());
        assert_eq!(
            shell.run(&variables).lines().collect::<Vec<_>>(),
            [
                "WEBDB_ENV_PG_VERSION=9.3",
                "WEBDB_NAME=/web/webdb",
                "WEBDB_PORT=tcp://10.80.1.2:5432",
                "WEBDB_PORT_5432_TCP=tcp://10.80.1.2:5432",
                "WEBDB_PORT_5432_TCP_ADDR=10.80.1.2",
                "WEBDB_PORT_5432_TCP_PORT=5432",
                "WEBDB_PORT_5432_TCP_PROTO=tcp",
            ]
        );
        let by_variables = format!(
            "( . {}; busybox nc $WEBDB_PORT_5432_TCP_ADDR $WEBDB_PORT_5432_TCP_PORT </dev/null )",
            env.display()
        );
        assert_eq!(shell.run(&by_variables), "db sees 10.80.1.3");
        assert_eq!(shell.look_up("other"), [""; 0], "only links make names known");
        // A link is one-way, and other containers do not see it.
        assert_eq!(Shell::new(&db).look_up("web"), [""; 0]);
        assert_eq!(Shell::new(&other).look_up("webdb"), [""; 0]);

        leave("links", &db, "eth0");
        drop(db);
        assert_eq!(shell.look_up("webdb"), [""; 0], "the line of a source that has gone is still there");
        let db = Namespaced::new("db");
        let output = add("links", &db, "eth0", "", &annotations);
        assert!(output.status.success(), "{output:?}");
        serve_tcp(Some(&db), "db again", "[::]:5432");
        let found = shell.look_up("webdb");
        assert!(found[0].starts_with("10.80.1.5 "), "{found:?}");
        assert_eq!(shell.ask("webdb", 5432), "db again sees 10.80.1.3");

        drop(shell);
        for netns in [&db, &web, &other] {
            leave("links", netns, "eth0");
        }
        drop((db, web, other));
        before.assert_unchanged();
    });
}

#[test]
fn members_resolve_each_other_both_ways_and_back() {
    isolated(|| {
        let _host = Host::new();
        network("my-net", 1, Families::Both, &json!({}));
        let before = Snapshot::take();
        let (web, database) = (Namespaced::new("web"), Namespaced::new("database"));
        join("my-net", &web, "eth0", "");
        let mut in_web = Shell::new(&web);
        join("my-net", &database, "eth0", "");
        let mut in_database = Shell::new(&database);
        serve_tcp(Some(&web), "web", "[::]:80");
        serve_tcp(Some(&database), "database", "[::]:5432");
        for name in ["database", "database.my-net", "DATABASE"] {
            assert!(in_web.look_up(name)[0].starts_with("10.80.1.3 "), "{name}");
            // Clients try IPv6 first.
            assert_eq!(in_web.ask(name, 5432), "database sees fd00:80:1::2");
        }
        assert_eq!(in_database.ask("web", 80), "web sees fd00:80:1::3");
        let back =
            |shell: &mut Shell, address: &str| shell.run(&format!("getent -s hosts:files hosts {address}"));
        for address in ["10.80.1.3", "fd00:80:1::3"] {
            let said = back(&mut in_web, address);
            assert_eq!(said.split_whitespace().nth(1), Some("database.my-net"), "{said}");
        }
        drop((in_web, in_database));
        for netns in [&web, &database] {
            leave("my-net", netns, "eth0");
        }
        drop((web, database));
        before.assert_unchanged();
    });
}

#[test]
fn connecting_and_disconnecting_takes_effect_in_a_running_container() {
    isolated(|| {
        let _host = Host::new();
        network("my-net", 1, Families::V4, &json!({}));
        network("my-net2", 2, Families::V4, &json!({}));
        let before = Snapshot::take();
        let (web, one, two) = (Namespaced::new("web"), Namespaced::new("one"), Namespaced::new("two"));
        join("my-net", &web, "eth0", "");
        join("my-net", &one, "eth0", "");
        join("my-net2", &two, "eth0", "");
        serve_tcp(Some(&two), "two", "[::]:80");
        let (mut shell, mut in_two) = (Shell::new(&web), Shell::new(&two));
        assert_eq!(shell.look_up("one").len(), 2);
        assert_eq!(
            (shell.look_up("two"), in_two.look_up("web")),
            (vec![], vec![]),
            "names of one network are not known on another"
        );
        join("my-net2", &web, "eth1", "");
        assert_eq!(shell.ask("two", 80), "two sees 10.80.2.3");
        assert_eq!(shell.look_up("one").len(), 2);
        assert!(in_two.look_up("web")[0].starts_with("10.80.2.3 "));
        assert_eq!(in_two.look_up("one"), [""; 0]);
        leave("my-net2", &web, "eth1");
        assert_eq!((shell.look_up("two"), in_two.look_up("web")), (vec![], vec![]));
        assert_eq!(shell.look_up("one").len(), 2);
        drop((shell, in_two));
        leave("my-net", &web, "eth0");
        leave("my-net", &one, "eth0");
        leave("my-net2", &two, "eth0");
        drop((web, one, two));
        before.assert_unchanged();
    });
}

#[test]
fn ports_that_the_host_chose_stand_in_the_registry() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let web = Namespaced::new("web");
        let mappings = json!({"portMappings": [
            {"hostPort": 0, "containerPort": 80, "protocol": "tcp"},
            {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
            {"hostPort": 0, "containerPort": 53, "protocol": "udp", "hostIP": "127.0.0.1"},
        ]});
        let mut command = cleat(&["add", "cleat-dual-stack", web.path().to_str().unwrap()]);
        command.env("CNI_ARGS", "LINK_NAME=web").env("CAP_ARGS", mappings.to_string());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let members = fs::read("/run/cleat/registry/cleat-dual-stack/all").unwrap();
        let members: Value = serde_json::from_slice(&members).unwrap();
        let published = members[0]["published"].as_array().unwrap();
        let ports =
            published.iter().map(|port| [&port["hostPort"], &port["containerPort"]].map(Value::as_u64));
        let ports: Vec<_> = ports.map(|pair| pair.map(Option::unwrap)).collect();
        let [[http, 80], [8080, 80], [dns, 53]] = ports[..] else { panic!("{published:?}") };
        serve_tcp(Some(&web), "web", "[::]:80");
        assert!(ask_tcp(None, &format!("127.0.0.1:{http}")).unwrap().starts_with("web sees "));
        serve_udp(Some(&web), "web", "[::]:53");
        assert!(ask_udp(None, &format!("127.0.0.1:{dns}")).unwrap().starts_with("web sees "));
        assert!(http != 8080 && http != 0 && dns != 0, "{published:?}");
        leave("cleat-dual-stack", &web, "eth0");
        drop(web);
        before.assert_unchanged();
    });
}

#[test]
fn a_source_that_does_not_run_is_refused_or_waited_for() {
    isolated(|| {
        let _host = Host::new();
        network("strict", 1, Families::V4, &json!({}));
        network("patient", 2, Families::V4, &json!({"waitForLinks": true}));
        let before = Snapshot::take();
        let (web, db) = (Namespaced::new("web"), Namespaced::new("db"));
        let refused = add("strict", &web, "eth0", ";LINK_LINKS=db:webdb", &json!({}));
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success(), "{said}");
        assert!(said.contains("cannot link to a non running container: db AS /web/webdb"), "{said}");
        leave("strict", &web, "eth0");

        join("patient", &web, "eth0", ";LINK_LINKS=db:webdb");
        let mut shell = Shell::new(&web);
        assert_eq!(shell.look_up("webdb"), [""; 0]);
        join("patient", &db, "eth0", ";LINK_EXPOSE=5432");
        serve_tcp(Some(&db), "db", "[::]:5432");
        assert_eq!(shell.ask("webdb", 5432), "db sees 10.80.2.2");
        drop(shell);
        // Where an administrator has made a hosts file for this namespace, that file is not touched.
        leave("patient", &web, "eth0");
        fs::create_dir_all("/etc/netns/web").unwrap();
        fs::write("/etc/netns/web/hosts", "192.0.2.7 precious\n").unwrap();
        join("patient", &web, "eth0", "");
        leave("patient", &web, "eth0");
        assert_eq!(fs::read_to_string("/etc/netns/web/hosts").unwrap(), "192.0.2.7 precious\n");
        fs::remove_dir_all("/etc/netns/web").unwrap();
        leave("patient", &db, "eth0");
        drop((web, db));
        before.assert_unchanged();
    });
}
