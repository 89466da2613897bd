//! `icc: false`: the containers of a network cannot reach each other, and all other traffic passes.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use sandbox::traffic::{serve_tcp, serve_udp};
use sandbox::{Call, Namespaced, OUTSIDE_V4, OUTSIDE_V6, Snapshot, UPLINK_V4, UPLINK_V6, isolated};
use serde_json::{Value, json};

use crate::shared::frames::send;
use crate::shared::members::{Member, Network, assert_closed, assert_open, host, ways};
use crate::shared::programs::BRIDGE;
use crate::shared::shell::shell;

fn network(name: &'static str, subnet: u8, keys: Value) -> Network {
    Network { name, subnet, keys }
}

/// `address:port` of both families.
fn both(v4: &str, v6: &str, port: u16) -> [String; 2] {
    [format!("{v4}:{port}"), format!("[{v6}]:{port}")]
}

fn output(line: &str) -> String {
    String::from_utf8(Command::new("sh").args(["-c", line]).output().unwrap().stdout).unwrap()
}

/// `nf_call_iptables` and `nf_call_ip6tables` of a bridge.
fn switches(bridge: &str) -> (Value, Value) {
    let links: Value = serde_json::from_str(&output(&format!("ip -d -j link show {bridge}"))).unwrap();
    let data = &links[0]["linkinfo"]["info_data"];
    (data["nf_call_iptables"].clone(), data["nf_call_ip6tables"].clone())
}

fn keeps_apart(ingress: &Value) {
    let host = host();
    let [a, b, c] = ["a1", "b1", "c1"].map(Namespaced::new);
    let before = Snapshot::take();
    let mut keys = json!({"icc": false});
    keys.as_object_mut().unwrap().extend(ingress.as_object().unwrap().clone());
    let internal = keys["internal"] == json!(true);
    let (shut, open) = (network("shut", 1, keys), network("open", 2, json!({})));
    let ports = json!([{"hostPort": 8001, "containerPort": 80}, {"hostPort": 8001, "containerPort": 80, "protocol": "udp"}]);
    let one = shut.publish(&a, &json!({}), &ports);
    let other = shut.add(&b, &json!({}));
    let third = open.add(&c, &json!({}));
    one.serve(80);
    other.serve(80);
    third.serve(80);
    for (place, name) in [(None, "host"), (Some(&host.outside), "outside")] {
        serve_tcp(place, name, "[::]:7000");
        serve_udp(place, name, "[::]:7000");
    }
    // Neither reaches the other: not over the bridge, and (below) not routed by the host.
    assert_closed(&[ways(Some(&a), &other.at(80)), ways(Some(&b), &one.at(80))].concat());
    let router = one.conf[0]["prevResult"]["interfaces"][0]["mac"].as_str().unwrap();
    b.enter(|| {
        for address in ["10.1.0.2", "fd00:1::2"] {
            shell(&format!("ip neigh replace {address} dev eth1 lladdr {router}"));
        }
    });
    assert_closed(&ways(Some(&b), &one.at(80)));
    // The host and every member reach each other. A published port is reached at the host's address, from a member too.
    let published = both(UPLINK_V4, UPLINK_V6, 8001);
    let mut reached =
        [ways(None, &one.at(80)), ways(None, &other.at(80)), ways(Some(&b), &published)].concat();
    reached.extend(ways(Some(&a), &both("10.1.0.1", "fd00:1::1", 7000)));
    let outwards = ways(Some(&a), &both(OUTSIDE_V4, OUTSIDE_V6, 7000));
    let inwards = [ways(Some(&host.outside), &published), ways(Some(&c), &published)].concat();
    let direct = ways(Some(&c), &one.at(80));
    if internal {
        assert_open(&reached);
        assert_closed(&[outwards, inwards, direct].concat());
    } else {
        assert_open(&[reached, outwards, inwards].concat());
        if ingress.as_object().unwrap().is_empty() {
            assert_open(&direct);
        } else {
            assert_closed(&direct);
        }
    }
    // The number of rules does not grow with the number of members.
    let rules = output("nft -t list ruleset");
    let more: Vec<Namespaced> = (0..10).map(|n| Namespaced::new(&format!("more{n}"))).collect();
    let members: Vec<_> = more.iter().map(|netns| shut.add(netns, &json!({}))).collect();
    assert_eq!(output("nft -t list ruleset"), rules);
    for member in members.iter().chain([&one, &other, &third]) {
        member.check(BRIDGE).silent();
        member.del();
    }
    drop(members);
    drop(more);
    before.assert_unchanged();
}

#[test]
fn members_are_apart_and_everything_else_goes_on() {
    isolated(|| keeps_apart(&json!({})));
}

#[test]
fn members_are_apart_where_only_published_ports_come_in() {
    isolated(|| keeps_apart(&json!({"ingress": "published"})));
}

#[test]
fn members_are_apart_on_an_internal_network() {
    isolated(|| keeps_apart(&json!({"internal": true})));
}

#[test]
fn a_bridge_that_networks_share_is_shut_while_one_of_them_is() {
    isolated(|| {
        let _host = host();
        let [a, b, c] = ["a1", "b1", "c1"].map(Namespaced::new);
        // A bridge that cleat did not make, with one of its `nf_call` switches on.
        shell(
            "ip link add br-own address 02:00:00:00:00:aa type bridge nf_call_ip6tables 1
             echo 1 >/proc/sys/net/ipv6/conf/br-own/addr_gen_mode
             ip link add own0 master br-own type veth peer own1
             for link in own0 own1; do echo 1 >/proc/sys/net/ipv6/conf/$link/disable_ipv6; done
             for link in br-own own0 own1; do ip link set $link up; done
             until ip -6 route show table local | grep -q 'multicast ff00::/8 dev br-own'; do sleep 0.01; done",
        );
        let before = Snapshot::take();
        // Each network leases from a part of the same subnets, so their members need no router to reach each other.
        let own = |name, part: u8, keys: Value| {
            let range = |subnet: &str, prefix: &str| json!([{"subnet": subnet, "rangeStart": format!("{prefix}{part}1"), "rangeEnd": format!("{prefix}{part}9")}]);
            let ranges = json!([range("10.3.0.0/24", "10.3.0."), range("fd00:3::/64", "fd00:3::")]);
            let mut own = json!({
                "bridge": "br-own", "isGateway": false, "ipMasq": false,
                "ipam": {"type": "host-local", "ranges": ranges}
            });
            own.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
            network(name, 3, own)
        };
        let (open, shut) = (own("open", 1, json!({})), own("shut", 2, json!({"icc": false})));
        let (one, two) = (open.add(&a, &json!({})), open.add(&b, &json!({})));
        two.serve(80);
        let reach = |from| ways(Some(from), &two.at(80));
        assert_open(&reach(&a));
        assert_eq!(switches("br-own"), (json!(0), json!(1)));
        let three = shut.add(&c, &json!({}));
        assert_eq!(switches("br-own"), (json!(1), json!(1)));
        assert_closed(&[reach(&a), reach(&c)].concat());
        // A network with other restrictions is refused on the same bridge, and its ADD changes nothing.
        let d = Namespaced::new("d1");
        let refused = own("third", 3, json!({"icc": false, "ingress": "published"}));
        let call = |command: &str| Call::new(BRIDGE, command, &refused.bridge()).of("d1", &d, "eth0").run();
        let (code, said) = call("ADD").error();
        assert_eq!((code, said.contains("\"icc\"")), (7, true), "{said}");
        drop(d);
        assert_closed(&reach(&a));
        three.del();
        assert_eq!(switches("br-own"), (json!(0), json!(1)));
        assert_open(&reach(&a));
        one.del();
        two.del();
        before.assert_unchanged();
    });
}

#[test]
fn without_br_netfilter_it_is_refused_and_never_open() {
    isolated(|| {
        let _host = host();
        let [a, b] = ["a1", "b1"].map(Namespaced::new);
        let before = Snapshot::take();
        let shut = network("shut", 1, json!({"icc": false}));
        let one = shut.add(&a, &json!({}));
        one.check(BRIDGE).silent();
        // Hides the folder, which a kernel without the module does not have.
        shell("mount -t tmpfs none /proc/sys/net/bridge");
        let during = Snapshot::take();
        let call = |command: &str| Call::new(BRIDGE, command, &shut.bridge()).of("b1", &b, "eth0").run();
        for command in ["ADD", "STATUS"] {
            let (code, said) = call(command).error();
            assert_eq!((code, said.contains("modprobe br_netfilter")), (50, true), "{command}: {said}");
        }
        during.assert_unchanged();
        let (_, said) = one.check(BRIDGE).error();
        assert!(said.contains("br_netfilter"), "{said}");
        shell("umount /proc/sys/net/bridge");
        call("STATUS").silent();
        // CHECK also notices a switch that was turned off.
        shell("ip link set br-shut type bridge nf_call_ip6tables 0");
        let (code, said) = one.check(BRIDGE).error();
        assert_eq!((code, said.contains("nf_call_ip6tables")), (101, true), "{said}");
        shell("ip link set br-shut type bridge nf_call_ip6tables 1");
        one.check(BRIDGE).silent();
        shell("nft flush chain inet cleat_gate $(nft list chains | grep -o between_........)");
        let (code, said) = one.check(BRIDGE).error();
        assert_eq!((code, said.contains("has 0 rules instead of 10")), (101, true), "{said}");
        one.del();
        before.assert_unchanged();
    });
}

/// `br_netfilter` ignores frames with a VLAN tag, and a container accepts frames with the tag of VLAN 0 like untagged ones.
#[test]
fn packets_in_a_tag_of_vlan_0_do_not_pass_by() {
    isolated(|| {
        let _host = host();
        let [a, b] = ["a1", "b1"].map(Namespaced::new);
        let before = Snapshot::take();
        for (keys, gets_through) in [(json!({}), true), (json!({"icc": false}), false)] {
            let net = network("net", 1, keys);
            let (one, other) = (net.add(&a, &json!({})), net.add(&b, &json!({})));
            let listener = b.enter(|| UdpSocket::bind("0.0.0.0:80").unwrap());
            listener.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            for tag in [&[0x81, 0x00, 0, 0][..], &[0x88, 0xa8, 0, 0, 0x81, 0x00, 0, 0]] {
                let frame = datagram(&one, &other, tag);
                a.enter(|| send("eth1", &frame));
                assert_eq!(listener.recv(&mut [0]).is_ok(), gets_through, "{tag:?}");
            }
            if !gets_through {
                one.check(BRIDGE).silent();
                shell("nft flush map bridge cleat_gate apart");
                let (_, said) = one.check(BRIDGE).error();
                assert!(said.contains("VLAN"), "{said}");
            }
            one.del();
            other.del();
        }
        before.assert_unchanged();
    });
}

/// A frame with a VLAN tag and one byte of UDP over IPv4, from port 4000 to port 80.
fn datagram(from: &Member, to: &Member, tag: &[u8]) -> Vec<u8> {
    let mac = |member: &Member| {
        let told = &member.conf[0]["prevResult"]["interfaces"][2]["mac"];
        told.as_str().unwrap().parse::<netlink::Mac>().unwrap().octets()
    };
    let address = |member: &Member| match member.at(80)[0].parse().unwrap() {
        SocketAddr::V4(address) => address.ip().octets(),
        SocketAddr::V6(address) => panic!("the first address is not IPv4: {address}"),
    };
    let mut header =
        [&[0x45, 0, 0, 29, 0, 0, 0x40, 0, 64, 17, 0, 0][..], &address(from), &address(to)].concat();
    // The checksum of the IPv4 header (RFC 1071). UDP over IPv4 needs none (RFC 768).
    let words = header.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let checksum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    let udp = [0x0f, 0xa0, 0, 80, 0, 9, 0, 0, b'!'];
    [&mac(to)[..], &mac(from), tag, &[0x08, 0x00], &header, &udp].concat()
}
