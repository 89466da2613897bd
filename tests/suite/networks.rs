//! `cleat add|check|del|status|gc` with the conflists of conf/, and libcni with the same cache and state.

use std::fs;
use std::path::Path;
use std::process::Command;

use sandbox::traffic::{Datagrams, ask_tcp, ask_udp, serve_tcp, serve_udp};
use sandbox::{Host, Namespaced, Snapshot, UPLINK_V4, UPLINK_V6, isolated};
use serde_json::{Value, json};

use crate::shared::cleat::{DUAL, NETWORKS, cleat, install_networks, succeed};
use crate::shared::programs::{CLEAT, folder};
use crate::shared::shell::said;

fn fail(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{command:?}: {}", said(&output));
    said(&output)
}

fn on(verb: &str, network: &str, netns: &Namespaced) -> Command {
    cleat(&[verb, network, netns.path().to_str().unwrap()])
}

fn ports(mappings: &Value) -> String {
    json!({ "portMappings": mappings }).to_string()
}

/// Every way to a published port, from the very moment that ADD returns; and none after DEL.
fn published(bridge_netfilter: &str) {
    let host = Host::new();
    install_networks();
    let before = Snapshot::take();
    for name in ["iptables", "ip6tables"] {
        fs::write(format!("/proc/sys/net/bridge/bridge-nf-call-{name}"), bridge_netfilter).unwrap();
    }
    let (web, other) = (Namespaced::new("web"), Namespaced::new("other"));
    succeed(&mut on("add", DUAL, &other));
    serve_tcp(Some(&web), "web", "[::]:80");
    serve_udp(Some(&web), "web", "[::]:53");
    let mappings = ports(&json!([
        {"hostPort": 80, "containerPort": 80, "protocol": "tcp"},
        {"HostPort": 8080, "ContainerPort": 80, "Protocol": "tcp", "HostIP": ""},
        {"hostPort": 5353, "containerPort": 53, "protocol": "udp"},
        {"hostPort": 5000, "containerPort": 80, "protocol": "tcp", "hostIP": "127.0.0.1"},
        {"hostPort": 5000, "containerPort": 53, "protocol": "udp", "hostIP": "127.0.0.1"},
    ]));
    succeed(on("add", DUAL, &web).env("CAP_ARGS", &mappings));
    for port in [80, 8080] {
        let (v4, v6) = (format!("{UPLINK_V4}:{port}"), format!("[{UPLINK_V6}]:{port}"));
        assert_eq!(ask_tcp(Some(&host.outside), &v4).unwrap(), "web sees 192.0.2.2");
        assert_eq!(ask_tcp(Some(&host.outside), &v6).unwrap(), "web sees 2001:db8::2");
        // The host's connections to its own address come from that address, as with Docker.
        assert_eq!(ask_tcp(None, &v4).unwrap(), format!("web sees {UPLINK_V4}"));
        assert_eq!(ask_tcp(None, &v6).unwrap(), format!("web sees {UPLINK_V6}"));
        for place in [Some(&other), Some(&web)] {
            assert!(ask_tcp(place, &v4).unwrap().starts_with("web sees 10.91."), "{place:?}");
            assert!(ask_tcp(place, &v6).unwrap().starts_with("web sees fd00:91::"), "{place:?}");
        }
        assert!(ask_tcp(None, &format!("127.0.0.1:{port}")).unwrap().starts_with("web sees 10.91."));
        assert!(ask_tcp(None, &format!("[::1]:{port}")).unwrap().starts_with("web sees fd00:91::"));
    }
    let flow = Datagrams::new(Some(&host.outside), &format!("{UPLINK_V4}:5353"));
    assert_eq!(flow.ask().unwrap(), "web sees 192.0.2.2");
    for place in [None, Some(&other), Some(&web), Some(&host.outside)] {
        assert!(ask_udp(place, &format!("{UPLINK_V4}:5353")).unwrap().starts_with("web sees "), "{place:?}");
        assert!(
            ask_udp(place, &format!("[{UPLINK_V6}]:5353")).unwrap().starts_with("web sees "),
            "{place:?}"
        );
    }
    // Published on 127.0.0.1 only.
    assert!(ask_tcp(None, "127.0.0.1:5000").unwrap().starts_with("web sees 10.91."));
    assert!(ask_udp(None, "127.0.0.1:5000").unwrap().starts_with("web sees 10.91."));
    for place in [Some(&host.outside), Some(&other)] {
        assert!(ask_tcp(place, &format!("{UPLINK_V4}:5000")).is_err(), "{place:?}");
    }
    // Another container cannot publish the same host port.
    let taken = fail(
        on("add", DUAL, &Namespaced::new("late"))
            .env("CAP_ARGS", ports(&json!([{"hostPort": 80, "containerPort": 80}]))),
    );
    assert!(taken.contains("80") && taken.contains("cnitool-"), "{taken}");
    succeed(&mut on("check", DUAL, &web));
    succeed(&mut on("del", DUAL, &web));
    assert!(flow.ask().is_err(), "a flow that was alive must end with the container");
    assert!(ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:80")).is_err());
    succeed(&mut on("del", DUAL, &web));
    succeed(&mut on("del", DUAL, &other));
    drop((web, other));
    before.assert_unchanged();
}

#[test]
fn published_ports_are_reached_from_everywhere() {
    isolated(|| published("0"));
}

#[test]
fn published_ports_are_reached_from_everywhere_with_bridge_netfilter() {
    isolated(|| published("1"));
}

#[test]
fn what_cleat_adds_libcni_deletes_and_the_other_way_round() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let libcni = Path::new("/run/libcni-runtime");
        succeed(
            Command::new("go")
                .args(["build", "-o"])
                .arg(libcni)
                .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/libcni/main.go"))
                .envs([
                    ("GO111MODULE", "off"),
                    ("GOPATH", "/usr/share/gocode"),
                    ("GOCACHE", "/run/gocache"),
                    ("GOFLAGS", ""),
                ]),
        );
        fs::remove_dir_all("/run/gocache").unwrap();
        let before = Snapshot::take();
        let web = Namespaced::new("web");
        let mappings = ports(&json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]));
        let path = web.path().to_str().unwrap();
        let runtime = |verb: &str| {
            let id = cached()["containerId"].as_str().unwrap_or("other").to_owned();
            let mut command = Command::new(libcni);
            command.args([verb, DUAL, path, &id]).env("CNI_PATH", folder()).env("NETCONFPATH", NETWORKS);
            command.env("CAP_ARGS", &mappings);
            command
        };
        succeed(on("add", DUAL, &web).env("CAP_ARGS", &mappings));
        // As with cnitool, the container ID is derived from the path of the namespace.
        assert!(cached()["containerId"].as_str().unwrap().starts_with("cnitool-"));
        assert_eq!(cached()["capabilityArgs"]["portMappings"][0]["hostPort"], 8080);
        succeed(&mut runtime("check"));
        succeed(&mut runtime("del"));
        assert_eq!(cached(), Value::Null);
        succeed(&mut runtime("add"));
        let id = cached()["containerId"].as_str().unwrap().to_owned();
        succeed(&mut cleat(&["check", DUAL, path, "--id", &id]));
        succeed(&mut cleat(&["del", DUAL, path, "--id", &id]));
        assert_eq!(cached(), Value::Null);
        drop(web);
        before.assert_unchanged();
    });
}

/// The only entry of libcni's cache.
fn cached() -> Value {
    let Some(entry) = fs::read_dir("/var/lib/cni/results").ok().and_then(|mut entries| entries.next()) else {
        return Value::Null;
    };
    serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap()
}

#[test]
fn gc_deletes_attachments_whose_namespace_has_gone() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let (gone, stays) = (Namespaced::new("gone"), Namespaced::new("stays"));
        let mappings = ports(&json!([{"hostPort": 8080, "containerPort": 80}]));
        succeed(&mut on("add", DUAL, &stays));
        let during = Snapshot::take();
        succeed(on("add", DUAL, &gone).env("CAP_ARGS", mappings));
        drop(gone);
        succeed(&mut cleat(&["gc", DUAL]));
        let left = Snapshot::take();
        assert!(
            left.lines().all(|line| during.lines().any(|known| known == line) || line.contains("/run/cleat")),
            "{left:?}"
        );
        succeed(&mut on("check", DUAL, &stays));
        succeed(&mut on("del", DUAL, &stays));
        drop(stays);
        before.assert_unchanged();
    });
}

#[test]
fn status_is_asked_where_the_version_has_it() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        // Our plugins have STATUS whatever the version of the list is. Where no plugin has it, `cleat` says so.
        assert_eq!(said(&cleat(&["status", DUAL]).output().unwrap()), "");
        let older =
            r#"{"cniVersion": "0.4.0", "name": "older", "plugins": [{"type": "bridge", "bridge": "old0"}]}"#;
        fs::write("/run/net.d/50-older.conflist", older).unwrap();
        let told = cleat(&["status", "older"]).env("CNI_PATH", "/usr/lib/cni").output().unwrap();
        assert!(told.status.success() && said(&told).contains("STATUS came with 1.1.0"), "{}", said(&told));
        let file = "/run/net.d/20-cleat-dual-stack.conflist";
        let newer = fs::read_to_string(file).unwrap().replace("\"1.0.0\"", "\"1.1.0\"");
        fs::write(file, &newer).unwrap();
        assert_eq!(said(&cleat(&["status", DUAL]).output().unwrap()), "");
        // A subnet of four addresses leaves one for containers.
        fs::write(file, newer.replace("10.91.0.0/16", "10.91.0.0/30")).unwrap();
        let netns = Namespaced::new("only");
        succeed(&mut on("add", DUAL, &netns));
        let full = fail(&mut cleat(&["status", DUAL]));
        assert!(full.contains("10.91.0.") && full.contains('1'), "{full}");
        succeed(&mut on("del", DUAL, &netns));
    });
}

#[test]
fn mistakes_are_told_with_the_cure() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let netns = Namespaced::new("c");
        let said = fail(&mut on("add", "claet", &netns));
        assert!(said.contains("claet") && said.contains("cleat"), "{said}");
        let said = fail(on("add", "cleat", &netns).env("CAP_ARGS", "{"));
        assert!(said.contains("CAP_ARGS"), "{said}");
        let said = fail(on("add", "cleat", &netns).env("CNI_ARGS", "novalue"));
        assert!(said.contains("novalue"), "{said}");
        let said = fail(&mut cleat(&["add", "cleat", "/run/netns/nowhere"]));
        assert!(said.contains("/run/netns/nowhere"), "{said}");
        let said = fail(on("add", "cleat", &netns).env("CNI_PATH", "/nowhere"));
        assert!(said.contains("bridge") && said.contains("/nowhere"), "{said}");
        let said = fail(&mut on("check", "cleat", &netns));
        assert!(said.contains("no result"), "{said}");
        drop(netns);
        before.assert_unchanged();
    });
}

/// No nft, iptables or ip, and no host-local either: bridge leases addresses within its own process.
#[test]
fn an_add_starts_no_program_besides_the_plugins() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let web = Namespaced::new("web");
        let mut command = Command::new("strace");
        command.args([
            "-f",
            "-e",
            "trace=execve",
            "-o",
            "/run/trace",
            CLEAT,
            "add",
            DUAL,
            web.path().to_str().unwrap(),
        ]);
        command.env("CNI_PATH", folder()).env("NETCONFPATH", NETWORKS);
        succeed(command.env("CAP_ARGS", ports(&json!([{"hostPort": 80, "containerPort": 80}]))));
        let trace = fs::read_to_string("/run/trace").unwrap();
        let started: Vec<&str> = trace
            .lines()
            .filter(|line| line.contains("execve(\""))
            .map(|line| line.split('"').nth(1).unwrap())
            .collect();
        let names: Vec<&str> = started.iter().map(|path| path.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, ["cleat", "bridge", "host-port", "link-env"], "{trace}");
        succeed(&mut on("del", DUAL, &web));
    });
}
