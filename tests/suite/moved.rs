//! A node changes from the reference's plugins to this suite while containers run. What two releases of the reference made
//! passes our CHECK; `cleat repair` leaves it alone, or completes what is missing; DEL and GC remove it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Call, Host, Namespaced, OUTSIDE_V4, OUTSIDE_V6, Snapshot, UPLINK_V4, UPLINK_V6, isolated};
use serde_json::{Value, json};

use crate::shared::iptables::{LEGACY, PATH, choose_legacy, prime};
use crate::shared::programs::{BRIDGE, CLEAT, REFERENCE, folder};
use crate::shared::shell::shell;

/// `CNI_PATH`. Its plugins are replaced while containers run.
const PLUGINS: &str = "/run/plugins";
const NETWORKS: &str = "/run/net.d";

/// The reference's plugins: Debian 12's, and the newest, which `tests/tools/newer` unpacks beside the folders of the build.
pub(crate) fn releases() -> [PathBuf; 2] {
    let newest =
        folder().join("../../debian-newer/containernetworking-plugins/usr/lib/cni").canonicalize().unwrap_or_else(
            |error| panic!("the newest plugins of the reference: {error}; tests/tools/newer containernetworking-plugins unpacks them"),
        );
    [PathBuf::from(REFERENCE), newest]
}

fn install(plugins: &Path) {
    let _ = fs::remove_dir_all(PLUGINS);
    fs::create_dir(PLUGINS).unwrap();
    for plugin in ["bridge", "host-local"] {
        symlink(plugins.join(plugin), Path::new(PLUGINS).join(plugin)).unwrap();
    }
}

fn conf(keys: &Value) -> Value {
    let mut conf = crate::shared::bridge::conf();
    for (key, value) in keys.as_object().unwrap() {
        conf[key] = value.clone();
    }
    conf
}

fn write_list(conf: &Value) {
    fs::create_dir_all(NETWORKS).unwrap();
    let list = json!({"cniVersion": "1.0.0", "name": "net", "plugins": [conf]});
    fs::write(format!("{NETWORKS}/net.conflist"), list.to_string()).unwrap();
}

/// Runs a verb of `cleat`. Returns its exit code, standard output and standard error.
fn cleat(args: &[&str]) -> (i32, String) {
    let mut command = Command::new(CLEAT);
    command.args(args).env("CNI_PATH", PLUGINS).env("NETCONFPATH", NETWORKS);
    command.env("PATH", format!("{LEGACY}:{PATH}"));
    let output = command.output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), said)
}

fn ok(args: &[&str]) -> String {
    let (code, said) = cleat(args);
    assert_eq!(code, 0, "{args:?}: {said}");
    said
}

/// The host's end of a container's veth pair, as the kernel lists it.
fn port() -> String {
    let output = Command::new("ip").args(["-o", "link", "show", "master", "br0"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names = text.lines().filter_map(|line| line.split([':', '@']).nth(1));
    names.find(|name| name.trim().starts_with("veth")).unwrap().trim().to_owned()
}

fn rules() -> String {
    let listed = |program: &str, args: &[&str]| {
        String::from_utf8(Command::new(program).args(args).output().unwrap().stdout).unwrap()
    };
    let counted = listed("nft", &["--stateless", "list", "ruleset"])
        + &listed("iptables-legacy", &["-t", "nat", "-S"])
        + &listed("ip6tables-legacy", &["-t", "nat", "-S"]);
    counted.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
}

/// The container is masqueraded in both families. The reference does not wait until its IPv6 addresses work.
fn expect_way_out(netns: &Namespaced) {
    for (outside, uplink) in [(OUTSIDE_V4.to_owned(), UPLINK_V4), (format!("[{OUTSIDE_V6}]"), UPLINK_V6)] {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match ask_tcp(Some(netns), &format!("{outside}:80")) {
                Ok(answer) => break assert_eq!(answer, format!("outside sees {uplink}")),
                Err(error) => assert!(Instant::now() < deadline, "{outside}: {error}"),
            }
        }
    }
}

/// Moves a running container: ADD by the reference with `keys`, everything after it by our programs with the keys `later`.
fn moves(reference: &Path, keys: &Value, later: &Value) {
    let host = Host::new();
    serve_tcp(Some(&host.outside), "outside", "[::]:80");
    install(reference);
    write_list(&conf(keys));
    let netns = Namespaced::new("web");
    let place = netns.path().to_str().unwrap();
    let result: Value = serde_json::from_str(&ok(&["add", "net", place, "--id", "web"])).unwrap();
    expect_way_out(&netns);
    install(folder());
    write_list(&conf(later));
    // udev changes the veth's hardware address like this after the reference's ADD.
    shell(&format!("ip link set {} address 02:00:00:00:00:99", port()));
    ok(&["check", "net", place, "--id", "web"]);
    // CHECK by a runtime that sends the present configuration instead of the cached one.
    let mut now = conf(later);
    now["prevResult"] = result;
    now["cniVersion"] = json!("1.0.0");
    let check = Call::new(BRIDGE, "CHECK", &now).of("web", &netns, "eth0");
    check.env("PATH", &format!("{LEGACY}:{PATH}")).run().silent();
    let (before, state) = (rules(), Snapshot::take());
    let said = ok(&["repair"]);
    assert!(!said.contains("put right") && !said.contains("made anew"), "{said}");
    assert_eq!(rules(), before);
    state.assert_unchanged();
    // All rules are flushed, as by a firewall's reload.
    shell("nft flush ruleset; iptables-legacy -t nat -F; iptables-legacy -t nat -X");
    shell("ip6tables-legacy -t nat -F; ip6tables-legacy -t nat -X");
    let (code, said) = cleat(&["check", "net", place, "--id", "web"]);
    assert!(code != 0 && said.contains("masqueraded") | said.contains("is not held"), "{said}");
    let said = ok(&["repair"]);
    assert!(said.contains("put right"), "{said}");
    ok(&["check", "net", place, "--id", "web"]);
    expect_way_out(&netns);
    let mended = rules();
    ok(&["repair"]);
    assert_eq!(rules(), mended);
    shell(&format!("ip link set {} nomaster", port()));
    assert_ne!(cleat(&["check", "net", place, "--id", "web"]).0, 0);
    ok(&["repair"]);
    expect_way_out(&netns);
    ok(&["del", "net", place, "--id", "web"]);
    let left = rules();
    for word in ["cni-br-iface", "cleat", "10.1.0.2", "fd00:1::2", "CNI-"] {
        assert!(!left.contains(word), "{left}");
    }
}

/// A test for each release, each on a host of its own.
macro_rules! moved {
    ($(#[$doc:meta])* $name:ident, $prepare:block, $keys:tt, $later:tt) => {
        $(#[$doc])*
        mod $name {
            use super::*;

            #[test]
            fn from_debian_12() {
                isolated(|| {
                    $prepare
                    moves(&releases()[0], &json!($keys), &json!($later));
                });
            }

            #[test]
            fn from_the_newest() {
                isolated(|| {
                    $prepare
                    moves(&releases()[1], &json!($keys), &json!($later));
                });
            }
        }
    };
}

moved!(with_iptables, {}, {"ipMasqBackend": "iptables"}, {"ipMasqBackend": "iptables"});
moved!(
    /// Debian 12's release has no backend but iptables, and ignores the key.
    with_nftables, {}, {"ipMasqBackend": "nftables"}, {"ipMasqBackend": "nftables"}
);
moved!(with_another_backend_by_now, {}, {}, {"ipMasqBackend": "nftables"});
moved!(with_chains_of_the_legacy_variant, { choose_legacy() }, {"ipMasqBackend": "iptables"}, {});
moved!(with_macspoofchk, {}, {"macspoofchk": true}, {"macspoofchk": true});

/// `repair` adds the gate, which the reference does not have, for the port by its present name. DEL removes it.
#[test]
fn a_gate_is_put_before_what_the_reference_made() {
    isolated(|| {
        let _host = Host::new();
        for reference in releases() {
            install(&reference);
            write_list(&conf(&json!({"icc": false, "ingress": "published"})));
            let netns = Namespaced::new("web");
            let place = netns.path().to_str().unwrap();
            ok(&["add", "net", place, "--id", "web"]);
            install(folder());
            let (code, said) = cleat(&["check", "net", place, "--id", "web"]);
            assert!(code != 0 && said.contains("nf_call_iptables"), "{said}");
            assert!(ok(&["repair"]).contains("put right"));
            ok(&["check", "net", place, "--id", "web"]);
            let apart =
                Command::new("nft").args(["list", "map", "bridge", "cleat_gate", "apart"]).output().unwrap();
            assert!(String::from_utf8(apart.stdout).unwrap().contains(&format!("\"{}\"", port())));
            ok(&["del", "net", place, "--id", "web"]);
            assert!(!rules().contains("cleat_gate"), "{}", rules());
        }
    });
}

fn call(program: &Path, command: &str, conf: &Value, netns: &Namespaced) -> Call {
    Call::new(&program.display().to_string(), command, conf).of(netns.name(), netns, "eth0").env("PATH", PATH)
}

/// CHECK fails where prevResult names the veth of another container.
#[test]
fn check_takes_no_others_interface_for_the_containers() {
    isolated(|| {
        let _host = Host::new();
        for reference in releases().map(|folder| folder.join("bridge")) {
            let (a, b) = (Namespaced::new("a"), Namespaced::new("b"));
            let [mut of_a, of_b] =
                [&a, &b].map(|netns| call(&reference, "ADD", &conf(&json!({})), netns).run().result());
            let check = |result: &Value| {
                let mut conf = conf(&json!({}));
                conf["prevResult"] = result.clone();
                call(Path::new(BRIDGE), "CHECK", &conf, &a).run()
            };
            check(&of_a).silent();
            of_a["interfaces"][1] = of_b["interfaces"][1].clone();
            let (code, said) = check(&of_a).error();
            assert!(code == 101 && said.contains("prevResult says veth"), "{said}");
            for netns in [&a, &b] {
                call(Path::new(BRIDGE), "DEL", &conf(&json!({})), netns).run().silent();
            }
        }
    });
}

/// GC removes the reference's macspoofchk rules of a port that has gone. Those of a port that exists stay, whether the
/// attachment is valid or not, on this network or another.
#[test]
fn gc_takes_the_rules_of_guards_whose_port_has_gone() {
    isolated(|| {
        let _host = Host::new();
        prime("nft");
        for reference in releases().map(|folder| folder.join("bridge")) {
            let guarded = conf(&json!({"macspoofchk": true}));
            let mut other = conf(&json!({"macspoofchk": true, "name": "other", "bridge": "br1"}));
            other["ipam"]["ranges"] = json!([[{"subnet": "10.2.0.0/24"}]]);
            other["ipam"]["routes"] = json!([]);
            let namespaces = ["gone", "valid", "lost", "other"].map(Namespaced::new);
            for (conf, netns) in [&guarded, &guarded, &guarded, &other].into_iter().zip(&namespaces) {
                assert!(call(&reference, "ADD", conf, netns).run().result().is_object());
            }
            for netns in &namespaces[..1] {
                netns.enter(|| shell("ip link del eth0"));
            }
            let chains = || -> Vec<String> {
                let output = Command::new("nft").args(["list", "table", "bridge", "nat"]).output().unwrap();
                let text = String::from_utf8(output.stdout).unwrap();
                text.lines()
                    .filter_map(|line| line.trim().strip_prefix("chain cni-br-"))
                    .map(str::to_owned)
                    .collect()
            };
            assert_eq!(chains().len(), 8);
            let mut gc = guarded.clone();
            gc["cniVersion"] = json!("1.1.0");
            gc["cni.dev/valid-attachments"] = json!([{"containerID": "valid", "ifname": "eth0"}]);
            Call::new(BRIDGE, "GC", &gc).run().silent();
            let left = chains();
            assert!(left.len() == 6 && !left.iter().any(|chain| chain.contains("gone")), "{left:#?}");
            // DEL removes the rest, with the namespace and without.
            for (conf, netns) in [&guarded, &guarded, &guarded, &other].into_iter().zip(&namespaces) {
                call(Path::new(BRIDGE), "DEL", conf, netns).env("CNI_NETNS", "").run().silent();
                call(Path::new(BRIDGE), "DEL", conf, netns).run().silent();
            }
            assert_eq!(chains(), [""; 0]);
        }
    });
}
