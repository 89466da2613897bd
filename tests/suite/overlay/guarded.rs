//! The tunnel is guarded, whatever the network lets in: nothing but members' packets goes in or comes out.

use std::net::UdpSocket;
use std::time::Duration;

use sandbox::{Namespaced, isolated};
use serde_json::{Value, json};

use super::cluster::{BOTH, Cluster, Member, Node, at};

/// Whether a datagram that another host sends from an address arrives at a member.
fn arrives(from: &Node, source: &str, to: &Member, family: usize) -> bool {
    let any = if source.contains(':') { "[::]:7" } else { "0.0.0.0:7" };
    let listener = to.netns.enter(|| UdpSocket::bind(any)).unwrap();
    listener.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    from.host.enter(|| {
        let socket = UdpSocket::bind(at(source, 0)).unwrap();
        socket.send_to(b"!", at(&to.ips()[family], 7)).unwrap();
    });
    listener.recv(&mut [0; 8]).is_ok()
}

const FORGED: [&str; 2] = ["10.99.0.1", "fd00:99::1"];
const REAL: [&str; 2] = ["10.201.2.0", "fd00:201:0:2::"];

fn drops_forged(keys: &Value) {
    let cluster = Cluster::new(BOTH);
    let [_, second, third] = &cluster.nodes;
    let three = third.add(keys, "three");
    // An address of its own, so that the host's socket may send from it.
    second.shell("ip addr add 10.99.0.1/32 dev lo; ip addr add fd00:99::1/128 dev lo nodad");
    for family in [0, 1] {
        assert!(arrives(second, REAL[family], &three, family), "{keys}: {}", REAL[family]);
        assert!(!arrives(second, FORGED[family], &three, family), "{keys}: {}", FORGED[family]);
    }
    // It is the guard that keeps them out.
    third.shell("nft flush chain inet cleat_gate $(nft list chains | grep -o 'overlay_[0-9a-f]*')");
    for family in [0, 1] {
        assert!(arrives(second, FORGED[family], &three, family), "{keys}: {}", FORGED[family]);
    }
    three.is_broken("overlay_");
    let other = third.add(keys, "other");
    assert!(!arrives(second, FORGED[0], &three, 0), "{keys}: the ADD of another has put it back");
    three.check().silent();
    other.del();
    three.del();
}

#[test]
fn forged_packets_are_dropped_where_anything_comes_in() {
    isolated(|| drops_forged(&json!({})));
}

#[test]
fn forged_packets_are_dropped_where_published_ports_come_in() {
    isolated(|| drops_forged(&json!({"ingress": "published"})));
}

#[test]
fn forged_packets_are_dropped_on_an_internal_network() {
    isolated(|| drops_forged(&json!({"internal": true})));
}

/// A host outside takes a member's address for its own, and one of the hosts for its router.
#[test]
fn a_host_forwards_no_outsider_into_the_tunnel() {
    isolated(|| {
        let cluster = Cluster::new(BOTH);
        let [first, _, third] = &cluster.nodes;
        let (_one, three) = (first.add(&json!({}), "one"), third.add(&json!({}), "three"));
        cluster.outside.enter(|| {
            crate::shared::shell::shell(
                "ip addr add 10.201.77.7/32 dev lo; ip addr add fd00:201:0:77::7/128 dev lo nodad
                 ip route add 10.201.3.0/24 via 198.51.100.1; ip -6 route add fd00:201:0:3::/64 via 2001:db8:51::1",
            );
        });
        let heard = |family: usize, source: &str, from: &Namespaced| {
            let any = if family == 0 { "0.0.0.0:7" } else { "[::]:7" };
            let listener = three.netns.enter(|| UdpSocket::bind(any)).unwrap();
            listener.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
            from.enter(|| {
                let socket = UdpSocket::bind(at(source, 0)).unwrap();
                socket.send_to(b"!", at(&three.ips()[family], 7)).unwrap();
            });
            listener.recv(&mut [0; 8]).is_ok()
        };
        for (family, source) in ["10.201.77.7", "fd00:201:0:77::7"].iter().enumerate() {
            assert!(!heard(family, source, &cluster.outside));
        }
        first.shell("nft flush chain inet cleat_gate $(nft list chains | grep -o 'overlay_[0-9a-f]*')");
        for (family, source) in ["10.201.77.7", "fd00:201:0:77::7"].iter().enumerate() {
            assert!(heard(family, source, &cluster.outside), "only the guard keeps them out");
        }
    });
}
