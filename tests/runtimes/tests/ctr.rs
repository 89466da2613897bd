//! `ctr run --cni`: no capability arguments, an empty `CNI_ARGS`, and a DEL without a namespace.

use std::process::{Child, Command, Stdio};

use runtimes::{Containerd, IMAGE, Machine, Release, eventually, machine, run};
use sandbox::Namespaced;
use sandbox::traffic::{ask_tcp, serve_tcp};
use serde_json::{Value, json};

#[test]
fn our_chain() {
    machine(|machine| {
        let chain = json!([bridge(), { "type": "host-port" }, { "type": "link-env" }]);
        lives_and_leaves_nothing(machine, &chain);
    });
}

#[test]
fn our_plugins_among_the_references() {
    machine(|machine| {
        machine.reference(&["firewall", "tuning", "bandwidth"]);
        let chain = json!([
            bridge(),
            { "type": "portmap" },
            { "type": "firewall" },
            { "type": "tuning", "sysctl": { "net.ipv4.conf.all.log_martians": "1" } },
            { "type": "bandwidth", "ingressRate": 100_000_000, "ingressBurst": 100_000_000 },
            { "type": "link-env" },
        ]);
        lives_and_leaves_nothing(machine, &chain);
    });
}

/// ctr of containerd 2 takes CDI devices. `cleat` attaches a namespace first; its links then reach the container through a
/// CDI device.
#[test]
fn links_by_a_device() {
    machine(|machine| {
        let chain = json!([bridge(), { "type": "link-env", "cdiDir": "/run/cdi" }]);
        machine
            .network("10-ctr.conflist", &json!({ "cniVersion": "1.0.0", "name": "ctr", "plugins": chain }));
        let containerd = Containerd::start(Release::Newest);
        let before = machine.snapshot();
        let (db, web) = (Namespaced::new("db"), Namespaced::new("web"));
        serve_tcp(Some(&db), "database", "0.0.0.0:5432");
        let cleat = |verb: &str, netns: &Namespaced, args: &str| {
            let path = netns.path().to_str().unwrap();
            run(machine.cleat().args([verb, "ctr", path]).env("CNI_ARGS", args))
        };
        cleat("add", &db, "LINK_NAME=db;LINK_EXPOSE=5432");
        cleat("add", &web, "LINK_NAME=web;LINK_LINKS=db:webdb");
        let inside = |name: &str, command: &str| {
            let network = format!("network:{}", web.path().display());
            let place = ["run", "--rm", "--with-ns", &network, "--device", "link-env.cni/pod=web"];
            run(containerd.ctr().args(place).args([IMAGE, name, "sh", "-c", command]).stdin(Stdio::null()))
        };
        assert_eq!(inside("environment", "echo $WEBDB_PORT_5432_TCP_ADDR").trim(), "10.93.0.2");
        assert_eq!(inside("hosts", "nc -w 5 webdb 5432 </dev/null"), "database sees 10.93.0.3");
        cleat("del", &web, "");
        cleat("del", &db, "");
        drop((web, db));
        before.assert_unchanged();
    });
}

fn bridge() -> Value {
    json!({
        "type": "bridge", "bridge": "cleat0", "isGateway": true, "ipMasq": true,
        "ipam": {
            "type": "host-local",
            "ranges": [[{ "subnet": "10.93.0.0/24" }]],
            "routes": [{ "dst": "0.0.0.0/0" }],
        },
    })
}

/// The host reaches the container, and the container reaches the outside. When it has ended, nothing is left.
fn lives_and_leaves_nothing(machine: &Machine, chain: &Value) {
    machine.network("10-ctr.conflist", &json!({ "cniVersion": "1.0.0", "name": "ctr", "plugins": chain }));
    serve_tcp(Some(&machine.host.outside), "outside", "0.0.0.0:80");
    let containerd = Containerd::start(Release::Debian12);
    // The reference's firewall makes chains for the first container and keeps them: they belong to the state before.
    end(&containerd, "first", start(&containerd, "first"));
    let before = machine.snapshot();
    let container = start(&containerd, "web");
    let ask = ["task", "exec", "--exec-id", "ask", "web", "nc", "-w", "5", "192.0.2.2", "80"];
    assert_eq!(run(containerd.ctr().args(ask)), "outside sees 192.0.2.1", "masqueraded as the host");
    end(&containerd, "web", container);
    before.assert_unchanged();
}

/// Starts a container that answers with its name, and waits until it answers the host.
fn start(containerd: &Containerd, name: &str) -> Child {
    let serve = format!("nc -ll -p 80 -e echo {name}");
    let child = containerd
        .ctr()
        .args(["run", "--rm", "--cni", IMAGE, name, "sh", "-c", &serve])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let pid = eventually("the container runs", || pid(containerd, name));
    let address = address(&pid);
    let answer = eventually("the container answers the host", || ask_tcp(None, &format!("{address}:80")));
    assert_eq!(answer.trim(), name);
    child
}

/// Kills the container; ctr notices it and calls DEL.
fn end(containerd: &Containerd, name: &str, mut ctr: Child) {
    run(containerd.ctr().args(["task", "kill", "-s", "KILL", name]));
    ctr.wait().unwrap();
}

fn pid(containerd: &Containerd, name: &str) -> Result<String, String> {
    let list = run(containerd.ctr().args(["task", "list"]));
    let mut lines = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|words| words.first() == Some(&name) && words.last() == Some(&"RUNNING"));
    line.map(|words| words[1].to_owned()).ok_or(list)
}

fn address(pid: &str) -> String {
    let show = ["-t", pid, "-n", "ip", "-j", "-4", "addr", "show", "dev", "eth0"];
    let links: Value = serde_json::from_str(&run(Command::new("nsenter").args(show))).unwrap();
    links[0]["addr_info"][0]["local"].as_str().unwrap().to_owned()
}
