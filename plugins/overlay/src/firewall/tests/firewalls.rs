//! Firewalls of other programs, and what they let through.

use std::time::{Duration, Instant};

use sandbox::isolated;

use super::{PORT, WIDE, Wire, shell};
use crate::firewall::obstacle;

/// Firewalls as their programs make them, in short, and the cure where they drop what nodes send.
const FIREWALLS: &[(&str, Option<&str>)] = &[
    ("true", None),
    (UFW, Some("ufw allow 4789/udp")),
    (UFW_ALLOWED, None),
    (FIREWALLD, Some("firewall-cmd --permanent --add-port=4789/udp && firewall-cmd --reload")),
    (FIREWALLD_ALLOWED, None),
    (
        "nft 'table inet f { chain c { type filter hook input priority 0; policy drop; iifname \"lo\" accept
            ct state established,related accept; icmpv6 type nd-neighbor-solicit accept; tcp dport { 22, 443 } accept
            udp dport { 53, 8472 } accept; }; }'",
        Some("nft insert rule inet f c udp dport 4789 accept"),
    ),
    (
        "nft 'table inet f { chain c { type filter hook input priority 0; policy drop; udp dport { 53, 4789 } accept; }; }'",
        None,
    ),
    (
        "nft 'table inet f { chain c { type filter hook input priority 0; udp dport vmap { 53 : accept, 4789 : drop }; drop; }; }'",
        Some("nft insert rule inet f c udp dport 4789 accept"),
    ),
    // Of another family, and switched off.
    ("nft 'table ip6 f { chain c { type filter hook input priority 0; policy drop; }; }'", None),
    ("nft 'table inet f { flags dormant; chain c { type filter hook input priority 0; policy drop; }; }'", None),
    // What is not understood may let them in, and here it does.
    (
        "nft 'table inet f { chain c { type filter hook input priority 0; policy drop; meta length 30-1000 accept; }; }'",
        None,
    ),
];
/// ufw's order of chains.
const UFW: &str = "iptables-nft-restore <<END
*filter
:INPUT DROP [0:0]
:ufw-before-input - [0:0]
:ufw-not-local - [0:0]
:ufw-user-input - [0:0]
:ufw-reject-input - [0:0]
-A INPUT -j ufw-before-input
-A INPUT -j ufw-reject-input
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -p icmp -j ACCEPT
-A ufw-before-input -p udp --sport 67 --dport 68 -j ACCEPT
-A ufw-before-input -j ufw-not-local
-A ufw-before-input -j ufw-user-input
-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
-A ufw-not-local -j DROP
-A ufw-user-input -p tcp --dport 22 -j ACCEPT
-A ufw-user-input -p udp --dport 53 -j ACCEPT
COMMIT
END";
const UFW_ALLOWED: &str = "iptables-nft -P INPUT DROP; iptables-nft -N ufw-user-input
iptables-nft -A INPUT -j ufw-user-input; iptables-nft -A ufw-user-input -p udp -m udp --dport 4789 -j ACCEPT";
const FIREWALLD: &str = "nft -f - <<END
table inet firewalld {
    chain filter_IN_public_allow { tcp dport 22 accept; ip6 daddr fe80::/64 udp dport 546 accept; }
    chain filter_IN_public { jump filter_IN_public_allow; meta l4proto { icmp, ipv6-icmp } accept; }
    chain filter_INPUT_ZONES { iifname \"eth0\" goto filter_IN_public; goto filter_IN_public; }
    chain filter_INPUT {
        type filter hook input priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname \"lo\" accept
        ct state invalid drop
        jump filter_INPUT_ZONES
        reject with icmpx admin-prohibited
    }
}
END";
const FIREWALLD_ALLOWED: &str = "nft -f - <<END
table inet firewalld {
    chain filter_IN_public_allow { tcp dport 22 accept; udp dport 4789 ct state new accept; }
    chain filter_IN_public { jump filter_IN_public_allow; }
    chain filter_INPUT {
        type filter hook input priority filter + 10; policy accept;
        iifname vmap { \"eth0\" : goto filter_IN_public }
        reject with icmpx admin-prohibited
    }
}
END";

/// Whether the device of `wide` takes what a node sends. What is in it may be dropped by the same firewall.
fn comes_to_the_device(wire: &Wire) -> bool {
    let count = || wire.node.enter(|| shell("ip -s link show vx0 | awk '/RX:/ { getline; print $2 }'"));
    let before = count();
    wire.send(2, WIDE);
    let deadline = Instant::now() + Duration::from_millis(200);
    while Instant::now() < deadline {
        if count() != before {
            return true;
        }
    }
    false
}

#[test]
fn a_firewall_that_drops_what_nodes_send_is_named_with_the_cure() {
    isolated(|| {
        let wire = Wire::new(false);
        for (firewall, cure) in FIREWALLS {
            wire.put("wide", WIDE, &[2]);
            wire.node.enter(|| shell(firewall));
            let ask = || wire.node.enter(|| obstacle::find(PORT, "eth0", false)).unwrap();
            let found = ask();
            assert_eq!(
                found.as_deref().and_then(|said| said.split("let it in: ").nth(1)),
                *cure,
                "{firewall}"
            );
            // What is said is what happens to a packet.
            assert_eq!(
                comes_to_the_device(&wire),
                found.is_none(),
                "{firewall}: {found:?}\n{}",
                wire.rules()
            );
            if let Some(command) = cure.filter(|cure| cure.starts_with("nft")) {
                wire.node.enter(|| shell(command));
                assert!(comes_to_the_device(&wire), "{command}: {}", wire.rules());
                assert_eq!(ask(), None);
            }
            wire.node.enter(|| shell("nft flush ruleset"));
        }
    });
}
