//! What the network is for: containers of all hosts reach each other with their own addresses, and nobody else comes in.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use sandbox::isolated;
use sandbox::traffic::ask_tcp;
use serde_json::json;

use crate::cluster::{BOTH, Cluster, Families, NET, OUTSIDE, V4, V6, at, merge, until_reached};
use crate::containers::{Container, refused};
use crate::host::until;
use crate::ping::reaches;

fn story(families: Families) {
    let cluster = Cluster::new(families);
    let [one, two, three] = cluster.containers();
    for container in [&one, &two, &three] {
        assert_eq!(container.ips().len(), families.len());
        container.check();
        // The way out is masqueraded.
        for family in families {
            let seen = ask_tcp(Some(&container.netns), &at(OUTSIDE[*family], 80)).unwrap();
            assert!(!container.ips().iter().any(|ip| seen.contains(ip.as_str())), "{seen}");
        }
    }
    // A published port: from outside, from another host, and from a container there.
    for family in families {
        let published = at(["198.51.100.3", "2001:db8:51::3"][*family], three.published);
        for place in [&cluster.outside, &cluster.hosts[0].netns, &one.netns] {
            let seen = ask_tcp(Some(place), &published);
            assert!(seen.as_ref().is_ok_and(|seen| seen.starts_with("three")), "{}: {seen:?}", place.name());
        }
    }
    // The host itself reaches them.
    for to in two.at(80) {
        ask_tcp(Some(&cluster.hosts[0].netns), &to).unwrap();
    }
    // Nobody has the last block of the prefix: packets to it do not leave by the default route.
    if families.contains(&0) {
        let output = cluster.hosts[0].run("ip", &["route", "get", "10.201.255.1"], "");
        assert!(!output.status.success(), "{output:?}");
    }
    for container in [&one, &two, &three] {
        container.del();
    }
}

#[test]
fn containers_of_three_hosts_reach_each_other_by_ipv4() {
    isolated(|| story(V4));
}

#[test]
fn containers_of_three_hosts_reach_each_other_by_ipv6() {
    isolated(|| story(V6));
}

#[test]
fn containers_of_three_hosts_reach_each_other_by_both_families() {
    isolated(|| story(BOTH));
}

#[test]
fn the_hosts_may_be_connected_by_ipv6() {
    isolated(|| {
        let cluster = Cluster::created(BOTH);
        for host in &cluster.hosts {
            let mut conf = cluster.conf();
            merge(&mut conf, &json!({"address": format!("2001:db8:51::{}", host.number)}));
            host.configure(&conf);
            host.start();
        }
        for host in &cluster.hosts {
            host.has_peers(2);
            // 70 bytes of outer headers.
            assert_eq!(host.run_file().unwrap()["mtu"], 1430);
        }
        cluster.containers();
    });
}

#[test]
fn a_host_that_joins_is_reached_at_once() {
    isolated(|| {
        let cluster = Cluster::created(V4);
        let [first, second, third] = &cluster.hosts;
        for host in [first, second] {
            host.configure(&cluster.conf());
            host.start();
        }
        for host in [first, second] {
            host.has_peers(1);
        }
        // Before it has a block, it is told to try again later.
        let (code, said) = refused(third, V4);
        assert_eq!(code, 11, "{said}");
        let one = Container::add(first, V4, "one");
        let two = Container::add(second, V4, "two");
        third.start();
        let begin = Instant::now();
        third.configure(&cluster.conf());
        until("a block", || third.run_file().is_some());
        // The bridge's address is not there yet: what answers is the network's own address on the device.
        let block = third.run_file().unwrap()["blocks"][0]["subnet"].as_str().unwrap().to_owned();
        let device = block.split('/').next().unwrap().to_owned();
        crate::ping::echo(&third.netns, 7);
        let to = at(&device, 7);
        until("it is reached from everywhere", || {
            [&one, &two].iter().all(|container| reaches(&container.netns, &to))
        });
        let took = begin.elapsed();
        println!("join to reachable from all: {took:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
        let three = Container::add(third, V4, "three");
        one.reaches(&three);
        three.reaches(&two);
        until_reached(&two, &three);
    });
}

/// A VXLAN packet with the frame of a datagram to a container (RFC 7348).
fn forged(vni: u32, mac: &str, to: &str) -> Vec<u8> {
    let mut packet = vec![8, 0, 0, 0];
    packet.extend((vni << 8).to_be_bytes());
    packet.extend(mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    packet.extend([2, 0, 0, 0, 9, 9, 8, 0]);
    let mut ip = vec![0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 10, 201, 254, 9];
    ip.extend(to.parse::<std::net::Ipv4Addr>().unwrap().octets());
    let sum: u32 = ip.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) & 0xffff;
    ip[10..12].copy_from_slice(&u16::try_from(sum).unwrap().to_be_bytes());
    packet.extend(ip);
    packet.extend([0x12, 0x34, 0x27, 0x0f, 0, 9, 0, 0, b'!']);
    packet
}

#[test]
fn forged_packets_do_not_reach_a_container() {
    isolated(|| {
        let cluster = Cluster::new(V4);
        let [one, ..] = cluster.containers();
        let listener = one.netns.enter(|| UdpSocket::bind("0.0.0.0:9999").unwrap());
        listener.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let vni = u32::try_from(cluster.network["vni"].as_u64().unwrap()).unwrap();
        let mac = cluster.get("nodes/host1").unwrap()["mac"].as_str().unwrap().to_owned();
        let packet = forged(vni, &mac, &one.ips()[0]);
        let to = format!("{}:{}", cluster.hosts[0].address(), cluster.network["port"]);
        let send = || {
            let sender = cluster.outside.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
            sender.send_to(&packet, &to).unwrap();
            listener.recv_from(&mut [0; 16]).is_ok()
        };
        assert!(!send(), "a packet from who is no node");
        let rules = cluster.hosts[0].sh("nft list table inet cleat_overlay");
        assert!(rules.contains("counter packets 1 "), "{rules}");
        // Without the rule it would come in.
        cluster.hosts[0].sh("nft delete table inet cleat_overlay");
        assert!(send(), "the forged packet is none");
    });
}

#[test]
fn nothing_is_left_of_a_network_that_a_host_leaves() {
    isolated(|| {
        let cluster = Cluster::created(BOTH);
        let [first, second, third] = &cluster.hosts;
        let before = third.kernel();
        for host in &cluster.hosts {
            host.configure(&cluster.conf());
            host.start();
        }
        for host in &cluster.hosts {
            host.has_peers(2);
        }
        let three = Container::add(third, BOTH, "three");
        three.del();
        third.overlay(&["remove", NET], "");
        until("the part for the network has ended", || third.run_file().is_none());
        assert_eq!(third.kernel(), before);
        assert!(!third.path(format!("lib/overlay/{NET}")).exists());
        assert!(!third.path(format!("run/overlay/{NET}.json")).exists());
        let keys = cluster.keys();
        assert!(!keys.iter().any(|key| key.ends_with("/host3")), "{keys:?}");
        assert_eq!(keys.iter().filter(|key| key.starts_with("blocks/")).count(), 4, "{keys:?}");
        for host in [first, second] {
            host.has_peers(1);
        }
        // The network itself goes with its last node.
        let error = first.refused(&["delete", NET], "");
        assert!(error.contains("host1") && error.contains("host2"), "{error}");
        for host in [first, second] {
            host.overlay(&["remove", NET], "");
        }
        let conf = cluster.conf();
        first.configure(&conf);
        first.overlay(&["delete", NET], "");
        assert_eq!(cluster.keys(), Vec::<String>::new());
    });
}
