//! A reboot: what is on disk stays (leases, cached results, links for namespaces), what was in the kernel and in `/run` is gone.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use sandbox::traffic::ask_tcp;
use sandbox::{Host, Namespaced, Snapshot, UPLINK_V4, isolated};
use serde_json::json;

use crate::shared::cleat::{DUAL, NETWORK, NETWORKS, call, install_networks, json_of, ok, states};
use crate::shared::containers::{add, add_as, del, steady};
use crate::shared::programs::folder;
use crate::shared::reboot::reboot;
use crate::shared::shell::{said, shell};

fn reached(host: &Host, port: u16) -> Option<String> {
    ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:{port}")).ok()
}

fn of_all(key: &str) -> BTreeSet<String> {
    let all = json_of(&["ps"]);
    all.as_array().unwrap().iter().map(|one| one[key].to_string()).collect()
}

/// Removes the cached result, as where a runtime has lost it.
fn lose_result(network: &str, id: &str) {
    fs::remove_file(format!("/var/lib/cni/results/{network}-{id}-eth0")).unwrap();
}

#[test]
fn a_full_range_is_free_again_and_late_dels_take_nothing_from_the_new() {
    isolated(|| {
        let host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let file = format!("{NETWORKS}/10-cleat.conflist");
        let shipped = fs::read_to_string(&file).unwrap();
        fs::write(&file, shipped.replace("10.90.0.0/16", "10.90.0.0/29").replace("1.0.0", "1.1.0")).unwrap();
        let old: Vec<Namespaced> = (0..5).map(|n| add(&format!("old{n}"), NETWORK, 8000 + n)).collect();
        let (code, said) = call(&["status", NETWORK]);
        assert!(code == Some(1) && said.contains("5 of 5 addresses are in use"), "{said}");
        reboot(old);

        // What the verbs report before anything is added or removed.
        assert_eq!(ok(&["status", NETWORK]), "");
        assert_eq!(states(&["check"]), ["gone"; 5]);
        assert_eq!(of_all("gone"), BTreeSet::from(["true".to_owned()]));
        assert_eq!(ok(&["repair"]).lines().count(), 1);
        let leases = &json_of(&["leases", NETWORK])[0];
        assert_eq!((&leases["used"], &leases["next"]), (&json!([]), &json!("10.90.0.2")), "{leases}");
        let dead = json_of(&["gc"]);
        assert_eq!(dead.as_array().unwrap().len(), 5, "{dead}");

        let new: Vec<Namespaced> = (0..5).map(|n| add(&format!("new{n}"), NETWORK, 8000 + n)).collect();
        let (code, said) = call(&["status", NETWORK]);
        assert!(code == Some(1) && said.contains("5 of 5 addresses are in use"), "{said}");
        // The old containers had the same addresses. Each is removed in another way that runtimes have.
        lose_result(NETWORK, "old0");
        for id in ["old0", "old1", "old1"] {
            ok(&["del", NETWORK, "--id", id]);
        }
        lose_result(NETWORK, "old2");
        ok(&["gc", "--force"]);
        assert_eq!(json_of(&["gc"]), json!([]));
        assert_eq!(states(&["check"]), ["ok"; 5]);
        for n in 0..5 {
            assert_eq!(reached(&host, 8000 + n).unwrap(), format!("new{n} sees 192.0.2.2"));
        }
        for netns in new {
            del(NETWORK, netns);
        }
        fs::write(&file, shipped).unwrap();
        before.assert_unchanged();
    });
}

/// Each way by which a runtime removes a container that ended with the host, before any ADD.
#[test]
fn what_ended_with_the_host_is_removed_without_an_add_before() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        for (way, remove) in [
            ("del", "cleat del $0 --id web && cleat del $0 --id web"),
            ("del without its result", "rm /var/lib/cni/results/*; cleat del $0 /run/netns/web --id web"),
            ("gc of the network", "cleat gc $0"),
            ("gc of all", "cleat gc --force"),
            ("gc without results", "rm /var/lib/cni/results/*; cleat gc $0"),
        ] {
            for network in [NETWORK, DUAL] {
                reboot(vec![add("web", network, 8080)]);
                let path = format!("{}:{}", folder().display(), env!("PATH"));
                let mut shell = Command::new("sh");
                shell.args(["-ec", remove, network]).env("PATH", path);
                let output = shell.env("CNI_PATH", folder()).env("NETCONFPATH", NETWORKS).output().unwrap();
                assert!(output.status.success(), "{way}: {}", said(&output));
                let left = before.differences();
                assert!(left.is_empty(), "{way}, {network}: {left:#?}");
            }
        }
    });
}

/// After a reboot podman and `cleat restart` start a container with the same ID and the same name of the namespace.
#[test]
fn a_container_starts_again_by_its_old_id() {
    isolated(|| {
        let host = Host::new();
        install_networks();
        let before = Snapshot::take();
        for network in [NETWORK, DUAL] {
            reboot(vec![add("web", network, 8080), add("other", network, 8081)]);
            let web = add("web", network, 8080);
            assert_eq!(states(&["check"]), ["gone", "ok"]);
            assert_eq!(reached(&host, 8080).unwrap(), "web sees 192.0.2.2");
            assert_eq!(
                fs::read_link("/etc/netns/web/hosts").unwrap(),
                Path::new("/run/cleat/containers/web/hosts")
            );
            assert!(!Path::new("/etc/netns/other").exists(), "the first ADD removes stale links");
            del(network, web);
            ok(&["del", network, "--id", "other"]);
            before.assert_unchanged();
        }
    });
}

/// After the reboot a namespace of another container has the old name: the cached result is not of that container.
#[test]
fn the_namespace_of_another_container_is_not_touched() {
    isolated(|| {
        let host = Host::new();
        install_networks();
        let before = Snapshot::take();
        for network in [NETWORK, DUAL] {
            reboot(vec![add("web", network, 8080)]);
            let again = add_as("again", "web", network, 8081);
            let whole = steady();
            let check = json_of(&["check"]);
            let state = |id: &str| {
                let all = check.as_array().unwrap();
                all.iter().find(|one| one["id"] == id).map(|one| one["state"].clone()).unwrap()
            };
            assert_eq!((state("again"), state("web")), (json!("ok"), json!("broken")));
            let (code, said) = call(&["repair"]);
            assert!(code == Some(1) && said.contains("has gone"), "{said}");
            assert_eq!(whole, steady());
            assert_eq!(reached(&host, 8080), None);
            ok(&["del", network, "/run/netns/web", "--id", "web"]);
            assert_eq!(whole, steady());
            assert_eq!(states(&["check"]), ["ok"]);
            assert_eq!(reached(&host, 8081).unwrap(), "again sees 192.0.2.2");
            ok(&["del", network, "/run/netns/web", "--id", "again"]);
            drop(again);
            before.assert_unchanged();
        }
    });
}

/// The path is of a process that has ended, and a process in the host's namespace has its ID now: the host's interface of the
/// same name stays.
#[test]
fn the_hosts_own_interface_is_not_touched() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        shell("ip link add eth0 type veth peer name other0");
        let before = Snapshot::take();
        for network in [NETWORK, DUAL] {
            for path in ["/proc/1/ns/net", "/proc/self/ns/net"] {
                ok(&["del", network, path, "--id", "ended"]);
                before.assert_unchanged();
            }
        }
    });
}
