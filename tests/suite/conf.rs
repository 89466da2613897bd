//! Every network in conf/ works as its configuration says.

use std::fs;
use std::path::{Path, PathBuf};

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Host, Namespaced, OUTSIDE_V4, OUTSIDE_V6, Snapshot, UPLINK_V4, isolated};
use serde_json::{Value, json};

use crate::shared::cleat::{cleat, succeed};
use crate::shared::shell::shell;

#[test]
fn every_network_works_alone() {
    isolated(|| {
        let host = Host::new();
        serve_tcp(Some(&host.outside), "outside", "[::]:80");
        let files = conflists(&Path::new(env!("CARGO_MANIFEST_DIR")).join("conf"));
        assert!(files.len() >= 7, "{files:?}");
        for file in files {
            works(&host, &file);
        }
    });
}

/// The `.conflist` files of a folder and of the folders in it.
fn conflists(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(conflists(&path));
        } else if path.extension().is_some_and(|extension| extension == "conflist") {
            files.push(path);
        }
    }
    files
}

/// What the agent of overlay networks makes and says: here of a node that has no peers yet.
fn overlay(name: &Value) {
    let device = "ip link add vx1 mtu 1450 type vxlan id 4711 dstport 4789 nolearning && ip link set vx1 up";
    shell(device);
    let node = json!({
        "version": 1, "id": "6f1c1d1e-5d0a-4c63-9a6e-0f8a5d3f7b21", "prefixes": ["10.201.0.0/16"],
        "blocks": [{"subnet": "10.201.7.0/24"}], "device": "vx1", "mtu": 1450
    });
    fs::create_dir_all("/run/cleat/overlay").unwrap();
    fs::write(format!("/run/cleat/overlay/{}.json", name.as_str().unwrap()), node.to_string()).unwrap();
}

/// Containers reach each other unless `icc` is false, and the outside unless `internal` is true. Ports are published where the
/// chain has host-port.
fn works(host: &Host, file: &Path) {
    let conflist: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let name = conflist["name"].as_str().unwrap();
    let folder = Path::new("/run/alone");
    fs::create_dir(folder).unwrap();
    fs::copy(file, folder.join(file.file_name().unwrap())).unwrap();
    if conflist["plugins"][0].get("overlay").is_some() {
        overlay(&conflist["plugins"][0]["overlay"]);
    }
    let before = Snapshot::take();
    let (web, other) = (Namespaced::new("web"), Namespaced::new("other"));
    serve_tcp(Some(&web), "web", "[::]:80");
    let mappings = json!({ "portMappings": [{ "hostPort": 8080, "containerPort": 80 }] }).to_string();
    let call = |verb: &str, netns: &Namespaced| {
        let mut command = cleat(&[verb, name, netns.path().to_str().unwrap()]);
        command
            .env("NETCONFPATH", folder)
            .env("CAP_ARGS", if netns.name() == "web" { &mappings } else { "" });
        succeed(&mut command)
    };
    // STATUS exists from this version on.
    if conflist["cniVersion"] == "1.1.0" {
        succeed(cleat(&["status", name]).env("NETCONFPATH", folder));
    }
    let result: Value = serde_json::from_str(&call("add", &web)).unwrap();
    call("add", &other);
    let (open, together) =
        (conflist["plugins"][0]["internal"] != true, conflist["plugins"][0]["icc"] != false);
    for ip in result["ips"].as_array().unwrap() {
        let address = ip["address"].as_str().unwrap().split('/').next().unwrap();
        let v6 = address.contains(':');
        let at = |host: &str| if v6 { format!("[{host}]:80") } else { format!("{host}:80") };
        assert_eq!(ask_tcp(Some(&other), &at(address)).is_ok(), together, "{name}");
        let outside = at(if v6 { OUTSIDE_V6 } else { OUTSIDE_V4 });
        assert_eq!(ask_tcp(Some(&web), &outside).is_ok(), open, "{name}: {outside}");
    }
    let has_host_port =
        conflist["plugins"].as_array().unwrap().iter().any(|plugin| plugin["type"] == "host-port");
    let published = ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:8080"));
    assert_eq!(published.is_ok(), has_host_port, "{name}: {published:?}");
    for netns in [&web, &other] {
        call("check", netns);
        call("del", netns);
    }
    drop((web, other));
    before.assert_unchanged();
    fs::remove_dir_all(folder).unwrap();
}
