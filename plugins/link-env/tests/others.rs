//! link-env after other plugins of a chain, called as runtimes call it, and a DEL that finds a damaged registry.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something fails")]

mod place;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use place::Place;
use serde_json::{Value, json};

/// Results as the reference's plugins write them, for an interface eth0 with address 10.0.0.2.
fn results(sandbox: &str) -> Vec<(&'static str, Value)> {
    let inside = json!({"name": "eth0", "mac": "5a:9c:0e:4b:11:02", "sandbox": sandbox});
    let veth = json!({"name": "veth4c1f0d2e", "mac": "ae:11:0b:33:f1:9e"});
    let bridge = json!({"name": "cni-podman0", "mac": "1e:aa:02:9b:dd:10"});
    let ips = |index: Value| json!([{"interface": index, "address": "10.0.0.2/24", "gateway": "10.0.0.1"}]);
    let result = |interfaces: Value, ips: Value| json!({"cniVersion": "1.0.0", "interfaces": interfaces, "ips": ips, "dns": {}, "routes": [{"dst": "0.0.0.0/0"}]});
    vec![
        ("bridge", result(json!([bridge, veth, inside]), ips(json!(2)))),
        ("macvlan", result(json!([inside]), ips(json!(0)))),
        ("the host's interface", result(json!([bridge, veth, inside]), ips(json!(0)))),
        ("no interface", result(json!([]), json!([{"address": "10.0.0.2/24"}]))),
        ("no sandbox", result(json!([{"name": "eth0", "mac": "5a:9c:0e:4b:11:02"}]), ips(json!(0)))),
    ]
}

#[test]
fn results_and_arguments_of_others_are_taken() {
    let place = Place::new(json!({}));
    let id = "d0937f2122730acffe1d92ed7633b888826f46225794cfb66b36e4856153a927";
    let args =
        format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=web;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID={id}");
    let shop = place.shop().with_args(&args);
    shop.prepare(id);
    for (what, result) in results(place.netns(id).to_str().unwrap()) {
        let keys = json!({"prevResult": result});
        for command in ["ADD", "CHECK", "ADD", "CHECK"] {
            let answer = shop.call(command, id, &keys);
            assert!(answer.ok, "{command} after {what}: {answer:?}");
        }
        let own = "10.0.0.2 d0937f212273 web web.web web.shop d0937f212273.shop";
        assert_eq!(place.hosts(id), [own], "{what}");
        assert!(shop.call("DEL", id, &keys).ok);
        place.assert_nothing_is_left();
    }
    // The address of another interface is not taken for the address of this one.
    let (_, mut result) = results(place.netns(id).to_str().unwrap()).remove(1);
    result["interfaces"][0]["name"] = json!("net1");
    let (code, message) = shop.call("ADD", id, &json!({"prevResult": result})).error();
    assert_eq!(code, 7, "{message}");
    assert!(message.contains("no address for interface eth0"), "{message}");
    place.assert_nothing_is_left();
}

fn damage(path: &Path, what: &str) {
    match what {
        "garbage" => fs::write(path, "{\"containerID\": 7").unwrap(),
        "nothing" => fs::write(path, "").unwrap(),
        "too long" => fs::File::create(path).unwrap().set_len(1 << 30).unwrap(),
        _ => fs::remove_file(path).unwrap(),
    }
    match what {
        "a folder" => fs::create_dir(path).unwrap(),
        "a link" => symlink("/nonexistent", path).unwrap(),
        _ => {}
    }
}

#[test]
fn del_removes_what_others_have_damaged_and_leaves_the_living_alone() {
    let member = "registry/shop/members/c1:eth0";
    for what in ["garbage", "nothing", "no file", "a folder", "a link", "too long"] {
        for files in [
            &[member][..],
            &[member, "registry/shop/all"],
            &["containers/c1/networks"],
            &["containers/c1/hosts"],
        ] {
            let place = Place::new(json!({}));
            let shop = place.shop();
            shop.add("c2", &["10.0.0.3/24"], &json!({"name": "b"}));
            shop.add("c1", &["10.0.0.2/24"], &json!({"name": "a"}));
            for file in files {
                damage(&place.state().join(file), what);
            }
            let answer = shop.call("DEL", "c1", &json!({}));
            assert!(answer.ok, "{what} at {files:?}: {answer:?}");
            assert!(!place.file("c1", "").exists(), "{what} at {files:?}");
            shop.add("c3", &["10.0.0.4/24"], &json!({}));
            let known = ["10.0.0.3 c2 b b.shop c2.shop", "10.0.0.4 c3.shop c3"];
            assert_eq!(place.hosts("c2"), known, "{what} at {files:?}");
            shop.del("c2");
            shop.del("c3");
            place.assert_nothing_is_left();
        }
    }
    let place = Place::new(json!({}));
    place.shop().add("c1", &["10.0.0.2/24"], &json!({}));
    fs::remove_dir_all(place.state()).unwrap();
    place.shop().del("c1");
    place.assert_nothing_is_left();
}
