//! Each part of a gate is removed alone: STATUS and CHECK fail, and the next ADD restores it for all members.

use std::net::UdpSocket;
use std::time::Duration;

use sandbox::{Namespaced, Snapshot, isolated};
use serde_json::{Value, json};

use super::{network, status};
use crate::shared::members::{Member, Network, host};
use crate::shared::programs::BRIDGE;
use crate::shared::shell::shell;

/// Whether a datagram from one container reaches another one by IPv4 or IPv6. No answer is waited for.
fn hears(heard: &UdpSocket, from: &Namespaced, to: &Member) -> bool {
    for address in to.at(80) {
        let any = if address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
        from.enter(|| {
            // The result is ignored: the kernel reports a neighbour that does not answer later, if at all.
            let _ = UdpSocket::bind(any).unwrap().send_to(b"!", address);
        });
    }
    heard.recv(&mut [0]).is_ok() | heard.recv(&mut [0]).is_ok()
}

/// The chain whose name begins so, as a command substitution of the shell.
fn chain(begins: &str) -> String {
    format!("$(nft list chains | grep -o '{begins}_[0-9a-f]*' | head -1)")
}

/// Damage to the tables, with whether packets get through after it.
fn damages(gate: &str) -> Vec<(String, bool)> {
    let (apart, gate) = (gate == "apart", chain(gate));
    let forward = "chain inet cleat_gate forward";
    let mut damages = vec![
        ("nft flush ruleset".to_owned(), true),
        ("nft flush table inet cleat_gate".to_owned(), true),
        ("nft delete table inet cleat_gate".to_owned(), true),
        (format!("nft flush {forward}"), true),
        (format!("nft flush chain inet cleat_gate {gate}"), true),
        (format!("nft insert rule inet cleat_gate {gate} return"), true),
        ("nft add rule inet cleat_gate gates accept".to_owned(), true),
        ("nft flush map inet cleat_gate into".to_owned(), true),
        ("nft flush map inet cleat_gate members".to_owned(), false),
        (
            format!(
                "nft delete rule inet cleat_gate forward handle $(nft -a list {forward} | grep -o 'handle [0-9]*$' | sed -n 2p | cut -d' ' -f2)"
            ),
            true,
        ),
        ("nft add table inet cleat_gate '{ flags dormant; }'".to_owned(), true),
        (
            format!(
                "nft delete {forward}; nft add {forward} '{{ type filter hook forward priority 5; policy accept; }}'; nft add rule inet cleat_gate forward oifname vmap @into; nft add rule inet cleat_gate forward iifname vmap @from"
            ),
            false,
        ),
        (format!("nft delete {forward}; nft add {forward}"), true),
    ];
    if apart {
        let between = chain("between");
        damages.extend([
            (format!("nft flush chain inet cleat_gate {between}"), true),
            (format!("nft insert rule inet cleat_gate {between} ct state new return"), true),
            ("nft delete table bridge cleat_gate".to_owned(), false),
            ("nft flush table bridge cleat_gate".to_owned(), false),
            ("nft flush map bridge cleat_gate apart".to_owned(), false),
            ("nft flush set bridge cleat_gate ports".to_owned(), false),
            ("nft flush set bridge cleat_gate held4".to_owned(), false),
            ("nft flush chain bridge cleat_gate pre".to_owned(), false),
            ("nft add table bridge cleat_gate '{ flags dormant; }'".to_owned(), false),
            ("ip link set br-shut type bridge nf_call_iptables 0 nf_call_ip6tables 0".to_owned(), true),
        ]);
    }
    damages
}

/// Does all damage to a gate. The sender that may not reach the first member is the second member where members are kept apart,
/// else a member of an open network.
fn mends(gate: &str, keys: Value) {
    let apart = gate == "apart";
    let _host = host();
    let [a, b, c, other] = ["a1", "b1", "c1", "other1"].map(Namespaced::new);
    let free = Network { name: "free", subnet: 2, keys: json!({"ipMasq": false}) };
    let stranger = free.add(&other, &json!({}));
    let shut = network(keys);
    let before = Snapshot::take();
    let heard = a.enter(|| UdpSocket::bind("[::]:80").unwrap());
    heard.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let outsider = |member| if apart { member } else { &other };
    for (damage, opens) in damages(gate) {
        status(&shut).silent();
        let (one, two) = (shut.add(&a, &json!({})), shut.add(&b, &json!({})));
        assert!(!hears(&heard, outsider(&b), &one));
        status(&shut).silent();
        one.check(BRIDGE).silent();
        shell(&damage);
        assert_eq!(hears(&heard, outsider(&b), &one), opens, "{damage}");
        let (code, said) = status(&shut).error();
        assert!(code == 50 && said.contains("cleat repair"), "{damage}: {code} {said}");
        let (code, said) = one.check(BRIDGE).error();
        assert_eq!(code, 101, "{damage}: {said}");
        let three = shut.add(&c, &json!({}));
        assert!(!hears(&heard, outsider(&b), &one) && !hears(&heard, outsider(&c), &one), "{damage}");
        status(&shut).silent();
        three.check(BRIDGE).silent();
        // The gate stays as long as a member is there, no matter which goes first.
        one.del();
        three.del();
        shell("nft list map inet cleat_gate into | grep -q br-shut");
        two.del();
        status(&shut).silent();
        before.assert_unchanged();
    }
    stranger.del();
}

#[test]
fn members_that_are_apart_stay_so_whatever_is_flushed() {
    isolated(|| mends("apart", json!({"icc": false})));
}

#[test]
fn a_network_of_published_ports_stays_so_whatever_is_flushed() {
    isolated(|| mends("published", json!({"ingress": "published", "ingressFrom": ["10.99.0.0/16"]})));
}

#[test]
fn an_internal_network_stays_so_whatever_is_flushed() {
    isolated(|| mends("internal", json!({"internal": true})));
}
