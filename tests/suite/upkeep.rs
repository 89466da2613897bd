//! `cleat check`, `repair`, `gc` and `leases` over all networks: what others broke is told, and put right.

use std::fs;
use std::process::{Command, Output};

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Host, Namespaced, Snapshot, UPLINK_V4, isolated};
use serde_json::{Value, json};

use crate::networks::{cleat, install_networks};

pub(crate) const NETWORK: &str = "cleat";
pub(crate) const DUAL: &str = "cleat-dual-stack";

pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A verb with its exit code and what it says.
pub(crate) fn call(args: &[&str]) -> (Option<i32>, String) {
    let output = cleat(args).output().unwrap();
    (output.status.code(), said(&output))
}

pub(crate) fn ok(args: &[&str]) -> String {
    let (code, text) = call(args);
    assert_eq!(code, Some(0), "cleat {args:?}: {text}");
    text
}

pub(crate) fn json_of(args: &[&str]) -> Value {
    let output = cleat(args).arg("--json").output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{args:?}: {error}: {}", said(&output)))
}

fn shell(line: &str) {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", said(&output));
}

/// A container with a server, by `cleat add` as any runtime would attach it.
pub(crate) fn add(name: &str, network: &str, host_port: u16) -> Namespaced {
    add_as(name, name, network, host_port)
}

/// The same, in a namespace of another name.
pub(crate) fn add_as(id: &str, netns: &str, network: &str, host_port: u16) -> Namespaced {
    let netns = Namespaced::new(netns);
    serve_tcp(Some(&netns), id, "[::]:80");
    let mappings = json!({"portMappings": [{"hostPort": host_port, "containerPort": 80}]});
    let mut command = cleat(&["add", network, netns.path().to_str().unwrap(), "--id", id]);
    let output = command.env("CAP_ARGS", mappings.to_string()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    netns
}

/// The container goes with its attachment.
#[expect(clippy::needless_pass_by_value, reason = "dropping it is what removes the namespace")]
pub(crate) fn del(network: &str, netns: Namespaced) {
    ok(&["del", network, netns.path().to_str().unwrap(), "--id", netns.name()]);
}

/// The container's side, which a repair in place may not change.
pub(crate) fn inner(netns: &Namespaced) -> String {
    let list = || {
        said(&Command::new("sh").args(["-c", "ip -o link show eth0; ip -o addr show eth0 scope global; ip route; ip -6 route show default"]).output().unwrap())
    };
    netns.enter(list)
}

pub(crate) fn states(args: &[&str]) -> Vec<String> {
    let all = json_of(args);
    all.as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap().to_owned()).collect()
}

/// What `cleat-nri` leaves with a container's files: that it does is shown where it is built.
#[test]
fn check_tells_what_a_container_could_not_be_given() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let web = add("web", NETWORK, 8080);
        fs::write("/run/cleat/containers/web/notes", "container app of pod web starts without links: late\n")
            .unwrap();
        let told = ok(&["check"]);
        assert!(told.contains("ok") && told.contains("starts without links: late"), "{told}");
        del(NETWORK, web);
        before.assert_unchanged();
    });
}

/// What the host looks like, but for link-local addresses, which the kernel gives when it gets round to it, and for files.
pub(crate) fn steady() -> Vec<String> {
    let now = Snapshot::take();
    let is_steady = |line: &&str| !line.contains("fe80:") && !line.starts_with("file ");
    now.lines().filter(is_steady).map(str::to_owned).collect()
}

#[test]
fn a_lost_interface_is_made_anew_under_force_with_the_same_addresses() {
    isolated(|| {
        let host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let web = add("web", DUAL, 8080);
        let addresses = json_of(&["ps"])[0]["addresses"].clone();
        let mac = json_of(&["ps"])[0]["mac"].clone();
        let veth = json_of(&["ps"])[0]["hostInterface"].as_str().unwrap().to_owned();
        shell(&format!("ip link del {veth}"));
        let (code, text) = call(&["repair"]);
        assert!(code == Some(1) && text.contains("--force"), "{text}");
        assert!(ok(&["repair", "--force"]).contains("made anew"));
        assert_eq!(states(&["check"]), ["ok"]);
        let now = json_of(&["ps"]);
        assert_eq!((&now[0]["addresses"], &now[0]["mac"]), (&addresses, &mac));
        assert!(ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:8080")).is_ok());
        del(DUAL, web);
        before.assert_unchanged();
    });
}

#[test]
fn ports_that_were_chosen_freely_are_kept() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let web = add("web", NETWORK, 0);
        let port = ok(&["port", "web"]);
        shell("ip link del cleat0");
        ok(&["repair"]);
        assert_eq!(ok(&["port", "web"]), port);
        del(NETWORK, web);
        before.assert_unchanged();
    });
}

#[test]
fn gc_of_all_networks_asks_first_and_keeps_the_living() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let (gone, stays) = (add("gone", NETWORK, 8080), add("stays", DUAL, 8081));
        // An address that nobody has, as a killed ADD of another program leaves it.
        fs::write("/var/lib/cni/networks/cleat/10.90.7.7", "ghost\r\neth0").unwrap();
        drop(gone);
        assert_eq!(states(&["check"]), ["gone", "ok"]);
        let leases = json_of(&["leases", NETWORK]);
        assert_eq!((&leases[0]["stale"], &leases[0]["free"]), (&json!(2), &json!("65531")));
        assert_eq!(leases[0]["next"], "10.90.0.3");
        let during = Snapshot::take();
        let text = ok(&["gc"]);
        for words in ["10.90.0.2", "lease of 10.90.7.7", "ghost", "nothing was removed: --force"] {
            assert!(text.contains(words), "no {words} in {text}");
        }
        during.assert_unchanged();
        ok(&["gc", "--force"]);
        assert_eq!(json_of(&["gc"]), json!([]));
        assert_eq!(states(&["check"]), ["ok"]);
        assert_eq!(json_of(&["leases", NETWORK])[0]["used"], json!([]));
        assert_eq!(json_of(&["leases", DUAL])[0]["used"][0]["name"], "stays");
        del(DUAL, stays);
        before.assert_unchanged();
    });
}
