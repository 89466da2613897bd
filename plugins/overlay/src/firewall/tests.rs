//! Forged packets on a wire of namespaces: a node with a device of two networks, another node, and a stranger.

#![allow(clippy::disallowed_methods, reason = "tests start ip, nft and perl")]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cni::NetworkName;
use sandbox::{Namespaced, isolated};

use super::{add, put, remove};

mod firewalls;

const PORT: u16 = 4789;
const WIDE: u32 = 4711;
const OTHER: u32 = 4712;
/// The port of the datagrams inside.
const INNER: u16 = 9999;

fn shell(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn name(text: &str) -> NetworkName {
    NetworkName::new(text).unwrap()
}

fn addresses(list: &[&str]) -> BTreeSet<IpAddr> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

/// A node with the networks `wide` and `other` on one port, whose packets go over one family.
struct Wire {
    node: Namespaced,
    /// Listens for what comes out of `wide`, and out of `other`.
    inside: [UdpSocket; 2],
    is_ipv6: bool,
    sender: Namespaced,
}

impl Wire {
    fn new(is_ipv6: bool) -> Self {
        let (node, sender) = (Namespaced::new("node"), Namespaced::new("sender"));
        shell(
            "ip link add eth0 netns node type veth peer name eth0 netns sender
             for host in node sender; do
                 ip -n $host link set eth0 up
                 [ $host = node ] && own=1 || own='2 3 9'
                 for n in $own; do
                     ip -n $host addr add 198.51.100.$n/24 dev eth0
                     ip -n $host addr add 2001:db8:51::$n/64 dev eth0 nodad
                 done
             done",
        );
        let local = if is_ipv6 { "2001:db8:51::1" } else { "198.51.100.1" };
        for (number, vni) in [WIDE, OTHER].into_iter().enumerate() {
            shell(&format!(
                "ip -n node link add vx{number} address 02:00:00:00:00:0{number} type vxlan id {vni} dstport {PORT} local {local} dev eth0 nolearning
                 ip -n node link set vx{number} up; ip -n node addr add 10.20{number}.1.0/16 dev vx{number}"
            ));
        }
        let inside = [0, 1].map(|number| {
            let socket =
                node.enter(|| UdpSocket::bind((Ipv4Addr::new(10, 200 + number, 1, 0), INNER)).unwrap());
            socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            socket
        });
        Self { node, inside, is_ipv6, sender }
    }

    fn ip(&self, host: u8) -> IpAddr {
        if self.is_ipv6 {
            Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, host.into()).into()
        } else {
            Ipv4Addr::new(198, 51, 100, host).into()
        }
    }

    fn put(&self, network: &str, vni: u32, hosts: &[u8]) {
        let peers = hosts.iter().map(|host| self.ip(*host)).collect();
        self.node.enter(|| put(&name(network), PORT, Some(vni), &peers)).unwrap();
    }

    /// Sends a datagram into a network from a host's address.
    fn send(&self, from: u8, vni: u32) {
        let from = self.sender.enter(|| UdpSocket::bind((self.ip(from), 0)).unwrap());
        from.send_to(&frame(vni), (self.ip(1), PORT)).unwrap();
    }

    /// Whether a datagram came out of a network: the first that was sent, or nothing.
    fn arrives(&self, vni: u32) -> bool {
        let place = usize::from(vni == OTHER);
        self.inside[place].recv_from(&mut [0; 64]).is_ok()
    }

    fn rules(&self) -> String {
        self.node.enter(|| shell("nft list ruleset"))
    }

    fn generation(&self) -> u32 {
        self.node.enter(|| nftables::Socket::open().unwrap().generation().unwrap())
    }
}

fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let bytes = parts.concat();
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(!sum & 0xffff).unwrap().to_be_bytes()
}

/// A VXLAN header and a frame to the node's address in that network (RFC 7348, RFC 791, RFC 768).
fn frame(vni: u32) -> Vec<u8> {
    let number = u8::from(vni == OTHER);
    let mut ip =
        vec![0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 10, 200 + number, 2, 5, 10, 200 + number, 1, 0];
    let sum = checksum(&[&ip]);
    ip[10..12].copy_from_slice(&sum);
    let mut packet = vec![8, 0, 0, 0];
    packet.extend((vni << 8).to_be_bytes());
    packet.extend([2, 0, 0, 0, 0, number, 2, 0, 0, 0, 9, 9, 8, 0]);
    packet.extend(ip);
    packet.extend([0x12, 0x34]);
    packet.extend(INNER.to_be_bytes());
    packet.extend([0, 12, 0, 0]);
    packet.extend(*b"inne");
    packet
}

fn forged_packets_are_dropped(is_ipv6: bool) {
    let wire = Wire::new(is_ipv6);
    wire.send(9, WIDE);
    assert!(wire.arrives(WIDE), "without a rule everybody is let in");
    wire.put("wide", WIDE, &[2]);
    wire.put("other", OTHER, &[3]);
    let lets_in = |from: u8, vni: u32| {
        wire.send(from, vni);
        wire.arrives(vni)
    };
    // From who is no node, from a node, and from a node of the other network.
    assert_eq!([9, 2, 3].map(|from| lets_in(from, WIDE)), [false, true, false]);
    assert_eq!([9, 2, 3].map(|from| lets_in(from, OTHER)), [false, false, true]);
    let rules = wire.rules();
    assert_eq!(
        rules.matches("counter packets 2 bytes").count(),
        2,
        "two were dropped of each network: {rules}"
    );
    // A peer comes, and one leaves.
    wire.put("wide", WIDE, &[3, 9]);
    assert_eq!([9, 2, 3].map(|from| lets_in(from, WIDE)), [true, false, true]);
    // Networks of other programs on that port are not ours to judge.
    wire.node.enter(|| remove(&name("other"))).unwrap();
    assert_eq!([9, 2, 3].map(|from| lets_in(from, OTHER)), [true; 3]);
    assert!(!lets_in(2, WIDE));
    wire.node.enter(|| remove(&name("wide"))).unwrap();
    assert_eq!(wire.rules(), "");
    assert!(lets_in(2, WIDE));
}

#[test]
fn forged_packets_are_dropped_over_ipv4() {
    isolated(|| forged_packets_are_dropped(false));
}

#[test]
fn forged_packets_are_dropped_over_ipv6() {
    isolated(|| forged_packets_are_dropped(true));
}

/// Sends IPv6 packets as they are.
const RAW: &str = r#"use Socket qw(:all); my $to = pack_sockaddr_in6(0, inet_pton(AF_INET6, shift));
    socket(my $s, AF_INET6, SOCK_RAW, 255) or die "socket: $!";
    defined(send($s, pack("H*", $_), 0, $to)) or die "send: $!" for @ARGV;"#;

/// The datagram of [`frame`] in two fragments, of which the first has so many bytes of it (RFC 8200).
fn fragments(from: Ipv6Addr, to: Ipv6Addr, first: usize) -> Vec<String> {
    // Parts of datagrams that came before are not of this one.
    static DATAGRAMS: AtomicU32 = AtomicU32::new(1);
    let number = DATAGRAMS.fetch_add(1, Ordering::Relaxed);
    let inner = frame(WIDE);
    let length = u16::try_from(8 + inner.len()).unwrap();
    let mut udp = vec![0x30, 0x39];
    udp.extend(PORT.to_be_bytes());
    udp.extend(length.to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(inner);
    let pseudo = [0, 0, 0, 17];
    let sum = checksum(&[&from.octets(), &to.octets(), &[0, 0], &length.to_be_bytes(), &pseudo, &udp]);
    udp[6..8].copy_from_slice(&sum);
    let packet = |part: &[u8], offset: usize, more: u16| {
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(u16::try_from(8 + part.len()).unwrap().to_be_bytes());
        packet.extend([44, 64]);
        packet.extend(from.octets());
        packet.extend(to.octets());
        packet.extend([17, 0]);
        packet.extend((u16::try_from(offset).unwrap() | more).to_be_bytes());
        packet.extend(number.to_be_bytes());
        packet.extend(part);
        cni::hex(&packet)
    };
    vec![packet(&udp[..first], 0, 1), packet(&udp[first..], first, 0)]
}

#[test]
fn fragments_that_hide_the_number_are_dropped() {
    isolated(|| {
        let wire = Wire::new(true);
        let (IpAddr::V6(forger), IpAddr::V6(to)) = (wire.ip(9), wire.ip(1)) else { panic!("IPv6") };
        let send = |from: Ipv6Addr, first: usize| {
            let output = wire.sender.enter(|| {
                Command::new("perl")
                    .args(["-e", RAW, &to.to_string()])
                    .args(fragments(from, to, first))
                    .output()
                    .unwrap()
            });
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            wire.arrives(WIDE)
        };
        // The UDP header alone; the VXLAN header up to its number; all of it.
        assert_eq!([8, 16, 24].map(|first| send(forger, first)), [true; 3], "without rules they arrive");
        wire.put("wide", WIDE, &[2]);
        assert_eq!([8, 16, 24].map(|first| send(forger, first)), [false; 3]);
        let IpAddr::V6(peer) = wire.ip(2) else { panic!("IPv6") };
        assert_eq!([8, 16, 24].map(|first| send(peer, first)), [false, true, true], "a node sends no such");
        // Where connection tracking has put them together, they are judged as one.
        wire.node.enter(|| shell("nft add table inet t; nft 'add chain inet t c { type filter hook input priority 0; }'; nft add rule inet t c ct state new counter"));
        assert_eq!([8, 16, 24].map(|first| send(forger, first)), [false; 3]);
        assert_eq!([8, 16, 24].map(|first| send(peer, first)), [true; 3]);
    });
}

#[test]
fn nothing_is_written_where_nothing_changed_and_what_others_broke_is_mended() {
    isolated(|| {
        let wire = Wire::new(false);
        let both = || {
            wire.put("wide", WIDE, &[2]);
            wire.put("other", OTHER, &[2, 3]);
        };
        both();
        let listed = wire.rules();
        let generation = wire.generation();
        wire.send(9, WIDE);
        assert!(!wire.arrives(WIDE));
        both();
        assert_eq!(wire.generation(), generation, "what was counted is no change");
        let uncounted = |rules: String| -> String {
            let word = |line: &str| line.split("counter ").next().unwrap().to_owned();
            rules.lines().map(word).collect::<Vec<_>>().join("\n")
        };
        for damage in [
            "flush ruleset",
            "flush chain inet cleat_overlay port_4789",
            "flush chain inet cleat_overlay incoming",
            "flush chain inet cleat_overlay incoming; delete chain inet cleat_overlay incoming",
            "add chain inet cleat_overlay incoming; flush chain inet cleat_overlay incoming; delete chain inet cleat_overlay incoming; add chain inet cleat_overlay incoming { type filter hook forward priority 0; }",
            "flush set inet cleat_overlay SET",
            "add element inet cleat_overlay SET { 198.51.100.9 }",
            "insert rule inet cleat_overlay port_4789 accept",
        ] {
            let set = listed.split_whitespace().find(|word| word.starts_with("peers4_")).unwrap();
            wire.node.enter(|| shell(&format!("nft '{}'", damage.replace("SET", set))));
            assert_ne!(wire.rules(), listed, "{damage}");
            both();
            wire.send(9, WIDE);
            assert!(!wire.arrives(WIDE), "{damage}: {}", wire.rules());
            wire.send(2, WIDE);
            assert!(wire.arrives(WIDE), "{damage}: {}", wire.rules());
            let (mut found, mut wanted) = (uncounted(wire.rules()), uncounted(listed.clone()));
            if damage.contains("flush chain inet cleat_overlay port") || damage == "flush ruleset" {
                // The networks are in another order.
                let sorted = |text: &str| {
                    let mut lines: Vec<_> = text.lines().collect();
                    lines.sort_unstable();
                    lines.join("\n")
                };
                (found, wanted) = (sorted(&found), sorted(&wanted));
            }
            assert_eq!(found, wanted, "{damage}");
        }
        // Another port and another number: what was is gone.
        wire.node.enter(|| put(&name("wide"), 8472, Some(7), &addresses(&["198.51.100.2"]))).unwrap();
        let rules = wire.rules();
        assert_eq!(rules.matches("comment \"wide\"").count(), 2, "{rules}");
        assert!(rules.contains("chain port_8472") && rules.contains("@th,96,24 0x7 "), "{rules}");
        wire.node.enter(|| put(&name("other"), PORT, None, &BTreeSet::new())).unwrap();
        assert!(!wire.rules().contains("port_4789"), "{}", wire.rules());
        wire.node.enter(|| remove(&name("wide"))).unwrap();
        let generation = wire.generation();
        wire.node.enter(|| remove(&name("wide"))).unwrap();
        assert_eq!((wire.generation(), wire.rules()), (generation, String::new()));
    });
}

#[test]
fn ten_thousand_nodes_are_put_at_once() {
    isolated(|| {
        let node = Namespaced::new("node");
        let peers = |count: u32| -> BTreeSet<IpAddr> {
            let v4 = (0..count).map(|number| Ipv4Addr::from(0x0a00_0000 + number).into());
            let v6 = (0..count).map(|number| Ipv6Addr::from(u128::from(number) + (0xfd << 120)).into());
            v4.chain(v6).collect()
        };
        node.enter(|| {
            let timed = |peers: &BTreeSet<IpAddr>| {
                let start = Instant::now();
                put(&name("wide"), PORT, Some(WIDE), peers).unwrap();
                start.elapsed()
            };
            let (all, fewer) = (peers(10_000), peers(9_999));
            let first = timed(&all);
            let (same, one) = (timed(&all), timed(&fewer));
            let listed = shell("nft list ruleset");
            assert_eq!(listed.matches("fd00::").count() + listed.matches("10.0.").count(), 2 * 9_999);
            // Far above what it takes, and far below one transaction an address.
            let bound = Duration::from_secs(1);
            assert!(first < bound && same < bound && one < bound, "{first:?}, {same:?}, {one:?}");
            println!(
                "10,000 nodes of both families: {first:?}; nothing changed: {same:?}; one less: {one:?}"
            );
        });
    });
}

#[test]
fn any_name_of_a_network_will_do() {
    isolated(|| {
        let node = Namespaced::new("node");
        for text in ["0.a", &"x".repeat(200), "a-b_c.d"] {
            let own = addresses(&["198.51.100.2", "2001:db8::2"]);
            node.enter(|| put(&name(text), PORT, Some(WIDE), &own)).unwrap();
            let saved = node
                .enter(|| shell("nft list ruleset | tee /run/saved; nft flush ruleset; nft -f /run/saved"));
            assert_eq!(node.enter(|| shell("nft list ruleset")), saved);
            assert!(saved.contains(&text[..text.len().min(127)]), "{saved}");
            node.enter(|| remove(&name(text))).unwrap();
            assert_eq!(node.enter(|| shell("nft list ruleset")), "");
        }
    });
}

#[test]
fn who_is_not_known_yet_stays_let_in() {
    isolated(|| {
        let wire = Wire::new(false);
        let hosts = |list: &[u8]| -> BTreeSet<IpAddr> { list.iter().map(|host| wire.ip(*host)).collect() };
        let lets_in = || {
            [2, 3, 9].map(|from| {
                wire.send(from, WIDE);
                wire.arrives(WIDE)
            })
        };
        let add = |peers: &[u8], gone: &[u8]| {
            let (peers, gone) = (hosts(peers), hosts(gone));
            wire.node.enter(|| add(&name("wide"), PORT, Some(WIDE), &peers, &gone)).unwrap();
            lets_in()
        };
        assert_eq!(add(&[2], &[]), [true, false, false], "the rules are there in any case");
        assert_eq!(add(&[3], &[]), [true, true, false]);
        assert_eq!(add(&[3, 9], &[2, 9]), [false, true, true]);
        wire.put("wide", WIDE, &[2]);
        assert_eq!(lets_in(), [true, false, false]);
    });
}
