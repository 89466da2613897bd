//! On a host whose firewall drops forwarded packets, as with Docker, ufw and others.

use std::fs;

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{OUTSIDE_V4, UPLINK_V4, UPLINK_V6};
use serde_json::Value;

use super::{asks, cleat, down, eventually, json, ok, said, serving, story, up};
use crate::shared::cleat::NETWORKS;
use crate::shared::shell::shell;

const DROPS: &str = "iptables-nft -P FORWARD DROP; ip6tables-nft -P FORWARD DROP";

/// What a verb says, and whether it succeeds.
fn outcome(line: &str) -> (bool, String) {
    let output = cleat(&super::words(line)).output().unwrap();
    (output.status.success(), said(&output))
}

/// moby#29330, #27817, podman#2886: a network that is created there works in both directions, and `network create` says what it
/// set for that
#[test]
fn a_network_that_is_made_where_the_host_drops_works_both_ways() {
    story(|host| {
        serve_tcp(Some(&host.outside), "outside", "0.0.0.0:80");
        shell(DROPS);
        for (network, options) in
            [("n", "--ipv6"), ("m", ""), ("wide", "--ingress any"), ("inner", "--internal")]
        {
            let (made, text) = outcome(&format!("network create {options} {network}"));
            assert!(made, "{text}");
            let is_told = text.contains("chain FORWARD of table ip filter drops")
                && text.contains("\"forward\": \"accept\"");
            assert_eq!(is_told, network != "inner", "{text}");
        }
        let wide = fs::read_to_string(format!("{NETWORKS}/zz-wide.conflist")).unwrap();
        assert!(wide.contains(r#""ingress": "any""#) && wide.contains(r#""forward": "accept""#), "{wide}");
        up("--name a --network n -p 8080:80", &serving(80, "a"));
        up("--name o --network m", &serving(80, "o"));
        for address in [UPLINK_V4.to_owned(), format!("[{UPLINK_V6}]")] {
            eventually("from outside", || {
                ask_tcp(Some(&host.outside), &format!("{address}:8080")).is_ok_and(|text| text == "a\n")
            });
        }
        assert_eq!(asks("a", UPLINK_V4, 8080), "a", "itself, by its published port");
        assert_eq!(asks("o", UPLINK_V4, 8080), "a", "from another network");
        assert_eq!(asks("a", OUTSIDE_V4, 80), format!("outside sees {UPLINK_V4}"));
        // Unpublished ports are as closed as without a firewall.
        let address = json("inspect o")[0]["NetworkSettings"]["Networks"]["m"]["IPAddress"].clone();
        assert_eq!(asks("a", address.as_str().unwrap(), 80), "");
        let conf = format!("conf check {NETWORKS}/zz-n.conflist {NETWORKS}/zz-m.conflist");
        for line in ["status n", "check", &conf, "repair"] {
            let (well, text) = outcome(line);
            assert!(well && !text.contains("drops"), "{line}: {text}");
        }
        down("a o");
        ok("network rm n m wide inner");
        shell("nft delete table ip filter; nft delete table ip6 filter");
    });
}

/// A network that is older than the firewall: every verb warns of it, whatever its version, and names the remedy, which works
#[test]
fn a_network_of_before_the_firewall_is_told_of_by_every_verb() {
    story(|host| {
        serve_tcp(Some(&host.outside), "outside", "0.0.0.0:80");
        assert_eq!(outcome("network create n").1.lines().count(), 1, "no warning");
        up("--name a --network n -p 8080:80", &serving(80, "a"));
        eventually("the way out", || asks("a", OUTSIDE_V4, 80).starts_with("outside sees"));
        assert_eq!(outcome("status n"), (true, String::new()));
        shell(DROPS);
        assert_eq!(asks("a", OUTSIDE_V4, 80), "");
        for line in ["status n", "check", "check n", "conf check"] {
            let (well, text) = outcome(line);
            let is_told = text.contains("chain FORWARD of table ip filter drops what is forwarded")
                && text.contains("\"forward\": \"accept\"");
            assert!(!well && is_told, "{line}: {text}");
        }
        // `--files-only` does not look at the host's firewall.
        assert!(outcome("conf check --files-only").0);
        let (_, text) = outcome("run --network n -- true");
        assert!(text.contains("network n: chain FORWARD of table ip filter drops"), "{text}");
        let file = format!("{NETWORKS}/zz-n.conflist");
        let mut list: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(list["cniVersion"], "1.0.0");
        list["plugins"][0]["forward"] = "accept".into();
        fs::write(&file, list.to_string()).unwrap();
        down("a");
        assert_eq!(outcome("run --network n -- true"), (true, String::new()));
        up("--name a --network n -p 8080:80", &serving(80, "a"));
        eventually("the way out again", || asks("a", OUTSIDE_V4, 80).starts_with("outside sees"));
        assert_eq!(ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:8080")).unwrap(), "a\n");
        assert!(outcome("check").0 && outcome(&format!("conf check {file}")).0);
        down("a");
        ok("network rm n");
        shell("nft delete table ip filter; nft delete table ip6 filter");
    });
}
