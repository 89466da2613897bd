//! What is open: members reach each other from host to host with their own addresses, and the ways out and in go on.

use std::process::Command;

use sandbox::isolated;
use sandbox::traffic::ask_tcp;
use serde_json::{Value, json};

use super::cluster::{BOTH, Cluster, Families, MTU, Member, OUTSIDE, V4, V6, at};
use crate::shared::shell::said;

/// Sends one datagram of that many bytes, as a packet that nobody may cut, and waits for the answer.
const DATAGRAM: &str = r#"use Socket qw(:all); my ($ip, $size) = @ARGV; my $is6 = $ip =~ /:/;
    socket(my $s, $is6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0) or die "socket: $!";
    setsockopt($s, $is6 ? 41 : 0, $is6 ? 23 : 10, pack("i", 2)) or die "setsockopt: $!";
    my $to = $is6 ? pack_sockaddr_in6(80, inet_pton(AF_INET6, $ip)) : pack_sockaddr_in(80, inet_aton($ip));
    connect($s, $to) or die "connect: $!"; alarm 2;
    defined(send($s, "x" x ($size - ($is6 ? 48 : 28)), 0)) or die "send: $!";
    defined(recv($s, my $answer, 65535, 0)) or die "recv: $!";"#;

/// What comes of a packet of that size, headers included.
fn send(from: &Member, to: &str, size: u32) -> Result<(), String> {
    let perl = || Command::new("perl").args(["-e", DATAGRAM, to, &size.to_string()]).output().unwrap();
    let output = from.netns.enter(perl);
    if output.status.success() { Ok(()) } else { Err(said(&output)) }
}

/// All that members of a network may do, whatever the network keeps out.
fn reaches_as_ever(cluster: &Cluster, one: &Member, far: &[&Member]) {
    for member in far {
        for (own, (to, ip)) in one.ips().iter().zip(member.at(80).iter().zip(member.ips())) {
            let seen = ask_tcp(Some(&one.netns), to).unwrap();
            assert_eq!(seen, format!("{} sees {own}", member.netns.name()), "to {to}");
            send(one, &ip, MTU).unwrap();
            let error = send(one, &ip, MTU + 1).unwrap_err();
            assert!(error.contains("Message too long"), "{error}");
        }
    }
    let last = far.last().unwrap();
    // The published port: from outside, from another host, and from a container there.
    let published =
        [format!("198.51.100.{}", last.node.number), format!("2001:db8:51::{}", last.node.number)];
    for family in families(one) {
        let to = at(&published[family], 8080);
        for place in [&cluster.outside, &cluster.nodes[0].host, &one.netns] {
            let seen =
                ask_tcp(Some(place), &to).unwrap_or_else(|error| panic!("{} to {to}: {error}", place.name()));
            assert!(seen.starts_with(last.netns.name()), "{seen}");
        }
    }
}

/// Which families a member has addresses of.
fn families(member: &Member) -> Vec<usize> {
    member.ips().iter().map(|ip| usize::from(ip.contains(':'))).collect()
}

/// The way out takes the host's address.
fn is_masqueraded_outside(one: &Member) {
    let own = [format!("198.51.100.{}", one.node.number), format!("2001:db8:51::{}", one.node.number)];
    for family in families(one) {
        let seen = ask_tcp(Some(&one.netns), &at(OUTSIDE[family], 80)).unwrap();
        assert_eq!(seen, format!("outside sees {}", own[family]));
    }
}

fn story(families: Families, keys: &Value) {
    let cluster = Cluster::new(families);
    let [first, second, third] = &cluster.nodes;
    let (one, two, three) = (first.add(keys, "one"), second.add(keys, "two"), third.add(keys, "three"));
    assert_eq!(one.result["interfaces"][1]["mtu"], MTU);
    assert!(one.ips()[0].contains("201"), "{:?}", one.ips());
    reaches_as_ever(&cluster, &one, &[&two, &three]);
    is_masqueraded_outside(&one);
    for member in [&one, &two, &three] {
        member.check().silent();
        let node = member.node;
        member.node.call("STATUS", &node.conf(keys), &member.netns).silent();
        member.del();
        let rules = super::cluster::rules(node);
        assert!(!rules.contains("table inet cleat") && !rules.contains("CNI-"), "{rules}");
    }
}

#[test]
fn members_of_three_hosts_reach_each_other_by_ipv4() {
    isolated(|| story(V4, &json!({})));
}

#[test]
fn members_of_three_hosts_reach_each_other_by_ipv6() {
    isolated(|| story(V6, &json!({})));
}

#[test]
fn members_of_three_hosts_reach_each_other_by_both_families() {
    isolated(|| story(BOTH, &json!({"isDefaultGateway": true})));
}

#[test]
fn members_keep_their_addresses_where_iptables_masquerades() {
    isolated(|| story(BOTH, &json!({"ipMasqBackend": "iptables"})));
}

#[test]
fn only_published_ports_come_in_and_members_go_on() {
    isolated(|| story(BOTH, &json!({"ingress": "published"})));
}
