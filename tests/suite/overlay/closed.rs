//! What a network keeps out, and what it keeps apart: with members on other hosts as with those on the same one.

use sandbox::{Namespaced, isolated};
use serde_json::json;

use super::cluster::{BOTH, Cluster, Member, OUTSIDE, PREFIXES, at};
use crate::shared::members::{Way, assert_closed, assert_open, ways};

fn between<'a>(from: &'a Member, to: &Member) -> Vec<Way<'a>> {
    ways(Some(&from.netns), &to.at(80))
}

fn outside(from: &Namespaced) -> Vec<Way<'_>> {
    OUTSIDE.iter().map(|ip| (Some(from), "tcp", at(ip, 80))).collect()
}

fn published<'a>(from: &'a Namespaced, member: &Member) -> Vec<Way<'a>> {
    let number = member.node.number;
    let hosts = [format!("198.51.100.{number}"), format!("2001:db8:51::{number}")];
    hosts.iter().map(|ip| (Some(from), "tcp", at(ip, 8080))).collect()
}

/// A member of another network on the first host, and the host outside by way of each host.
fn outsiders<'a>(cluster: &'a Cluster, strangers: &[&'a Namespaced], target: &Member) {
    let ways_of = |from: &'a Namespaced| ways(Some(from), &target.at(80));
    for stranger in strangers {
        assert_closed(&ways_of(stranger));
    }
    for node in &cluster.nodes {
        cluster.outside.enter(|| {
            crate::shared::shell::shell(&format!(
                "ip route replace {} via 198.51.100.{n}; ip -6 route replace {} via 2001:db8:51::{n}",
                PREFIXES[0],
                PREFIXES[1],
                n = node.number
            ));
        });
        assert_closed(&ways_of(&cluster.outside));
    }
}

/// A container of another network of the first host.
fn third(cluster: &Cluster, netns: &Namespaced) {
    let third = json!({
        "cniVersion": "1.1.0", "name": "third", "type": "bridge", "bridge": "br-third", "isGateway": true, "ipMasq": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "fd00:9::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}
    });
    let _ = cluster.nodes[0].call("ADD", &third, netns).result();
}

#[test]
fn outsiders_are_kept_out_where_published_ports_come_in() {
    isolated(|| {
        let cluster = Cluster::new(BOTH);
        let keys = json!({"ingress": "published"});
        let stranger = Namespaced::new("stranger");
        third(&cluster, &stranger);
        assert_open(&outside(&stranger));
        let (one, three) = (cluster.nodes[0].add(&keys, "one"), cluster.nodes[2].add(&keys, "three"));
        assert_open(&[between(&one, &three), between(&three, &one)].concat());
        outsiders(&cluster, &[&stranger], &three);
        // A published port, by the address of its host on the tunnel as well.
        let by_tunnel = vec![(Some(&one.netns), "tcp", "10.201.3.0:8080".to_owned())];
        assert_open(&[published(&cluster.outside, &three), published(&stranger, &three), by_tunnel].concat());
        assert_open(&[outside(&one.netns), between(&one, &three)].concat());
        one.check().silent();
        three.check().silent();
    });
}

#[test]
fn nothing_but_members_of_all_hosts_reaches_an_internal_network() {
    isolated(|| {
        let cluster = Cluster::new(BOTH);
        // Without any route: those to the other hosts' members come with the network.
        let keys = json!({"internal": true, "ipMasq": false, "ipam": {"type": "host-local"}});
        let stranger = Namespaced::new("stranger");
        third(&cluster, &stranger);
        let (one, two) =
            (cluster.nodes[0].add(&keys, "one"), cluster.nodes[0].add(&json!({"internal": true}), "two"));
        let three = cluster.nodes[2].add(&keys, "three");
        assert_open(&[between(&one, &three), between(&three, &one), between(&one, &two)].concat());
        outsiders(&cluster, &[&stranger], &three);
        assert_closed(&[outside(&two.netns), published(&cluster.outside, &three)].concat());
        for member in [&one, &two, &three] {
            member.check().silent();
            member.del();
        }
    });
}

#[test]
fn members_that_are_apart_are_so_from_host_to_host() {
    isolated(|| {
        let cluster = Cluster::new(BOTH);
        // A network of ingressFrom that has the members' addresses opens nothing between them.
        let keys = json!({"icc": false, "ingress": "published", "ingressFrom": ["10.0.0.0/8", "fd00::/16"]});
        let [first, _, third] = &cluster.nodes;
        let (one, two, three) = (first.add(&keys, "one"), first.add(&keys, "two"), third.add(&keys, "three"));
        assert_closed(&[between(&one, &two), between(&one, &three), between(&three, &one)].concat());
        // What a link opens: from a recipient on another host, and no way back.
        for (family, set) in ["links4", "links6"].iter().enumerate() {
            let (from, to) = (&one.ips()[family], &three.ips()[family]);
            for protocol in ["tcp", "udp"] {
                third.shell(&format!(
                    "nft add element inet cleat_gate $(nft list sets | grep -o '{set}_[0-9a-f]*') \
                     '{{ {from} . {to} . {protocol} . 80 }}'"
                ));
            }
        }
        assert_open(&between(&one, &three));
        assert_closed(&[between(&three, &one), between(&two, &three)].concat());
        assert_open(
            &[outside(&one.netns), published(&one.netns, &three), published(&cluster.outside, &three)]
                .concat(),
        );
        for member in [&one, &two, &three] {
            member.check().silent();
            member.del();
        }
        let rules = super::cluster::rules(third);
        assert!(!rules.contains("cleat_gate"), "{rules}");
    });
}

#[test]
fn members_that_are_apart_on_an_internal_network_are_so_from_host_to_host() {
    isolated(|| {
        let cluster = Cluster::new(BOTH);
        let (apart, together) = (json!({"internal": true, "icc": false}), json!({"internal": true}));
        let (one, three) = (cluster.nodes[0].add(&apart, "one"), cluster.nodes[2].add(&together, "three"));
        assert_closed(&between(&three, &one));
        assert_open(&between(&one, &three));
        assert_closed(&outside(&one.netns));
        one.check().silent();
    });
}
