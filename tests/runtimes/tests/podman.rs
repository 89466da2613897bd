//! podman with its CNI backend: on networks that podman creates, and on one of ours.

use std::fs;

use runtimes::{IMAGE, Machine, Podman, eventually, machine, run};
use sandbox::Namespaced;
use sandbox::traffic::{ask_tcp, serve_tcp};
use serde_json::{Value, json};

const SERVE: [&str; 6] = ["nc", "-ll", "-p", "80", "-e", "hostname"];

/// `podman network create` writes a chain of bridge, portmap, firewall and tuning. The last two are the reference's plugins.
#[test]
fn networks_that_podman_creates() {
    machine(|machine| {
        machine.reference(&["firewall", "tuning"]);
        serve_tcp(Some(&machine.host.outside), "outside", "[::]:80");
        let podman = Podman::new();
        podman.run(&["network", "create", "front"]);
        podman.run(&[
            "network",
            "create",
            "--ipv6",
            "--subnet",
            "10.96.0.0/24",
            "--subnet",
            "fd00:96::/64",
            "back",
        ]);
        // The reference's firewall makes chains for the first container and keeps them: they belong to the state before.
        for network in ["front", "back"] {
            podman.run(&["run", "--rm", "--network", network, IMAGE, "true"]);
        }
        let before = machine.snapshot();

        serve(
            &podman,
            "web",
            &["--network", "front", "--network", "back", "-p", "8080:80", "-p", "127.0.0.1:8081:80"],
        );
        serve(&podman, "db", &["--network", "back", "--network-alias", "database"]);
        assert_eq!(ask_outside(machine, "192.0.2.1:8080"), "web");
        assert_eq!(ask_outside(machine, "[2001:db8::1]:8080"), "web");
        assert_eq!(ask_tcp(None, "127.0.0.1:8081").unwrap().trim(), "web");
        ask_tcp(Some(&machine.host.outside), "192.0.2.1:8081").unwrap_err();
        assert_eq!(ask(&podman, "db", "192.0.2.2"), "outside sees 192.0.2.1");
        assert_eq!(ask(&podman, "db", "2001:db8::2"), "outside sees 2001:db8::1");
        assert_eq!(ask(&podman, "web", &address(&podman, "db", "back")), "db");
        assert_eq!(interfaces(&podman, "web"), ["eth0", "eth1", "lo"]);

        // `podman network reload` sets all rules again; the addresses stay.
        let address_before = address(&podman, "web", "front");
        podman.run(&["network", "reload", "web"]);
        assert_eq!(address(&podman, "web", "front"), address_before);
        assert_eq!(ask_outside(machine, "192.0.2.1:8080"), "web");

        podman.run(&["network", "connect", "front", "db"]);
        assert_eq!(ask(&podman, "web", &address(&podman, "db", "front")), "db");
        podman.run(&["network", "disconnect", "front", "db"]);
        assert_eq!(interfaces(&podman, "db"), ["eth0", "lo"]);

        podman.run(&["restart", "-t", "0", "web"]);
        assert_eq!(ask_outside(machine, "192.0.2.1:8080"), "web");

        remove(&podman, &["web", "db"]);
        before.assert_unchanged();
    });
}

/// The network of conf/ that replaces podman's default one: our whole chain, with container names.
#[test]
fn the_network_that_cleat_offers() {
    machine(|machine| {
        let conflist = include_str!("../../../conf/podman/87-podman-bridge.conflist");
        machine.network("87-podman-bridge.conflist", &serde_json::from_str(conflist).unwrap());
        let podman = Podman::new();
        let before = machine.snapshot();
        serve(&podman, "web", &["-p", "8080:80"]);
        serve(&podman, "db", &["--network", "podman:alias=database", "-p", "80"]);
        assert_eq!(ask_outside(machine, "192.0.2.1:8080"), "web");
        let published = podman.run(&["port", "db"]);
        let port = published.trim().rsplit_once(':').unwrap().1;
        assert_eq!(ask_outside(machine, &format!("192.0.2.1:{port}")), "db");

        // podman mounts its own hosts file; ours is written too, but unused.
        let hosts = |name: &str| {
            let id = podman.run(&["inspect", "--format", "{{.Id}}", name]);
            fs::read_to_string(format!("/run/cleat/containers/{}/hosts", id.trim())).unwrap()
        };
        let line = format!("{}\t", address(&podman, "db", "podman"));
        let hosts = hosts("web");
        let names = hosts.lines().find(|text| text.starts_with(&line)).unwrap();
        assert!(names.contains("db") && names.contains("database"), "{hosts}");

        let taken = podman.try_run(&["run", "--rm", "-p", "8080:80", IMAGE, "true"]);
        let said = taken.unwrap_err();
        assert!(said.contains("8080"), "{said}");
        remove(&podman, &["web", "db"]);
        before.assert_unchanged();
    });
}

/// `cleat` attaches a namespace first; its links then reach podman's container through a CDI device.
#[test]
fn links_by_a_device() {
    machine(|machine| {
        let mut conflist: Value =
            serde_json::from_str(include_str!("../../../conf/podman/87-podman-bridge.conflist")).unwrap();
        conflist["plugins"][2]["cdiDir"] = json!("/run/cdi");
        machine.network("87-podman-bridge.conflist", &conflist);
        let podman = Podman::new();
        let before = machine.snapshot();
        let database = ["nc", "-ll", "-p", "5432", "-e", "echo", "database"];
        podman.run(&[&["run", "-d", "--name", "db", "-p", "5432:5432", IMAGE], &database[..]].concat());
        let netns = Namespaced::new("web");
        let cleat = |verb: &str| {
            let args = "LINK_NAME=web;LINK_LINKS=db:webdb";
            run(machine.cleat().args([verb, "podman", "/run/netns/web"]).env("CNI_ARGS", args));
        };
        cleat("add");
        let inside =
            ["run", "--rm", "--network", "ns:/run/netns/web", "--device", "link-env.cni/pod=web", IMAGE];
        let web = |command: &[&str]| podman.run(&[&inside, command].concat());
        assert_eq!(web(&["printenv", "WEBDB_PORT_5432_TCP_ADDR"]).trim(), address(&podman, "db", "podman"));
        for target in ["webdb", "$WEBDB_PORT_5432_TCP_ADDR"] {
            assert_eq!(web(&["sh", "-c", &format!("nc -w 5 {target} 5432")]), "database\n");
        }
        cleat("del");
        drop(netns);
        remove(&podman, &["db"]);
        before.assert_unchanged();
    });
}

fn serve(podman: &Podman, name: &str, options: &[&str]) {
    let start = ["run", "-d", "--name", name, "--hostname", name];
    podman.run(&[&start, options, &[IMAGE], &SERVE].concat());
}

fn ask(podman: &Podman, from: &str, address: &str) -> String {
    let ask = ["exec", from, "nc", "-w", "5", address, "80"];
    eventually("an answer", || podman.try_run(&ask)).trim().to_owned()
}

fn ask_outside(machine: &Machine, address: &str) -> String {
    eventually("an answer", || ask_tcp(Some(&machine.host.outside), address)).trim().to_owned()
}

fn address(podman: &Podman, name: &str, network: &str) -> String {
    let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
    podman.run(&["inspect", "--format", &format, name]).trim().to_owned()
}

fn interfaces(podman: &Podman, name: &str) -> Vec<String> {
    let list = podman.run(&["exec", name, "ls", "/sys/class/net"]);
    list.split_whitespace().map(str::to_owned).collect()
}

fn remove(podman: &Podman, names: &[&str]) {
    for name in names {
        podman.run(&["stop", "-t", "0", name]);
        podman.run(&["rm", name]);
    }
}
