//! Other programs break what ADD has set up. CHECK names what is broken, `cleat repair` puts it right where it can, and DEL
//! removes all that is ours in every case.

use std::fs;

use sandbox::traffic::ask_tcp;
use sandbox::{Host, Namespaced, Snapshot, UPLINK_V4, isolated};
use serde_json::{Value, json};

use crate::shared::cleat::{DUAL, NETWORK, NETWORKS, call, install_networks, ok, states};
use crate::shared::containers::{add, del, inner, steady};
use crate::shared::shell::shell;

/// A command that breaks something, and words by which CHECK and repair report it.
struct Interference {
    breaking: &'static str,
    words: &'static str,
    /// The command that removes what `breaking` has made and cleat must not remove.
    foreign: &'static str,
    /// Whether `cleat repair --force`, which may interrupt the container, puts it right.
    by_force: bool,
}

const fn breaks(breaking: &'static str, words: &'static str) -> Interference {
    Interference { breaking, words, foreign: "true", by_force: true }
}

impl Interference {
    const fn until(self, foreign: &'static str) -> Self {
        Self { foreign, ..self }
    }

    /// Not put right by `--force` either: the container works as it is, and an interruption could end that.
    const fn for_good(self) -> Self {
        Self { by_force: false, ..self }
    }
}

/// A file of another program, which must not be changed.
const VICTIM: &str = "/run/victim";

/// What repair puts right without interrupting a container. `$VETH` is the host's end of web's pair.
const IN_PLACE: &[Interference] = &[
    breaks("nft flush ruleset", "map members of table inet cleat_forward does not have port"),
    breaks("nft delete table inet cleat_bridge", "not masqueraded"),
    breaks("nft flush chain inet cleat_bridge post", "nothing is masqueraded"),
    breaks("nft flush set inet cleat_bridge home4", "not masqueraded"),
    breaks("nft flush map inet cleat_bridge owners", "nobody would end masquerading"),
    breaks("nft delete table inet cleat_gate", "bridge cleat1 is not closed"),
    breaks("nft delete table inet cleat_host_port", "host-port"),
    breaks("nft flush chain inet cleat_host_port pre", "host-port"),
    breaks("nft -f $FIREWALLS/drops-by-default.nft", "chain forward of table inet site drops")
        .until("nft delete table inet site"),
    breaks("nft flush ruleset; nft -f $FIREWALLS/rejects-the-rest.nft", "cleat_forward does not have port")
        .until("nft delete table inet zones"),
    breaks("ip link del cleat0", "cleat0 does not exist"),
    breaks("ip link set cleat0 down", "cleat0 is down"),
    breaks("ip addr flush dev cleat0", "does not have gateway address 10.90.0.1/16"),
    breaks("ip link set $VETH nomaster", "is not a port"),
    breaks("ip link set $VETH down", "is down"),
    breaks("bridge link set dev $VETH hairpin off", "hairpinMode"),
    breaks("echo 0 >/proc/sys/net/ipv4/ip_forward", "net/ipv4/ip_forward is off"),
    breaks("echo 0 >/proc/sys/net/ipv6/conf/all/forwarding", "net/ipv6/conf/all/forwarding is off"),
    breaks("ip route del local 169.254.213.2", "the local route to 169.254.213.2 is off"),
    breaks(
        "echo 1 >/proc/sys/net/ipv4/conf/cleat0/route_localnet",
        "route_localnet of interface cleat0 is on",
    ),
    breaks("echo 2 >/proc/sys/net/ipv6/conf/cleat0/accept_ra", "heeds router advertisements of containers"),
    breaks("ip -6 route del local fd63:6c65:6174::34c3 table local", "local route to fd63:6c65:6174::34c3"),
    breaks("rm /var/lib/cni/networks/cleat/10.90.*", "lease of 10.90.0.2"),
    breaks(": >/var/lib/cni/networks/cleat/10.90.0.2", "lease of 10.90.0.2"),
    breaks("rm -r /var/lib/cni/networks/cleat", "lease of 10.90.0.2"),
    breaks("rm -r /run/cleat/registry /run/cleat/containers", "registry"),
    breaks("rm -r /run/cleat", "registry"),
    breaks("echo 127.0.0.1 bank >/run/cleat/containers/web/hosts", "line 1 is \"127.0.0.1 bank\""),
    breaks("ln -sf /run/victim /run/cleat/containers/web/hosts", "/run/cleat/containers/web/hosts"),
    breaks("ln -f /run/victim /run/cleat/containers/web/hosts", "/run/cleat/containers/web/hosts"),
    breaks(
        "cd /run/cleat/containers/web && rm hosts && mkdir hosts",
        "/run/cleat/containers/web/hosts: not a regular file",
    ),
    breaks("rm /run/cleat/containers/web/env", "/run/cleat/containers/web/env is gone"),
    breaks("echo garbage >/run/cleat/registry/cleat/members/web:eth0", "members/web:eth0"),
    breaks(": >/run/cleat/registry/cleat/members/web:eth0", "members/web:eth0"),
    breaks("rm -r /etc/netns/web", "/etc/netns/web/hosts is gone"),
    breaks("ip netns exec web ip route del default", "route to 0.0.0.0/0"),
    breaks("ip netns exec web ip addr flush dev eth0", "does not have address 10.90.0.2/16"),
    breaks("ip netns exec web ip link set eth0 down", "eth0"),
];

/// What repair only reports: to put it right would interrupt the container, or it belongs to another program.
const BEYOND: &[Interference] = &[
    breaks(
        "ip netns exec web sh -c 'ip link set eth0 down && ip link set eth0 name lan0 && ip link set lan0 up'",
        "the container has no interface eth0",
    ),
    breaks("ip link del $VETH", "does not exist"),
    breaks("printf 'thief\\r\\neth0' >$LEASES/10.90.0.2", "but that of container thief interface eth0")
        .until("rm $LEASES/10.90.0.2")
        .for_good(),
    breaks("echo garbage >$LEASES/10.90.0.2", "but that of container garbage")
        .until("rm $LEASES/10.90.0.2")
        .for_good(),
    breaks("rm $LEASES/10.90.0.2 && mkdir $LEASES/10.90.0.2", "lease of 10.90.0.2")
        .until("rmdir $LEASES/10.90.0.2")
        .for_good(),
    breaks("ln -sf /run/victim $LEASES/10.90.0.2", "lease of 10.90.0.2")
        .until("rm $LEASES/10.90.0.2")
        .for_good(),
    breaks("ln -sf /run/victim /etc/netns/web/hosts", "/etc/netns/web/hosts is gone or another one")
        .until("rm -r /etc/netns/web"),
    breaks(
        "rm /etc/netns/web/hosts && echo >/etc/netns/web/hosts",
        "/etc/netns/web/hosts is gone or another one",
    )
    .until("rm -r /etc/netns/web"),
];

impl Interference {
    fn happens(&self) {
        act(self.breaking);
    }

    fn ends(&self) {
        act(self.foreign);
    }
}

fn act(line: &str) {
    let veth = "$(ip -o link show master cleat0 | sed 's/.*\\(veth[0-9a-f]*\\)@.*/\\1/')";
    let firewalls = format!("{}/tests/data/firewalls", env!("CARGO_MANIFEST_DIR"));
    let line = line.replace("$VETH", veth).replace("$FIREWALLS", &firewalls);
    shell(&line.replace("$LEASES", "/var/lib/cni/networks/cleat"));
}

/// Installs the shipped networks with `forward: accept`.
fn install() {
    install_networks();
    for (file, ingress) in [("10-cleat", "any"), ("20-cleat-dual-stack", "published")] {
        let path = format!("{NETWORKS}/{file}.conflist");
        let mut list: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        list["plugins"][0]["forward"] = json!("accept");
        list["plugins"][0]["ingress"] = json!(ingress);
        fs::write(path, list.to_string()).unwrap();
    }
    fs::write(VICTIM, "precious").unwrap();
}

fn start() -> [Namespaced; 2] {
    [add("web", NETWORK, 8080), add("other", DUAL, 8081)]
}

fn assert_reached(host: &Host, breaking: &str) {
    for port in [8080, 8081] {
        let seen = ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:{port}"));
        assert!(seen.is_ok(), "{breaking}: {port}: {seen:?}");
    }
}

#[test]
fn what_is_broken_is_put_right_in_place() {
    isolated(|| {
        let host = Host::new();
        install();
        let before = Snapshot::take();
        let [web, other] = start();
        assert_eq!(states(&["check"]), ["ok", "ok"]);
        let is_of_links = |line: &String| !line.starts_with("nft ");
        let whole: Vec<String> = steady().into_iter().filter(is_of_links).collect();
        let sides = [inner(&web), inner(&other)];
        for interference @ Interference { breaking, words, .. } in IN_PLACE {
            interference.happens();
            let (code, text) = call(&["check"]);
            assert!(code == Some(1) && text.contains(words), "{breaking}: {text}");
            let broken = steady();
            let (code, text) = call(&["repair", "--dry-run"]);
            assert!(code == Some(1) && text.contains(words), "{breaking}: {text}");
            assert_eq!(broken, steady(), "a dry run changes nothing");
            let text = ok(&["repair"]);
            assert!(text.contains(words), "{breaking}: {text}");
            assert_eq!(states(&["check"]), ["ok", "ok"], "{breaking}");
            assert_reached(&host, breaking);
            assert_eq!([inner(&web), inner(&other)], sides, "{breaking}");
            assert!(ok(&["repair"]).lines().count() == 1, "nothing is left to do after {breaking}");
            assert_eq!(fs::read_to_string(VICTIM).unwrap(), "precious", "{breaking}");
            interference.ends();
        }
        // In the end everything is as it was, hardware addresses included.
        assert_eq!(whole, steady().into_iter().filter(is_of_links).collect::<Vec<_>>());
        del(NETWORK, web);
        del(DUAL, other);
        before.assert_unchanged();
    });
}

#[test]
fn what_takes_an_interruption_or_is_anothers_is_told_and_left_without_force() {
    isolated(|| {
        let host = Host::new();
        install();
        let before = Snapshot::take();
        for interference @ Interference { breaking, words, by_force, .. } in BEYOND {
            // Without the leases each round gets the same addresses.
            let _ = fs::remove_dir_all("/var/lib/cni");
            let [web, other] = start();
            interference.happens();
            let (code, text) = call(&["check"]);
            assert!(code == Some(1) && text.contains(words), "{breaking}: {text}");
            let broken = steady();
            let (code, text) = call(&["repair"]);
            assert!(code == Some(1) && !text.contains("put right"), "{breaking}: {text}");
            assert_eq!(broken, steady(), "{breaking}: {text}");
            let (code, text) = call(&["repair", "--force"]);
            let wanted = i32::from(!by_force);
            assert_eq!((code, call(&["check"]).0), (Some(wanted), Some(wanted)), "{breaking}: {text}");
            assert_reached(&host, breaking);
            assert_eq!(fs::read_to_string(VICTIM).unwrap(), "precious", "{breaking}");
            del(NETWORK, web);
            del(DUAL, other);
            interference.ends();
            let left = before.differences();
            assert!(left.is_empty(), "{breaking}: {left:#?}");
        }
    });
}

#[test]
fn del_removes_all_that_is_ours_whatever_came_before() {
    isolated(|| {
        let _host = Host::new();
        install();
        let before = Snapshot::take();
        for interference in IN_PLACE.iter().chain(BEYOND) {
            let _ = fs::remove_dir_all("/var/lib/cni");
            let [web, other] = start();
            interference.happens();
            del(NETWORK, web);
            del(DUAL, other);
            interference.ends();
            let left = before.differences();
            assert!(left.is_empty(), "{}: {left:#?}", interference.breaking);
        }
    });
}
