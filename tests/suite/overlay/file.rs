//! The agent's file: what ADD takes from it, which files it takes nothing from, and what goes on without one.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use sandbox::{Namespaced, Snapshot, isolated};
use serde_json::{Value, json};

use super::cluster::{BOTH, Cluster, NET, Node, rules};

/// The error of a verb for a container that has nothing yet; it leaves nothing behind.
fn refused(node: &Node, verb: &str, keys: &Value) -> (u64, String) {
    let netns = Namespaced::new("refused");
    let before = node.host.enter(Snapshot::take);
    let error = node.call(verb, &node.conf(keys), &netns).error();
    // There may be no program for its "ipam".
    let _ = node.call("DEL", &node.conf(keys), &netns);
    node.host.enter(|| before.assert_unchanged());
    error
}

#[test]
fn a_file_that_is_not_as_it_should_be_is_refused() {
    isolated(|| {
        let cluster = Cluster::new(BOTH);
        let node = &cluster.nodes[0];
        let (path, good) = (node.path(), node.file());
        let aside = path.with_extension("aside");
        let text = good.to_string();
        let with = |key: &str, value: Value| {
            let mut file = good.clone();
            file[key] = value;
            file.to_string()
        };
        let write = |text: &str| fs::write(&path, text).unwrap();
        let clear = || {
            let _ = fs::remove_dir(&path);
            let _ = fs::remove_file(&path);
        };
        let prepared: [(&str, &dyn Fn(), u64, &str); 12] = [
            ("missing", &|| (), 11, "cleat-overlay has no block yet"),
            ("empty", &|| write(""), 5, "EOF"),
            ("torn", &|| write(&text[..text.len() / 2]), 5, "EOF"),
            ("no object", &|| write("[1]"), 5, "invalid"),
            ("of another version", &|| write(&with("version", json!(2))), 5, "version 2"),
            ("without a prefix", &|| write(&with("prefixes", json!([]))), 5, "prefixes"),
            (
                "with a block of another network",
                &|| write(&with("blocks", json!([{"subnet": "10.1.0.0/24"}]))),
                5,
                "in none of the prefixes",
            ),
            ("too long", &|| write(&(text.clone() + &" ".repeat(1 << 17))), 5, "longer than"),
            (
                "a symbolic link",
                &|| {
                    fs::write(&aside, &text).unwrap();
                    symlink(&aside, &path).unwrap();
                },
                5,
                "symbolic link",
            ),
            ("a folder", &|| fs::create_dir(&path).unwrap(), 5, "not a regular file"),
            (
                "a FIFO",
                &|| crate::shared::shell::shell(&format!("mkfifo {}", path.display())),
                5,
                "regular file",
            ),
            (
                "open to others",
                &|| {
                    write(&text);
                    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
                },
                5,
                "mode 666",
            ),
        ];
        let before = rules(node);
        for (what, prepare, code, words) in prepared {
            clear();
            prepare();
            let (found, said) = refused(node, "ADD", &json!({}));
            assert!(found == code && said.contains(words), "{what}: ADD says {found}: {said}");
            let (found, said) = refused(node, "STATUS", &json!({}));
            assert!(found == 50 && said.contains(words), "{what}: STATUS says {found}: {said}");
            assert_eq!(rules(node), before, "{what}");
        }
        clear();
        write(&text);
        node.add(&json!({}), "one").del();
    });
}

#[test]
fn keys_that_the_file_decides_are_refused() {
    isolated(|| {
        let cluster = Cluster::new(BOTH);
        let node = &cluster.nodes[0];
        let ipam = |more: Value| {
            let mut ipam = json!({"type": "host-local"});
            ipam.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "ipam": ipam })
        };
        for (keys, words) in [
            (ipam(json!({"ranges": [[{"subnet": "10.1.0.0/24"}]]})), ["\"overlay\"", "\"ipam.ranges\""]),
            (ipam(json!({"subnet": "10.1.0.0/24"})), ["\"overlay\"", "\"ipam.subnet\""]),
            (
                json!({"runtimeConfig": {"ipRanges": [[{"subnet": "10.1.0.0/24"}]]}}),
                ["\"overlay\"", "\"runtimeConfig.ipRanges\""],
            ),
            (ipam(json!({"type": "dhcp"})), ["\"overlay\"", "host-local"]),
            (json!({"ipam": {}}), ["\"overlay\"", "host-local"]),
            (json!({"overlay": "../wide"}), ["overlay", "../wide"]),
            (json!({"isGateway": false}), ["\"overlay\"", "isGateway"]),
            (json!({"mtu": 1500}), ["mtu 1500", "1450"]),
            (json!({"overlay": 7}), ["overlay", "invalid type"]),
        ] {
            for verb in ["ADD", "STATUS"] {
                let (code, said) = refused(node, verb, &keys);
                assert!(
                    code == 7 && words.iter().all(|word| said.contains(word)),
                    "{verb} {keys}: {code} {said}"
                );
            }
        }
        // A smaller MTU is the configuration's own affair, and an address of the block may be asked for.
        let keys = json!({"mtu": 1400, "args": {"cni": {"ips": ["10.201.1.77", "fd00:201:0:1::77"]}}});
        let one = node.add(&keys, "one");
        assert_eq!((&one.result["interfaces"][1]["mtu"], &*one.ips()[0]), (&json!(1400), "10.201.1.77"));
        one.check().silent();
        one.del();
    });
}

#[test]
fn what_is_there_is_checked_and_removed_without_the_file() {
    isolated(|| {
        let cluster = Cluster::new(BOTH);
        let [first, second, third] = &cluster.nodes;
        for (node, keys) in [
            (first, json!({})),
            (second, json!({"ingress": "published"})),
            (third, json!({"icc": false, "internal": true})),
        ] {
            let before = node.host.enter(Snapshot::take);
            let (one, two) = (node.add(&keys, "one"), node.add(&keys, "two"));
            fs::remove_file(node.path()).unwrap();
            one.check().silent();
            // It names what it knows without the file.
            let gateway = format!("10.201.{}.1/24 dev br0", node.number);
            node.shell(&format!("ip addr del {gateway}"));
            one.is_broken("gateway address");
            node.shell(&format!("ip addr add {gateway}"));
            fs::write(node.path(), "torn").unwrap();
            one.check().silent();
            one.del();
            two.check().silent();
            let mut gc = node.conf(&keys);
            gc["cni.dev/valid-attachments"] = json!([]);
            let ports = json!({"cniVersion": "1.1.0", "name": "net", "type": "host-port", "cni.dev/valid-attachments": []});
            // A container with a process is kept: the servers of these are threads of the test's.
            for conf in [&ports, &gc] {
                node.call("GC", conf, &two.netns).silent();
            }
            two.del();
            drop((one, two));
            node.write(&node.file());
            node.host.enter(|| before.assert_unchanged());
        }
    });
}

#[test]
fn a_lease_of_an_earlier_block_stays_valid() {
    isolated(|| {
        let cluster = Cluster::new(BOTH);
        let node = &cluster.nodes[0];
        let one = node.add(&json!({}), "one");
        let mut file = node.file();
        file["blocks"] = json!([{"subnet": "10.201.101.0/24"}, {"subnet": "fd00:201:0:101::/64"}]);
        node.write(&file);
        one.check().silent();
        let two = node.add(&json!({}), "two");
        assert_eq!(two.ips(), ["10.201.101.2", "fd00:201:0:101::2"]);
        two.check().silent();
        one.check().silent();
        // The lease is what CHECK looks for.
        let lease = format!("/run/hosts/1/lib/networks/net/{}", one.ips()[0]);
        fs::rename(&lease, "/run/lease").unwrap();
        let (_, said) = one.check().error();
        assert!(said.contains(&one.ips()[0]), "{said}");
        fs::rename("/run/lease", &lease).unwrap();
        one.check().silent();
        one.del();
        assert!(!fs::exists(&lease).unwrap());
        two.del();
        assert!(!rules(node).contains("cleat"), "{}", rules(node));
    });
}

/// The agent's file is `NET.json`, whatever the bridge's network is called.
#[test]
fn the_file_is_that_of_the_overlay_networks_name() {
    isolated(|| {
        let cluster = Cluster::new(BOTH);
        let node = &cluster.nodes[0];
        let other = node.path().with_file_name("net.json");
        fs::rename(node.path(), &other).unwrap();
        let (code, said) = refused(node, "ADD", &json!({}));
        assert!(code == 11 && said.contains(&format!("/run/cleat/overlay/{NET}.json")), "{code}: {said}");
        let keys = json!({"overlay": "net"});
        node.add(&keys, "one").del();
    });
}
