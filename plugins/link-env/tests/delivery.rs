//! CDI specifications: where they are, what is in them, and when they are removed.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something fails")]

mod place;

use std::fs;
use std::path::PathBuf;

use place::Place;
use serde_json::{Value, json};

/// A place whose specifications have a folder beside the state folder.
fn place() -> (Place, PathBuf) {
    let mut place = Place::new(json!({}));
    let folder = place.state().with_file_name("cdi");
    place.conf = json!({"cdiDir": folder});
    (place, folder)
}

fn spec(folder: &std::path::Path, container: &str) -> Value {
    serde_json::from_slice(&fs::read(folder.join(format!("link-env_{container}.json"))).unwrap()).unwrap()
}

fn devices(spec: &Value) -> Vec<&str> {
    spec["devices"].as_array().unwrap().iter().map(|device| device["name"].as_str().unwrap()).collect()
}

#[test]
fn a_specification_gives_environment_and_hosts_file_and_goes_with_the_container() {
    let (place, folder) = place();
    let shop = place.shop();
    shop.add("c1", &["10.0.0.2/24"], &json!({"name": "db", "expose": ["5432"], "env": {"A": "x\ny"}}));
    shop.add("c2", &["10.0.0.3/24"], &json!({"name": "web", "links": ["db:store"]}));
    let web = spec(&folder, "c2");
    assert_eq!((&web["cdiVersion"], &web["kind"]), (&json!("0.5.0"), &json!("link-env.cni/pod")));
    assert_eq!(devices(&web), ["web", "web.shop", "c2"]);
    let edits = &web["devices"][0]["containerEdits"];
    let env: Vec<&str> = edits["env"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(env[0], "STORE_PORT=tcp://10.0.0.2:5432");
    assert!(env.contains(&"STORE_ENV_A=x\ny"), "{env:?}");
    let mount = json!({"hostPath": place.file("c2", "hosts"), "containerPath": "/etc/hosts", "options": ["bind", "ro"]});
    assert_eq!(edits["mounts"], json!([mount]));
    // A container of the same name on another network does not get a device name that is taken.
    place.on("other").add("c3", &["10.9.0.2/24"], &json!({"name": "web"}));
    assert_eq!(devices(&spec(&folder, "c3")), ["web.other", "c3"]);
    assert!(shop.check("c2", &["10.0.0.3/24"]).ok);
    fs::remove_file(folder.join("link-env_c2.json")).unwrap();
    assert!(shop.check("c2", &["10.0.0.3/24"]).error().1.contains("link-env_c2.json"));
    // A container on two networks: only the last DEL removes its specification.
    place.on("other").add("c1", &["10.9.0.3/24"], &json!({"name": "db"}));
    assert_eq!(devices(&spec(&folder, "c1")), ["db", "db.shop", "db.other", "c1"]);
    shop.del("c1");
    assert!(folder.join("link-env_c1.json").exists());
    for container in ["c1", "c3"] {
        place.on("other").del(container);
    }
    shop.del("c2");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    place.assert_nothing_is_left();
}

#[test]
fn what_a_boot_or_another_configuration_left_is_removed() {
    let (mut place, folder) = place();
    place.shop().add("c1", &["10.0.0.2/24"], &json!({}));
    // The configuration no longer has `cdiDir`: DEL finds the path in the container's own list.
    let conf = std::mem::replace(&mut place.conf, json!({}));
    place.shop().del("c1");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    place.conf = conf;
    // A reboot empties the state folder, but not the folder of the specifications if that is on a disk.
    for container in ["c1", "c2"] {
        place.shop().add(container, &[&format!("10.0.0.{}/24", &container[1..])], &json!({}));
    }
    fs::remove_dir_all(place.state()).unwrap();
    fs::write(folder.join("link-env_other.json"), "{}").unwrap();
    place.shop().del("c1");
    assert!(!folder.join("link-env_c1.json").exists() && folder.join("link-env_c2.json").exists());
    // The first ADD after the reboot removes the old specifications of this registry, and no other file.
    place.shop().add("c3", &["10.0.0.3/24"], &json!({}));
    assert!(!folder.join("link-env_c2.json").exists() && folder.join("link-env_other.json").exists());
    let gc = json!({"cni.dev/valid-attachments": []});
    assert!(place.shop().call("GC", "", &gc).ok);
    assert!(!folder.join("link-env_c3.json").exists());
    place.assert_nothing_is_left();
}

/// A file name has at most 255 bytes, and the runtime chooses the container ID.
#[test]
fn containers_with_ids_of_any_length_have_a_specification() {
    let (place, folder) = place();
    let ids = ["x", "y"].map(|last| format!("{}{last}", "x".repeat(248)));
    for (number, id) in (2..).zip(&ids) {
        place.shop().add(id, &[&format!("10.0.0.{number}/24")], &json!({"name": format!("m{number}")}));
        assert!(place.shop().check(id, &[&format!("10.0.0.{number}/24")]).ok);
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    place.shop().del(&ids[0]);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    // As after a reboot.
    fs::remove_dir_all(place.state()).unwrap();
    place.shop().add("c1", &["10.0.0.4/24"], &json!({}));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    place.shop().del("c1");
    place.assert_nothing_is_left();
}

#[test]
fn hosts_files_may_be_written_where_the_operator_says_so() {
    let (mut place, folder) = place();
    place.conf["writableHosts"] = json!(true);
    place.shop().add("c1", &["10.0.0.2/24"], &json!({}));
    let mount = &spec(&folder, "c1")["devices"][0]["containerEdits"]["mounts"][0];
    assert_eq!(mount["options"], json!(["bind", "rw"]));
    assert!(link_env::is_writable(&place.file("c1", "hosts")));
    // The same container is added again, as `cleat repair` does it.
    place.conf["writableHosts"] = json!(false);
    place.shop().add("c1", &["10.0.0.2/24"], &json!({}));
    assert!(!link_env::is_writable(&place.file("c1", "hosts")));
    place.shop().del("c1");
    place.assert_nothing_is_left();
}
