use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use crate::file::read_at;
use crate::node::Node;

fn whole() -> Value {
    json!({
        "version": 1, "id": "6f1c1d1e", "prefixes": ["10.201.0.0/16", "fd00:201::/48"],
        "blocks": [{"subnet": "10.201.7.0/24"}, {"subnet": "fd00:201:0:7::/64", "gateway": "fd00:201:0:7::1"}],
        "device": "vx1", "mtu": 1450
    })
}

fn with(key: &str, value: Value) -> Value {
    let mut whole = whole();
    whole[key] = value;
    whole
}

#[test]
fn what_is_written_is_read() {
    let node = Node::from_slice(whole().to_string().as_bytes()).unwrap();
    assert_eq!(node.prefixes[1].to_string(), "fd00:201::/48");
    assert_eq!((node.blocks[0].gateway, node.mtu), (None, 1450));
    assert_eq!(serde_json::from_slice::<Value>(&node.to_vec().unwrap()).unwrap(), whole());
    let newer = with("encrypted", json!(true)).to_string();
    assert_eq!(Node::from_slice(newer.as_bytes()).unwrap(), node, "a newer agent's key");
}

#[test]
fn what_is_not_as_it_should_be_is_refused() {
    for (key, value, words) in [
        ("version", json!(2), "version 2"),
        ("prefixes", json!([]), "prefixes has 0 entries"),
        ("prefixes", json!("10.201.0.0/16"), "invalid type"),
        ("prefixes", json!(["10.201.0.1/16"]), "host bits"),
        ("prefixes", json!(["0.0.0.0/0"]), "every address"),
        ("prefixes", json!(["10.201.0.0"]), "no prefix length"),
        ("prefixes", json!(["10.202.0.0/16", "fd00:201::/48"]), "in none of the prefixes"),
        ("prefixes", json!(vec!["10.201.0.0/16"; 9]), "prefixes has 9 entries"),
        ("blocks", json!([{"subnet": "10.0.0.0/8"}]), "in none of the prefixes"),
        ("blocks", json!([{"subnet": "10.201.7.0/31"}]), "no room"),
        ("blocks", json!([{"subnet": "10.201.7.0/24", "gateway": "10.201.8.1"}]), "gateway is not in it"),
        ("blocks", json!([{}]), "missing field `subnet`"),
        ("device", json!("a/b"), "a/b"),
        ("device", json!("a-name-of-sixteen"), "a-name-of-sixteen"),
        ("mtu", json!(1279), "1280 to 65535"),
        ("mtu", json!(-1), "invalid value"),
        ("id", Value::Null, "invalid type: null"),
    ] {
        let text = with(key, value).to_string();
        let fault = Node::from_slice(text.as_bytes()).unwrap_err().to_string();
        assert!(fault.contains(words), "{text}: {fault}");
        let twice = text.replacen('{', "{\"mtu\": 1450, \"mtu\": 1450, ", 1);
        assert!(Node::from_slice(twice.as_bytes()).unwrap_err().to_string().contains("duplicate"), "{twice}");
    }
    for end in 0..whole().to_string().len() {
        assert!(Node::from_slice(&whole().to_string().as_bytes()[..end]).is_err(), "torn after {end} bytes");
    }
}

#[test]
fn an_mtu_for_ipv4_alone_may_be_smaller() {
    let mut small = with("mtu", json!(576));
    small["blocks"].as_array_mut().unwrap().pop();
    assert_eq!(Node::from_slice(small.to_string().as_bytes()).unwrap().mtu, 576);
}

#[test]
fn only_a_plain_file_of_its_owner_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let good = at("good.json");
    fs::write(&good, whole().to_string()).unwrap();
    fs::set_permissions(&good, Permissions::from_mode(0o644)).unwrap();
    let owner = fs::metadata(&good).unwrap().uid();
    assert!(read_at(&good, owner).unwrap().is_some());
    assert!(read_at(&at("none.json"), owner).unwrap().is_none());
    let refused = |name: &str, owner: u32| read_at(&at(name), owner).unwrap_err().to_string();
    assert!(refused("good.json", owner + 1).contains("and not to root"));
    symlink(&good, at("link.json")).unwrap();
    mkfifo(&at("fifo.json"), Mode::S_IRUSR).unwrap();
    fs::create_dir(at("folder.json")).unwrap();
    fs::File::create(at("sparse.json")).unwrap().set_len(1 << 40).unwrap();
    fs::write(at("open.json"), whole().to_string()).unwrap();
    fs::set_permissions(at("open.json"), Permissions::from_mode(0o664)).unwrap();
    for (name, words) in [
        ("link.json", "it is a symbolic link"),
        ("fifo.json", "it is not a regular file"),
        ("folder.json", "it is not a regular file"),
        ("sparse.json", "longer than 65536 bytes"),
        ("open.json", "mode 664"),
    ] {
        let said = refused(name, owner);
        assert!(said.contains(words), "{name}: {said}");
    }
}
