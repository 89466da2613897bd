//! Files that the suite finds on disk, with any content. The first byte of the input chooses the file (`0` is the first), and
//! the rest is its content. The code under test reads it from a real folder, with its ordinary functions.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::Path;

use cni::{Attachment, Cache, ContainerId, IfName, NetworkName};
use host_local::HostLocal;
use link_env::{Given, Pod};
use registry::{ExtraHost, Member, Registry};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::contract::{Environment, answer};

fn split(bytes: &[u8], files: usize) -> Option<(usize, &[u8])> {
    let (first, content) = bytes.split_first()?;
    Some((usize::from(first.wrapping_sub(b'0')) % files, content))
}

fn attachment() -> Attachment {
    Attachment {
        network: NetworkName::new("net").unwrap(),
        container_id: ContainerId::new("c1").unwrap(),
        ifname: IfName::new("eth0").unwrap(),
    }
}

fn place() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn folder(path: &Path) {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).unwrap();
}

/// A file of a network's folder of leases: a lease, host-local's own files, or the link of an attachment to its address. Or
/// the file that `resolvConf` names.
pub fn leases(bytes: &[u8]) {
    const FILES: [&str; 8] =
        ["10.1.0.2", "last_reserved_ip.0", ".free", "boot_id", "lock", ".writing", "link", "resolv.conf"];
    let Some((file, content)) = split(bytes, FILES.len()) else { return };
    let place = place();
    let network = place.path().join("net");
    folder(&network.join(".owners"));
    let resolv_conf = place.path().join("resolv.conf");
    fs::write(&resolv_conf, if FILES[file] == "resolv.conf" { content } else { b"" }).unwrap();
    match FILES[file] {
        "link" => {
            let link = network.join(".owners").join(format!("{}.0", attachment().token()));
            // Not every text can be the target of a link.
            let _ = symlink(String::from_utf8_lossy(content).replace('\0', "/"), link);
        }
        "resolv.conf" => {}
        name => fs::write(network.join(name), content).unwrap(),
    }
    let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "host-local", "ipam": {
        "type": "host-local", "ranges": [[{"subnet": "10.1.0.0/28"}]], "dataDir": place.path(),
        "resolvConf": resolv_conf}});
    let call = |id: &str, verb: &str, conf: &Value| {
        answer::<HostLocal>(&Environment::of(id, verb), conf.to_string().as_bytes())
    };
    call("c1", "STATUS", &conf);
    for id in ["c1", "c2"] {
        let Some(result) = call(id, "ADD", &conf) else { continue };
        let address = result["ips"][0]["address"].as_str().unwrap().to_owned();
        let leased: IpAddr = address.strip_suffix("/28").unwrap().parse().unwrap();
        assert!(("10.1.0.2".parse::<IpAddr>().unwrap()..="10.1.0.14".parse().unwrap()).contains(&leased));
        conf["prevResult"] = result;
        assert!(call(id, "CHECK", &conf).is_some(), "a CHECK after a successful ADD fails");
        call(id, "DEL", &conf);
        conf.as_object_mut().unwrap().remove("prevResult");
    }
    call("c1", "DEL", &conf);
    conf["cni.dev/valid-attachments"] = json!([]);
    call("c1", "GC", &conf);
}

/// A file of link-env's state folder: a member, the index of the members, or a file of a container.
pub fn registry(bytes: &[u8]) {
    const FILES: [&str; 10] = [
        "registry/net/members/c1:eth0",
        "registry/net/members/c2:eth0",
        "registry/net/all",
        "registry/net/index/n:c1",
        "registry/net/index/v",
        "containers/c1/networks",
        "containers/c1/delivered",
        "containers/c1/notes",
        "containers/c1/hosts",
        "containers/c1/env.json",
    ];
    const MEMBER: &str = r#"{"containerID":"c1","ifname":"eth0","name":"web","hostname":"web","addresses":["10.1.0.2"],
        "links":[{"source":"db","alias":"sql"}],"names":"network","place":{"start":0,"length":60}}"#;
    const OTHER: &str = r#"{"containerID":"c2","ifname":"eth0","name":"db","hostname":"db","addresses":["10.1.0.3"],
        "env":{"A":"b"},"expose":["5432/tcp"],"names":"network","place":{"start":60,"length":60}}"#;
    let Some((file, content)) = split(bytes, FILES.len()) else { return };
    let place = place();
    let state = place.path().join("state");
    for path in ["registry/net/members", "registry/net/index", "containers/c1"] {
        folder(&state.join(path));
    }
    for (path, text) in [
        ("registry/net/members/c1:eth0", MEMBER),
        ("registry/net/members/c2:eth0", OTHER),
        ("registry/net/index/n:c1", "c1:eth0\n"),
        ("registry/net/index/n:db", "c2:eth0\n"),
        ("registry/net/index/v", "c1:eth0\nc2:eth0\n"),
        ("containers/c1/networks", "net\n"),
    ] {
        fs::write(state.join(path), text).unwrap();
    }
    fs::write(state.join(FILES[file]), content).unwrap();
    let registry = Registry::at(&state);
    let _ = (registry.networks(), registry.network("net"), registry.notes("c1"));
    let _ = Given::read(&state, "c1");
    if let Ok(Some(pod)) = Pod::find(&state, "c1") {
        let _ = pod.environment();
        let printer = ExtraHost { name: "printer".into(), address: [192, 0, 2, 9].into() };
        let _ = pod.add_extra_hosts(&[printer]);
        let _ = pod.offer_environment(&[("K".to_owned(), "v".to_owned())].into());
    }
    let _ = registry.note("c1", "a note");
    if let Ok(Some(locked)) = registry.lock_existing() {
        let asker = Member::default();
        let _ = (locked.networks_with(&asker, "db"), locked.settled("net", ""), locked.containers());
        if let Ok(before) = locked.around("net", &["c2"], None) {
            let mut after = before.clone();
            after.remove("c2", "eth0");
            let _ = locked.change(&before, &after);
        }
        let _ = (locked.leave("c1", "net"), locked.forget("net", "c1", "eth0"));
    }
}

/// An entry of the result cache.
pub fn cache(bytes: &[u8]) {
    let place = place();
    folder(&place.path().join("results"));
    fs::write(place.path().join("results/net-c1-eth0"), bytes).unwrap();
    let cache = Cache::new(place.path());
    let listed = cache.entries().unwrap();
    match cache.read(&attachment()) {
        Ok(entry) => {
            let entry = entry.expect("the file is there");
            assert_eq!(listed, std::slice::from_ref(&entry));
            cache.write(&attachment(), &entry).unwrap();
            assert_eq!(cache.read(&attachment()).unwrap(), Some(entry));
        }
        Err(error) => {
            let code = if bytes.len() > 8 << 20 { 5 } else { 6 };
            assert_eq!((error.code(), listed), (code, Vec::new()), "{error}");
            assert!(error.to_string().len() < 16 << 10, "{} bytes", error.to_string().len());
        }
    }
    let _ = cache.entries_of(&attachment().container_id);
}
