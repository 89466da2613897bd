//! An overlay network as an administrator sees it, with `cleat`: its configuration, what is broken, and what repair mends.

use std::fs;

use sandbox::{Host, Namespaced, Snapshot, isolated};
use serde_json::{Value, json};

use super::cluster::{MTU, NET};
use crate::shared::cleat::{NETWORKS, call, json_of, ok};
use crate::shared::shell::shell;

const FILE: &str = "/run/cleat/overlay/wide.json";
const CONFLIST: &str = "/run/net.d/shop.conflist";

fn write(prefixes: &[&str], device: &str) {
    let file = json!({"version": 1, "id": "x", "prefixes": prefixes, "device": device, "mtu": MTU,
        "blocks": [{"subnet": "10.201.1.0/24"}, {"subnet": "fd00:201:0:1::/64"}]});
    fs::write(FILE, file.to_string()).unwrap();
}

fn conflist(keys: &Value) {
    let mut bridge = json!({"type": "bridge", "bridge": "br0", "overlay": NET, "isDefaultGateway": true, "ipMasq": true,
        "ingress": "published", "ipam": {"type": "host-local"}});
    bridge.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let list = json!({"cniVersion": "1.1.0", "name": "shop", "plugins": [bridge]});
    fs::write(CONFLIST, list.to_string()).unwrap();
}

fn device(name: &str, vni: u32) {
    shell(&format!(
        "ip link add {name} mtu {MTU} type vxlan id {vni} dstport 4789 dev uplink nolearning
         echo 1 >/proc/sys/net/ipv6/conf/{name}/addr_gen_mode; ip link set {name} up"
    ));
}

const PREFIXES: [&str; 2] = ["10.201.0.0/16", "fd00:201::/48"];

/// `cleat check` finds nothing wrong with a container. That no agent runs here is a row of the network's own.
fn is_well() {
    let rows = json_of(&["check"]);
    let broken: Vec<_> =
        rows.as_array().unwrap().iter().filter(|row| row["id"] != "" && row["state"] == "broken").collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// `cleat check` names it, `cleat repair` mends it.
fn is_mended(words: &str) {
    let (code, said) = call(&["check"]);
    assert!(code != Some(0) && said.contains(words), "{words}: {said}");
    let (_, said) = call(&["repair"]);
    assert!(said.contains("put right"), "{words}: {said}");
    is_well();
}

#[test]
fn what_is_broken_is_told_and_put_right() {
    isolated(|| {
        let _host = Host::new();
        fs::create_dir_all(NETWORKS).unwrap();
        fs::create_dir_all("/run/cleat/overlay").unwrap();
        device("vx1", 1);
        conflist(&json!({}));
        let _ = call(&["check"]);
        let before = Snapshot::take();
        write(&PREFIXES, "vx1");
        let netns = Namespaced::new("one");
        let place = netns.path().to_str().unwrap();
        ok(&["add", "shop", place]);
        is_well();
        let leases = ok(&["leases", "shop"]);
        assert!(leases.contains("10.201.1.2") && leases.contains("fd00:201:0:1::2"), "{leases}");
        for (breakage, words) in [
            ("nft flush chain inet cleat_gate $(nft list chains | grep -o 'overlay_[0-9a-f]*')", "overlay_"),
            ("nft flush map inet cleat_gate from", "map from"),
            ("nft delete table inet cleat_gate", "is not closed"),
            ("nft flush chain inet cleat_bridge post", "nothing is masqueraded"),
            (
                "for set in $(nft list sets | grep -o 'except[46]_[0-9a-f]*'); do \
                 nft flush set inet cleat_bridge $set; done",
                "do not keep their source",
            ),
        ] {
            shell(breakage);
            is_mended(words);
        }
        // What the agent says is other than at ADD.
        write(&["10.201.0.0/16", "fd00:201::/48", "10.202.0.0/16"], "vx1");
        is_mended("cleat_gate");
        let rules = || {
            String::from_utf8(
                std::process::Command::new("nft").args(["list", "ruleset"]).output().unwrap().stdout,
            )
            .unwrap()
        };
        assert_eq!(
            rules().matches("10.202.0.0/16").count(),
            4,
            "two of the guard, and an exception with its name: {}",
            rules()
        );
        device("vx2", 2);
        write(&PREFIXES, "vx2");
        is_mended("overlay_");
        assert!(rules().contains("\"vx2\"") && !rules().contains("\"vx1\""), "{}", rules());
        // What is the agent's no repair mends.
        shell("ip link del vx2");
        let (code, said) = call(&["check"]);
        assert!(
            code != Some(0) && said.contains("vx2, which leads to the other nodes of overlay network wide"),
            "{said}"
        );
        let (code, said) = call(&["repair"]);
        assert!(code != Some(0) && said.contains("does not exist") && !said.contains("cleat del"), "{said}");
        device("vx2", 2);
        is_well();
        // Without the file what is there is fine, and nothing that is broken can be mended.
        fs::remove_file(FILE).unwrap();
        is_well();
        shell("nft delete table inet cleat_gate");
        let (code, said) = call(&["repair"]);
        assert!(code != Some(0) && said.contains("cleat-overlay has no block yet"), "{said}");
        ok(&["del", "shop", place]);
        shell("ip link del vx2");
        drop(netns);
        before.assert_unchanged();
    });
}

#[test]
fn a_configuration_is_checked_without_the_file() {
    isolated(|| {
        fs::create_dir_all(NETWORKS).unwrap();
        conflist(&json!({}));
        fs::create_dir_all("/etc/cleat/overlay").unwrap();
        fs::write("/etc/cleat/overlay/wide.json", "{}").unwrap();
        ok(&["conf", "check", CONFLIST]);
        for (keys, words) in [
            (json!({"overlay": "a/b"}), "overlay"),
            (json!({"overlay": ["wide"]}), "overlay"),
            (json!({"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]}}), "ipam.ranges"),
            (json!({"isDefaultGateway": false}), "isGateway"),
        ] {
            conflist(&keys);
            let (code, said) = call(&["conf", "check", CONFLIST]);
            assert!(code != Some(0) && said.contains(words), "{keys}: {said}");
        }
    });
}
