//! What protects a bridge and its host against a member: forged addresses, router advertisements, floods of hardware addresses,
//! packets to the host's 127.0.0.1; and `conf/50-cleat-tenants.conflist`, which enables all of the protection.

mod advertisements;
mod false_router;
mod flood;
mod frames;
mod learned;
mod profile;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use netlink::{Mac, Socket};
use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Call, Host, Namespaced, Snapshot, isolated};
use serde_json::{Value, json};

use self::frames::{ETH_P_ARP, ETH_P_IP, ETH_P_IPV6, arp, claims6, frame, send, udp};
use crate::shared::bridge::{add, call, conf};
use crate::shared::programs::BRIDGE;
use crate::shared::shell::shell;

/// The destination port of all datagrams in these tests.
const PORT: u16 = 7777;

/// A member of a network, with what ADD's result says of it.
struct Member {
    netns: Namespaced,
    mac: [u8; 6],
    v4: Ipv4Addr,
    v6: Ipv6Addr,
    result: Value,
}

impl Member {
    fn new(name: &str, conf: &Value) -> Self {
        let netns = Namespaced::new(name);
        let result = add(conf, name, &netns);
        Self::of(netns, result)
    }

    fn of(netns: Namespaced, result: Value) -> Self {
        let address = |at: usize| {
            let text = result["ips"][at]["address"].as_str().unwrap_or("::/0");
            text.split_once('/').unwrap().0.to_owned()
        };
        let of_container = |interface: &&Value| interface["sandbox"].is_string();
        let mac: Mac = result["interfaces"].as_array().unwrap().iter().find(of_container).unwrap()["mac"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let (v4, v6) = (address(0).parse().unwrap(), address(1).parse().unwrap());
        Self { netns, mac: mac.octets(), v4, v6, result }
    }

    /// Its link-local address, which the kernel derives from the hardware address.
    fn link_local(&self) -> Ipv6Addr {
        let (vendor, device) = self.mac.split_at(3);
        let identifier = [&[vendor[0] ^ 2, vendor[1], vendor[2], 0xff, 0xfe], device].concat();
        let all = [&[0xfe, 0x80, 0, 0, 0, 0, 0, 0][..], &identifier].concat();
        Ipv6Addr::from(<[u8; 16]>::try_from(all).unwrap())
    }

    /// Sends a frame as it is.
    fn send(&self, frame: &[u8]) {
        self.netns.enter(|| send("eth0", frame));
    }

    /// What a command in its namespace says.
    fn says(&self, command: &str) -> String {
        let output = self.netns.enter(|| Command::new("sh").args(["-ec", command]).output().unwrap());
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// How many packets, or bytes, its interface has received.
    fn has_received(&self, what: &str) -> u64 {
        let shown: Value = serde_json::from_str(&self.says("ip -j -s link show eth0")).unwrap();
        shown[0]["stats64"]["rx"][what].as_u64().unwrap()
    }

    /// Whether a frame of another member brings a datagram to the port.
    fn gets(&self, from: &Self, frame: &[u8]) -> bool {
        let bind = || UdpSocket::bind(("::", PORT)).unwrap();
        let listener = self.netns.enter(bind);
        listener.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
        from.send(frame);
        listener.recv(&mut [0; 9]).is_ok()
    }
}

const EVERYBODY: [u8; 6] = [0xff; 6];
const NODES6: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
/// Longer than the kernel ignores further answers about a neighbour (`locktime`, a second).
const LOCKED: Duration = Duration::from_millis(1_100);
/// A hardware address that no interface has.
const FORGED: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

fn bound() -> Value {
    let mut conf = conf();
    conf["ipspoofchk"] = json!(true);
    conf
}

/// The hardware address that a member's neighbour table has for an address; empty where it has none.
fn neighbour(at: &Member, address: IpAddr) -> String {
    let shown = at.says(&format!("ip neigh show {address} dev eth0"));
    shown
        .split_once("lladdr ")
        .map(|(_, rest)| rest.split(' ').next().unwrap().to_owned())
        .unwrap_or_default()
}

fn written(mac: [u8; 6]) -> String {
    Mac::from(mac).to_string()
}

/// Every forgery must fail on a guarded network. Each must succeed on an open one, or the test would show nothing.
fn forgeries(guarded: bool) {
    let _host = Host::new();
    let before = Snapshot::take();
    let network = if guarded { bound() } else { conf() };
    let (evil, peer, third) =
        (Member::new("evil", &network), Member::new("peer", &network), Member::new("third", &network));
    let free4: Ipv4Addr = "10.1.0.99".parse().unwrap();
    let free6: Ipv6Addr = "fd00:1::99".parse().unwrap();
    let passes = !guarded;
    // Datagrams from a foreign IP address, or from a foreign hardware address.
    for (from, to) in [
        (IpAddr::from(third.v4), IpAddr::from(peer.v4)),
        (free4.into(), peer.v4.into()),
        (Ipv4Addr::new(192, 0, 2, 2).into(), peer.v4.into()),
        (third.v6.into(), peer.v6.into()),
        (free6.into(), peer.v6.into()),
        (third.link_local().into(), peer.link_local().into()),
    ] {
        let kind = if from.is_ipv4() { ETH_P_IP } else { ETH_P_IPV6 };
        let got = peer.gets(&evil, &frame(peer.mac, evil.mac, kind, &udp(from, to)));
        assert_eq!(got, passes, "{from}");
    }
    for (from, to) in [(IpAddr::from(evil.v4), IpAddr::from(peer.v4)), (evil.v6.into(), peer.v6.into())] {
        let kind = if from.is_ipv4() { ETH_P_IP } else { ETH_P_IPV6 };
        let datagram = udp(from, to);
        assert_eq!(peer.gets(&evil, &frame(peer.mac, FORGED, kind, &datagram)), passes, "{from}");
        assert!(peer.gets(&evil, &frame(peer.mac, evil.mac, kind, &datagram)), "{from} is its own");
    }
    // A priority tag (VLAN 0), which is removed on the way, does not hide a packet.
    let tagged = [&[0, 0, 8, 0][..], &udp(third.v4.into(), peer.v4.into())].concat();
    assert_eq!(peer.gets(&evil, &frame(peer.mac, evil.mac, 0x8100, &tagged)), passes);
    // ARP requests and answers, with a forged hardware address in the frame or in the message. The neighbour is known before.
    for (operation, sender, source) in [
        (1, (evil.mac, third.v4), evil.mac),
        (2, (evil.mac, third.v4), evil.mac),
        (2, (FORGED, third.v4), evil.mac),
        (2, (evil.mac, third.v4), FORGED),
    ] {
        let address = third.v4;
        peer.says(&format!("ip neigh replace {address} lladdr {} dev eth0 nud stale", written(third.mac)));
        sleep(LOCKED);
        evil.send(&frame(peer.mac, source, ETH_P_ARP, &arp(operation, sender, peer.v4)));
        sleep(Duration::from_millis(100));
        let known = neighbour(&peer, address.into());
        assert_eq!(known == written(sender.0), passes, "{operation} {sender:?} {source:?}: {known}");
    }
    // Its own IP address with another member's hardware address.
    peer.says(&format!("ip neigh replace {} lladdr {} dev eth0 nud stale", evil.v4, written(evil.mac)));
    sleep(LOCKED);
    evil.send(&frame(peer.mac, evil.mac, ETH_P_ARP, &arp(2, (third.mac, evil.v4), peer.v4)));
    sleep(Duration::from_millis(100));
    assert_eq!(neighbour(&peer, evil.v4.into()) == written(third.mac), passes);
    // Neighbour discovery: an advertisement for another's address, sent from the own addresses and from that address.
    for from in [evil.v6, evil.link_local(), third.v6] {
        peer.says(&format!("ip neigh replace {} lladdr {} dev eth0 nud stale", third.v6, written(third.mac)));
        let claim = claims6(from, peer.v6, third.v6, evil.mac);
        evil.send(&frame(peer.mac, evil.mac, ETH_P_IPV6, &claim));
        sleep(Duration::from_millis(100));
        let known = neighbour(&peer, third.v6.into());
        assert_eq!(known == written(evil.mac), passes, "{from}: {known}");
    }
    // A member that gets an address runs duplicate address detection: a forged answer must not take the address from it.
    let all: Ipv6Addr = "ff02::1".parse().unwrap();
    let lasting = claims6(free6, all, free6, evil.mac);
    peer.says("sysctl -qw net.ipv6.conf.eth0.accept_dad=1 net.ipv6.conf.eth0.dad_transmits=5");
    peer.says(&format!("ip addr add {free6}/64 dev eth0"));
    evil.send(&frame(NODES6, evil.mac, ETH_P_IPV6, &lasting));
    sleep(Duration::from_millis(200));
    let failed = peer.says("ip -6 addr show dev eth0 dadfailed");
    assert_eq!(failed.contains("fd00:1::99"), passes, "{failed}");
    // Other protocols have no addresses that could be checked.
    let before_it = peer.has_received("bytes");
    evil.send(&frame(peer.mac, evil.mac, 0x88b5, &[0; 1200]));
    sleep(Duration::from_millis(100));
    assert_eq!(peer.has_received("bytes") - before_it >= 1200, passes);
    for member in [evil, peer, third] {
        let mut ended = network.clone();
        ended["prevResult"] = member.result.clone();
        call("DEL", &ended, member.netns.name(), &member.netns).run().silent();
    }
    before.assert_unchanged();
}

#[test]
fn a_member_that_is_held_to_its_addresses_forges_none() {
    isolated(|| forgeries(true));
}

#[test]
fn a_member_that_is_not_held_to_them_forges_them_all() {
    isolated(|| forgeries(false));
}

#[test]
fn who_is_held_to_its_addresses_has_the_use_of_them() {
    isolated(|| {
        let host = Host::new();
        let before = Snapshot::take();
        let mut network = bound();
        // Several IPv6 addresses, and duplicate address detection.
        network["enabledad"] = json!(true);
        network["macspoofchk"] = json!(true);
        network["ipam"]["ranges"] = json!([
            [{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}], [{"subnet": "fd00:7::/64"}],
            [{"subnet": "fd00:8::/64"}]
        ]);
        let (one, two) = (Member::new("one", &network), Member::new("two", &network));
        serve_tcp(Some(&two.netns), "two", "[::]:80");
        serve_tcp(Some(&host.outside), "outside", "[::]:80");
        for (address, seen) in [
            ("10.1.0.3:80", "two sees 10.1.0.2"),
            ("[fd00:1::3]:80", "two sees fd00:1::2"),
            ("[fd00:7::3]:80", "two sees fd00:7::2"),
            ("[fd00:8::3]:80", "two sees fd00:8::2"),
            ("192.0.2.2:80", "outside sees 192.0.2.1"),
            ("[2001:db8::2]:80", "outside sees 2001:db8::1"),
        ] {
            assert_eq!(ask_tcp(Some(&one.netns), address).expect(address), seen);
        }
        let link = one.netns.enter(|| Socket::open().unwrap().get_link("eth0").unwrap().unwrap().index);
        let own = format!("[{}%{link}]:80", two.link_local());
        assert!(ask_tcp(Some(&one.netns), &own).is_ok(), "{own}");
        // Gratuitous ARP for its own address, and the ARP probe of duplicate address detection.
        for (mac, from) in [(one.mac, one.v4), (one.mac, Ipv4Addr::UNSPECIFIED)] {
            let count = two.has_received("packets");
            one.send(&frame(EVERYBODY, one.mac, ETH_P_ARP, &arp(1, (mac, from), one.v4)));
            sleep(Duration::from_millis(100));
            assert!(two.has_received("packets") > count, "{from}");
        }
        two.says("ip neigh flush all");
        one.send(&frame(two.mac, one.mac, ETH_P_ARP, &arp(2, (one.mac, one.v4), two.v4)));
        // CHECK reports each missing rule, and repair restores it.
        let mut ended = network.clone();
        ended["prevResult"] = one.result.clone();
        let call_one = |verb: &str| call(verb, &ended, "one", &one.netns).run();
        call_one("CHECK").silent();
        for (damage, said) in [
            ("nft flush set bridge cleat_bridge bound6", "is not held to address fd00:1::2"),
            ("nft flush set bridge cleat_bridge bound4", "is not held to address 10.1.0.2"),
            ("nft flush map bridge cleat_bridge bound", "is not held to its addresses"),
            ("nft flush chain bridge cleat_bridge own_network", "is not held to its addresses"),
            ("nft flush chain bridge cleat_bridge pre_network", "is not held to its addresses"),
            ("nft flush chain bridge cleat_bridge pre", "is not held to MAC address"),
            ("nft flush ruleset", "is not held to"),
        ] {
            shell(damage);
            let (code, found) = call_one("CHECK").error();
            assert!(code == 101 && found.contains(said), "{damage}: {found}");
            for member in [&one, &two] {
                let mut again = network.clone();
                again["prevResult"] = member.result.clone();
                repair(&again, member);
            }
            call_one("CHECK").silent();
        }
        // DEL works without a prevResult.
        call("DEL", &network, "one", &one.netns).run().silent();
        shell("nft list map bridge cleat_bridge bound | grep -q veth");
        // GC finds what is left by the network's name.
        let mut gc = network.clone();
        gc["cniVersion"] = json!("1.1.0");
        gc["cni.dev/valid-attachments"] = json!([]);
        Call::new(BRIDGE, "GC", &gc).run().silent();
        drop((one, two));
        before.assert_unchanged();
    });
}

/// As `cleat repair` does it.
fn repair(conf: &Value, member: &Member) {
    let request = cni::Request {
        command: cni::Command::Check,
        conf: cni::Conf::from_slice(conf.to_string().as_bytes()).unwrap(),
        path: Vec::new(),
    };
    let target = cni::Target {
        attachment: cni::Attachment {
            network: cni::NetworkName::new("net").unwrap(),
            container_id: cni::ContainerId::new(member.netns.name()).unwrap(),
            ifname: cni::IfName::new("eth0").unwrap(),
        },
        netns: Some(member.netns.path().to_owned()),
        args: cni::Args::default(),
        raw_args: String::new(),
    };
    bridge::repair(&request, &target).unwrap();
}

#[test]
fn without_addresses_there_is_nothing_to_be_held_to() {
    isolated(|| {
        let netns = Namespaced::new("a");
        let mut wrong = bound();
        wrong.as_object_mut().unwrap().remove("ipam");
        let (code, said) = call("ADD", &wrong, "a", &netns).run().error();
        assert!(code == 7 && said.contains("ipspoofchk"), "{said}");
    });
}
