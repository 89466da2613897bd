//! `cleat` with the containers of other runtimes. What libcni caches of their attachments is enough to check, repair and list
//! them, to keep them in a `gc`, and to connect them to another network.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use runtimes::cri::{ContainerSpec, Cri, PodSpec};
use runtimes::{Containerd, IMAGE, Machine, Podman, Release, eventually, machine, run};
use sandbox::Namespaced;
use sandbox::traffic::{ask_tcp, serve_tcp};
use serde_json::{Value, json};

use crate::cri::{await_network, end};

/// libcni's cache of results.
const RESULTS: &str = "/var/lib/cni/results";
const SERVE: [&str; 6] = ["nc", "-ll", "-p", "80", "-e", "hostname"];

#[test]
fn pods_of_debians_containerd() {
    machine(|machine| pods(machine, Release::Debian12, "1.0.0"));
}

#[test]
fn pods_of_the_newest_containerd() {
    machine(|machine| pods(machine, Release::Newest, "1.1.0"));
}

fn pods(machine: &Machine, release: Release, version: &str) {
    let mut network: Value =
        serde_json::from_str(include_str!("../../../conf/containerd/10-containerd-net.conflist")).unwrap();
    network["cniVersion"] = json!(version);
    machine.network("10-containerd-net.conflist", &network);
    let containerd = Containerd::start(release);
    let cri = Cri::new(containerd.socket());
    await_network(&cri);
    let pod = |name: &str, ports: &[(u16, u16)]| {
        let spec = PodSpec { name: name.to_owned(), ports: ports.to_vec(), ..PodSpec::default() };
        let pod = cri.run_pod(&spec).unwrap();
        cri.run_container(&pod, &ContainerSpec { command: &SERVE, ..ContainerSpec::default() }).unwrap();
        pod
    };
    let before = machine.snapshot();
    let (web, db) = (pod("web", &[(8080, 80)]), pod("db", &[(8081, 80)]));
    assert_eq!(keeps_netns("eth0"), release == Release::Newest, "what this libcni keeps");
    let published = || {
        assert_eq!(ask_outside(machine, "192.0.2.1:8080"), "web");
        assert_eq!(ask_outside(machine, "[2001:db8::1]:8081"), "db");
    };
    Node {
        machine,
        network: "containerd-net",
        runtime: "containerd",
        names: &["web", "db"],
        attachments: 2,
        passes: &published,
    }
    .is_tended();
    assert!(told(machine, &["port", "web"]).contains("80/tcp -> 0.0.0.0:8080"));
    end(&cri, &web);
    end(&cri, &db);
    before.assert_unchanged();
}

#[test]
fn tasks_of_debians_ctr() {
    machine(|machine| tasks(machine, Release::Debian12));
}

#[test]
fn tasks_of_the_newest_ctr() {
    machine(|machine| tasks(machine, Release::Newest));
}

/// The namespace of a task is that of its process, `/proc/PID/ns/net`. There are no capability arguments.
fn tasks(machine: &Machine, release: Release) {
    let chain = json!([
        { "type": "bridge", "bridge": "cleat0", "isGateway": true, "ipMasq": true, "ipam": {
            "type": "host-local", "ranges": [[{ "subnet": "10.93.0.0/24" }]],
            "routes": [{ "dst": "0.0.0.0/0" }] } },
        { "type": "host-port" },
        { "type": "link-env" },
    ]);
    machine.network("10-ctr.conflist", &json!({ "cniVersion": "1.0.0", "name": "ctr", "plugins": chain }));
    serve_tcp(Some(&machine.host.outside), "outside", "0.0.0.0:80");
    let containerd = Containerd::start(release);
    let before = machine.snapshot();
    let start = |name: &str| {
        let serve = format!("nc -ll -p 80 -e echo {name}");
        let mut ctr = containerd.ctr();
        ctr.args(["run", "--rm", "--cni", IMAGE, name, "sh", "-c", &serve]).stdin(Stdio::null());
        ctr.spawn().unwrap()
    };
    let tasks = [("web", start("web")), ("db", start("db"))];
    let asks = |name: &str, attempt: usize| {
        let id = format!("ask-{attempt}");
        let words = ["task", "exec", "--exec-id", &id, name, "nc", "-w", "5", "192.0.2.2", "80"];
        containerd.ctr().args(words).output().unwrap()
    };
    let masqueraded = || {
        for (name, _) in &tasks {
            let mut attempts = 0..;
            eventually("an answer from outside", || {
                let output = asks(name, attempts.next().unwrap());
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                if said == "outside sees 192.0.2.1" { Ok(()) } else { Err(format!("{said} {output:?}")) }
            });
        }
    };
    masqueraded();
    let names = ["default-web", "default-db"];
    Node { machine, network: "ctr", runtime: "ctr", names: &names, attachments: 2, passes: &masqueraded }
        .is_tended();
    for (name, mut ctr) in tasks {
        run(containerd.ctr().args(["task", "kill", "-s", "KILL", name]));
        ctr.wait().unwrap();
    }
    before.assert_unchanged();
}

/// A network that podman creates, with the reference's firewall and tuning in its chain, and one of ours.
#[test]
fn containers_of_podman() {
    machine(|machine| {
        machine.reference(&["firewall", "tuning"]);
        let conflist = include_str!("../../../conf/podman/87-podman-bridge.conflist");
        machine.network("87-podman-bridge.conflist", &serde_json::from_str(conflist).unwrap());
        let podman = Podman::new();
        podman.run(&["network", "create", "--subnet", "10.97.0.0/24", "front"]);
        // The reference's firewall makes chains for the first container and keeps them: they belong to the state before.
        podman.run(&["run", "--rm", "--network", "front", IMAGE, "true"]);
        let before = machine.snapshot();
        let serve = |name: &str, network: &str, port: &str| {
            let options = ["run", "-d", "--name", name, "--hostname", name, "--network", network, "-p", port];
            podman.run(&[&options[..], &[IMAGE], &SERVE].concat());
        };
        serve("web", "podman", "8080:80");
        serve("db", "front", "8081:80");
        serve("both", "podman,front", "8082:80");
        assert!(!keeps_netns("eth0"), "what this libcni keeps");
        let published = || {
            assert_eq!(ask_outside(machine, "192.0.2.1:8080"), "web");
            assert_eq!(ask_outside(machine, "192.0.2.1:8081"), "db");
            assert_eq!(ask_outside(machine, "192.0.2.1:8082"), "both");
        };
        let names = ["web", "db", "both"];
        Node {
            machine,
            network: "podman",
            runtime: "podman",
            names: &names,
            attachments: 4,
            passes: &published,
        }
        .is_tended();
        for name in names {
            podman.run(&["stop", "-t", "0", name]);
            podman.run(&["rm", name]);
        }
        before.assert_unchanged();
    });
}

/// Debian 12's libcni (1.1), called as `cnitool` does.
#[test]
fn namespaces_of_cnitool() {
    machine(|machine| {
        let conflist = include_str!("../../../conf/containerd/10-containerd-net.conflist");
        machine.network("10-containerd-net.conflist", &serde_json::from_str(conflist).unwrap());
        let program = libcni();
        let before = machine.snapshot();
        let namespaces = [Namespaced::new("web"), Namespaced::new("db")];
        let ports = [8080, 8081];
        // cnitool makes the container ID from a hash of the namespace's path.
        let id = |netns: &Namespaced| {
            let script = "printf %s \"$0\" | sha512sum | head -c 20";
            let digest = run(Command::new("sh").args(["-c", script]).arg(netns.path()));
            format!("cnitool-{}", digest.trim())
        };
        let call = |verb: &str, netns: &Namespaced, port: u16| {
            let mappings =
                json!({"portMappings": [{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]});
            let mut command = Command::new(program);
            command.args([verb, "containerd-net"]).arg(netns.path()).arg(id(netns));
            command.envs([("CNI_PATH", "/opt/cni/bin"), ("NETCONFPATH", "/etc/cni/net.d")]);
            run(command.env("CAP_ARGS", mappings.to_string()))
        };
        for (netns, port) in namespaces.iter().zip(ports) {
            serve_tcp(Some(netns), netns.name(), "[::]:80");
            call("add", netns, port);
        }
        assert!(!keeps_netns("eth0"), "what this libcni keeps");
        let published = || {
            for (netns, port) in namespaces.iter().zip(ports) {
                let answer = ask_outside(machine, &format!("192.0.2.1:{port}"));
                assert_eq!(answer, format!("{} sees 192.0.2.2", netns.name()).as_str());
            }
        };
        let ids = namespaces.each_ref().map(id);
        let names = ids.each_ref().map(String::as_str);
        Node {
            machine,
            network: "containerd-net",
            runtime: "cnitool",
            names: &names,
            attachments: 2,
            passes: &published,
        }
        .is_tended();
        for (netns, port) in namespaces.iter().zip(ports) {
            call("del", netns, port);
        }
        drop(namespaces);
        before.assert_unchanged();
    });
}

/// Builds tests/libcni, a small runtime on Debian's libcni.
fn libcni() -> &'static Path {
    let program = Path::new("/run/libcni-runtime");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../libcni/main.go");
    run(Command::new("go").args(["build", "-o"]).arg(program).arg(source).envs([
        ("GO111MODULE", "off"),
        ("GOPATH", "/usr/share/gocode"),
        ("GOCACHE", "/run/gocache"),
        ("GOFLAGS", ""),
    ]));
    program
}

/// A node with containers of some runtime.
struct Node<'a> {
    machine: &'a Machine,
    /// The network of the first container.
    network: &'a str,
    runtime: &'a str,
    /// The containers' names in `cleat`. The host reaches port 80 of each.
    names: &'a [&'a str],
    /// How many attachments they have in all.
    attachments: usize,
    /// Asserts that traffic passes, by masquerading and published ports.
    passes: &'a dyn Fn(),
}

impl Node<'_> {
    fn is_tended(&self) {
        (self.passes)();
        assert_eq!(self.states(), vec!["ok"; self.attachments], "{}", self.tells(&["check"]));
        self.is_listed();
        let fixed = self.fixed();

        // All rules are flushed: `check` reports each attachment, and `repair` restores all of them.
        self.lose_rules();
        let output = self.cleat(&["repair", "--dry-run"]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert_eq!(self.states(), vec!["broken"; self.attachments], "nothing was done");
        self.is_repaired(&["repair"]);
        assert_eq!(self.fixed(), fixed);

        // With --force, `repair` leaves intact attachments alone and repairs broken ones.
        assert_eq!(self.json(&["repair", "--force"]), json!([]));
        self.is_well();
        self.lose_rules();
        self.is_repaired(&["repair", "--force"]);
        assert_eq!(self.fixed(), fixed);

        self.tells(&["gc"]);
        self.tells(&["gc", "--force"]);
        self.tells(&["gc", self.network]);
        self.is_well();
        assert_eq!(self.fixed(), fixed);

        self.joins_another_network();
        self.is_well();
        assert_eq!(self.fixed(), fixed);
    }

    /// `ps` has one row for each attachment, with its runtime and namespace, and `inspect` finds each container.
    fn is_listed(&self) {
        let rows = self.json(&["ps"]);
        let rows = rows.as_array().unwrap();
        assert_eq!(rows.len(), self.attachments, "{rows:?}");
        let names: BTreeSet<&str> = rows.iter().map(|row| self.name_of(row)).collect();
        assert_eq!(names, self.names.iter().copied().collect(), "{rows:?}");
        for row in rows {
            assert_eq!((&row["runtime"], &row["gone"]), (&json!(self.runtime), &json!(false)), "{row}");
            assert_ne!(row["netns"], "", "{row}");
        }
        assert_eq!(self.tells(&["ps"]).lines().count(), 1 + self.attachments);
        for name in self.names {
            let inspected = self.json(&["inspect", name]);
            assert_ne!(inspected[0]["NetworkSettings"]["SandboxKey"], "", "{inspected}");
        }
    }

    /// The name of a row that is in `names`: its container's name, or else its ID.
    fn name_of<'b>(&self, row: &'b Value) -> &'b str {
        let [name, id] = ["name", "id"].map(|key| row[key].as_str().unwrap());
        if self.names.contains(&name) { name } else { id }
    }

    fn lose_rules(&self) {
        run(Command::new("nft").args(["flush", "ruleset"]));
        let output = self.cleat(&["check"]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert_eq!(self.states(), vec!["broken"; self.attachments], "{}", said(&output));
    }

    fn is_repaired(&self, repair: &[&str]) {
        let rows = self.json(repair);
        let rows = rows.as_array().unwrap();
        assert_eq!(rows.len(), self.attachments, "a row for each attachment: {rows:?}");
        assert!(rows.iter().all(|row| row["state"] == "repaired" && row["left"] == json!([])), "{rows:?}");
        assert_eq!(self.json(repair), json!([]), "nothing is left to repair");
        self.is_well();
    }

    fn is_well(&self) {
        assert_eq!(self.states(), vec!["ok"; self.attachments], "{}", self.tells(&["check"]));
        (self.passes)();
    }

    /// What no repair may change: addresses, MAC address, namespace, and the time of the ADD.
    fn fixed(&self) -> Vec<Value> {
        let rows = self.json(&["ps"]);
        let keys = ["id", "addresses", "mac", "netns", "since", "hostInterface"];
        rows.as_array().unwrap().iter().map(|row| json!(keys.map(|key| &row[key]))).collect()
    }

    fn joins_another_network(&self) {
        let name = self.names[0];
        self.tells(&["network", "create", "second"]);
        self.tells(&["network", "connect", "second", name]);
        let rows = self.json(&["ps"]);
        let row = rows.as_array().unwrap().iter().find(|row| row["network"] == "second").unwrap();
        let address = row["addresses"][0].as_str().unwrap().split('/').next().unwrap();
        eventually("an answer on the second network", || ask_tcp(None, &format!("{address}:80")));
        (self.passes)();
        let states: Vec<Value> = self.checked().into_iter().map(|row| row["state"].clone()).collect();
        assert_eq!(states, vec!["ok"; self.attachments + 1], "{}", self.tells(&["check"]));
        self.tells(&["network", "disconnect", "second", name]);
        ask_tcp(None, &format!("{address}:80")).unwrap_err();
        self.tells(&["network", "rm", "second"]);
    }

    /// The rows of `cleat check`. Loopback interfaces of old lists have none.
    fn checked(&self) -> Vec<Value> {
        let output = self.cleat(&["check", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn states(&self) -> Vec<String> {
        self.checked().iter().map(|row| row["state"].as_str().unwrap().to_owned()).collect()
    }

    fn cleat(&self, args: &[&str]) -> Output {
        self.machine.cleat().args(args).output().unwrap()
    }

    fn tells(&self, args: &[&str]) -> String {
        told(self.machine, args)
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&run(self.machine.cleat().args(args).arg("--json"))).unwrap()
    }
}

fn told(machine: &Machine, args: &[&str]) -> String {
    run(machine.cleat().args(args))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Whether the runtime's libcni has cached the namespace of an interface.
fn keeps_netns(ifname: &str) -> bool {
    let entries = fs::read_dir(RESULTS).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let mut entries = entries.map(|bytes| serde_json::from_slice::<Value>(&bytes).unwrap());
    entries.any(|entry| entry["ifName"] == ifname && entry["netns"].is_string())
}

fn ask_outside(machine: &Machine, address: &str) -> String {
    eventually("an answer", || ask_tcp(Some(&machine.host.outside), address)).trim().to_owned()
}
