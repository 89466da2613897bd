//! What guards a bridge against its members: addresses that are not theirs, router advertisements, floods of hardware addresses,
//! the host's 127.0.0.1; and `conf/50-cleat-tenants.conflist`, which has it all.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use netlink::{Mac, Socket};
use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Call, Host, Namespaced, Snapshot, UPLINK_V4, advertise, isolated, run};
use serde_json::{Value, json};

use crate::bridge::{add, call, conf, shell};
use crate::networks::{cleat, install_networks, succeed};
use crate::programs::BRIDGE;
use crate::reference::REFERENCE;

const ETH_P_IP: u16 = 0x0800;
const ETH_P_ARP: u16 = 0x0806;
const ETH_P_IPV6: u16 = 0x86dd;
/// Where the datagrams of these tests go.
const PORT: u16 = 7777;

/// A member of a network, as it is told by ADD.
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

    /// The address that its kernel gave itself.
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

    /// Whether a frame brings a datagram to its port.
    fn gets(&self, from: &Self, frame: &[u8]) -> bool {
        let bind = || UdpSocket::bind(("::", PORT)).unwrap();
        let listener = self.netns.enter(bind);
        listener.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
        from.send(frame);
        listener.recv(&mut [0; 9]).is_ok()
    }
}

/// Sends a frame by an interface of the calling thread's namespace. By Perl, which every Debian has: a packet socket (17 is
/// `AF_PACKET`, 3 is `SOCK_RAW`) takes unsafe code here.
fn send(interface: &str, frame: &[u8]) {
    send_all(interface, std::slice::from_ref(&frame.to_vec()));
}

fn send_all(interface: &str, frames: &[Vec<u8>]) {
    let link = Socket::open().unwrap().get_link(interface).unwrap().unwrap();
    // All frames are as long as the first.
    let script = "socket(S, 17, 3, 0) or die $!; binmode STDIN; $/ = \\($ARGV[1] + 0);
        while (<STDIN>) { send(S, $_, 0, pack('SnlSCCa8', 17, 0, $ARGV[0], 0, 0, 0, '')) or die $! }";
    let length = frames[0].len().to_string();
    let mut perl = Command::new("perl");
    let sent = run(perl.args(["-e", script, &link.index.to_string(), &length]), &frames.concat());
    assert!(sent.status.success(), "{sent:?}");
}

/// Sum of 16-bit words in ones' complement (RFC 1071).
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let bytes = parts.concat();
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or_default());
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

fn frame(to: [u8; 6], from: [u8; 6], kind: u16, content: &[u8]) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes(), content].concat()
}

fn ip(from: IpAddr, to: IpAddr, protocol: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = (length + 20).to_be_bytes();
            let start = [0x45, 0, total[0], total[1], 0, 7, 0, 0, 64, protocol];
            let addresses = [from.octets(), to.octets()].concat();
            [&start[..], &checksum(&[&start, &addresses]), &addresses, content].concat()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let [high, low] = length.to_be_bytes();
            let start = [0x60, 0, 0, 0, high, low, protocol, 255];
            [&start[..], &from.octets(), &to.octets(), content].concat()
        }
        mixed => panic!("{mixed:?}"),
    }
}

/// A datagram of one byte.
fn udp(from: IpAddr, to: IpAddr) -> Vec<u8> {
    let head = [&4000_u16.to_be_bytes()[..], &PORT.to_be_bytes(), &9_u16.to_be_bytes()].concat();
    let sum = match (from, to) {
        // IPv4 may go without.
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            checksum(&[&from.octets(), &to.octets(), &[0, 0, 0, 9, 0, 0, 0, 17], &head, &[0, 0], b"!\0"])
        }
        _ => [0, 0],
    };
    ip(from, to, 17, &[&head[..], &sum, b"!"].concat())
}

/// A message of neighbour discovery: its type, what follows the checksum.
fn icmpv6(from: Ipv6Addr, to: Ipv6Addr, kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    let sum = checksum(&[&from.octets(), &to.octets(), &length, &[0, 0, 0, 58], &[kind, 0, 0, 0], body]);
    ip(from.into(), to.into(), 58, &[&[kind, 0], &sum[..], body].concat())
}

/// A neighbour advertisement that overrides what is known: the address is at this hardware address.
fn claims6(from: Ipv6Addr, to: Ipv6Addr, address: Ipv6Addr, mac: [u8; 6]) -> Vec<u8> {
    // An answer to nobody is no answer to a question.
    let flags = if to.is_multicast() { 0x20 } else { 0x60 };
    icmpv6(from, to, 136, &[&[flags, 0, 0, 0], &address.octets()[..], &[2, 1], &mac].concat())
}

fn arp(operation: u8, (mac, from): ([u8; 6], Ipv4Addr), to: Ipv4Addr) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    [&head[..], &mac, &from.octets(), &[0; 6], &to.octets()].concat()
}

const EVERYBODY: [u8; 6] = [0xff; 6];
const NODES6: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
/// How long a kernel keeps to what it has learned of a neighbour whatever answers say (`locktime`, a second).
const LOCKED: Duration = Duration::from_millis(1_100);
/// A hardware address that nobody was given.
const FORGED: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

fn bound() -> Value {
    let mut conf = conf();
    conf["ipspoofchk"] = json!(true);
    conf
}

/// What a member knows of an address of the network: its hardware address, or nothing.
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

/// Every forgery, each once with a network that lets it through: the test would otherwise show nothing.
fn forgeries(guarded: bool) {
    let _host = Host::new();
    let before = Snapshot::take();
    let network = if guarded { bound() } else { conf() };
    let (evil, peer, third) =
        (Member::new("evil", &network), Member::new("peer", &network), Member::new("third", &network));
    let free4: Ipv4Addr = "10.1.0.99".parse().unwrap();
    let free6: Ipv6Addr = "fd00:1::99".parse().unwrap();
    let passes = !guarded;
    // Datagrams in somebody else's name, or from a hardware address that is not its own.
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
    // A tag of priority is taken off on the way.
    let tagged = [&[0, 0, 8, 0][..], &udp(third.v4.into(), peer.v4.into())].concat();
    assert_eq!(peer.gets(&evil, &frame(peer.mac, evil.mac, 0x8100, &tagged)), passes);
    // ARP: by request, by answer, by either hardware address. A neighbour that is known is overwritten.
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
    // Its own address at a hardware address of somebody else.
    peer.says(&format!("ip neigh replace {} lladdr {} dev eth0 nud stale", evil.v4, written(evil.mac)));
    sleep(LOCKED);
    evil.send(&frame(peer.mac, evil.mac, ETH_P_ARP, &arp(2, (third.mac, evil.v4), peer.v4)));
    sleep(Duration::from_millis(100));
    assert_eq!(neighbour(&peer, evil.v4.into()) == written(third.mac), passes);
    // Neighbour discovery: from the own address for another's, and in the other's name.
    for from in [evil.v6, evil.link_local(), third.v6] {
        peer.says(&format!("ip neigh replace {} lladdr {} dev eth0 nud stale", third.v6, written(third.mac)));
        let claim = claims6(from, peer.v6, third.v6, evil.mac);
        evil.send(&frame(peer.mac, evil.mac, ETH_P_IPV6, &claim));
        sleep(Duration::from_millis(100));
        let known = neighbour(&peer, third.v6.into());
        assert_eq!(known == written(evil.mac), passes, "{from}: {known}");
    }
    // Who joins asks whether it has an address alone: nobody keeps it from that.
    let all: Ipv6Addr = "ff02::1".parse().unwrap();
    let lasting = claims6(free6, all, free6, evil.mac);
    peer.says("sysctl -qw net.ipv6.conf.eth0.accept_dad=1 net.ipv6.conf.eth0.dad_transmits=5");
    peer.says(&format!("ip addr add {free6}/64 dev eth0"));
    evil.send(&frame(NODES6, evil.mac, ETH_P_IPV6, &lasting));
    sleep(Duration::from_millis(200));
    let failed = peer.says("ip -6 addr show dev eth0 dadfailed");
    assert_eq!(failed.contains("fd00:1::99"), passes, "{failed}");
    // Other protocols have no addresses that could be looked at.
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
        // Several of each family, and looked for before they are used.
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
        // Its own address by ARP that nobody asked for, and the question whether it is alone with it.
        for (mac, from) in [(one.mac, one.v4), (one.mac, Ipv4Addr::UNSPECIFIED)] {
            let count = two.has_received("packets");
            one.send(&frame(EVERYBODY, one.mac, ETH_P_ARP, &arp(1, (mac, from), one.v4)));
            sleep(Duration::from_millis(100));
            assert!(two.has_received("packets") > count, "{from}");
        }
        two.says("ip neigh flush all");
        one.send(&frame(two.mac, one.mac, ETH_P_ARP, &arp(2, (one.mac, one.v4), two.v4)));
        // What it was given is told, found missing, and put back.
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
        // The prevResult may be lost by then.
        call("DEL", &network, "one", &one.netns).run().silent();
        shell("nft list map bridge cleat_bridge bound | grep -q veth");
        // GC knows what is left by the network's name.
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

const PREFIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 0);

/// A network whose members and whose host have no IPv6 but what the kernel gives them.
fn of_ipv4() -> Value {
    let mut conf = conf();
    conf["ipam"] = json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]});
    conf
}

/// Whether advertisements of a container brought an address or a route: to another one, and to the host.
fn follow(evil: &Namespaced, peer: &Namespaced) -> (bool, bool) {
    let look = || {
        let show = "ip -6 route show proto ra; ip -6 addr show scope global dynamic";
        !Command::new("sh").args(["-c", show]).output().unwrap().stdout.is_empty()
    };
    let mut sent = 0;
    while sent < 5 {
        sent += usize::from(advertise(Some(evil), "eth0", PREFIX));
        sleep(Duration::from_millis(100));
    }
    (peer.enter(look), look())
}

fn set(parameter: &str, value: &str) {
    fs::write(format!("/proc/sys/net/ipv6/conf/{parameter}"), value).unwrap();
}

#[test]
fn advertisements_of_a_container_reach_neither_host_nor_others() {
    isolated(|| {
        let _host = Host::new();
        for (made_before, mut network) in
            [(false, of_ipv4()), (true, of_ipv4()), (false, conf()), (false, of_static("10.1.0.7/24"))]
        {
            set("all/forwarding", "0");
            set("default/accept_ra", "1");
            if made_before {
                shell("ip link add br0 type bridge && ip link set br0 up");
            }
            let (evil, peer) = (Namespaced::new("evil"), Namespaced::new("peer"));
            let added = |network: &Value, id: &str, netns: &Namespaced| {
                call("ADD", network, id, netns).env("CNI_PATH", REFERENCE).run().result()
            };
            added(&network, "evil", &evil);
            if network["ipam"]["type"] == "static" {
                network = of_static("10.1.0.8/24");
            }
            let result = added(&network, "peer", &peer);
            set("all/forwarding", "0");
            assert_eq!(follow(&evil, &peer), (false, false), "{made_before} {network}");
            // Who switches it on again is told, and repair switches it off.
            set("br0/accept_ra", "2");
            assert_eq!(follow(&evil, &peer), (false, true));
            let mut checked = network.clone();
            checked["prevResult"] = result;
            let check = call("CHECK", &checked, "peer", &peer).env("CNI_PATH", REFERENCE);
            let (code, said) = check.run().error();
            assert!(code == 101 && said.contains("br0/accept_ra is not 0"), "{said}");
            shell("ip -6 route flush proto ra; ip -6 addr flush dev br0 scope global dynamic");
            for (id, netns) in [("evil", &evil), ("peer", &peer)] {
                call("DEL", &checked, id, netns).env("CNI_PATH", REFERENCE).run().silent();
            }
            if made_before {
                shell("ip link del br0");
            }
        }
    });
}

/// Addresses that another IPAM plugin gives: the interface is up before they are known.
fn of_static(address: &str) -> Value {
    let mut conf = conf();
    conf["ipam"] = json!({"type": "static", "addresses": [{"address": address}]});
    conf
}

#[test]
fn advertisements_are_heeded_where_they_are_asked_for_and_where_nobody_else_gives_addresses() {
    isolated(|| {
        let _host = Host::new();
        let mut asked = of_ipv4();
        asked["acceptRA"] = json!(true);
        let mut of_nobody = conf();
        of_nobody.as_object_mut().unwrap().remove("ipam");
        of_nobody["isGateway"] = json!(false);
        of_nobody["ipMasq"] = json!(false);
        for network in [asked, of_nobody] {
            let (router, peer) = (Namespaced::new("router"), Namespaced::new("peer"));
            add(&network, "router", &router);
            add(&network, "peer", &peer);
            assert_eq!(follow(&router, &peer), (true, false), "{network}");
            for (id, netns) in [("router", &router), ("peer", &peer)] {
                call("DEL", &network, id, netns).run().silent();
            }
        }
    });
}

#[test]
fn who_is_held_to_its_addresses_advertises_nothing() {
    isolated(|| {
        let _host = Host::new();
        for (bound, heard) in [(false, true), (true, false)] {
            let mut network = of_ipv4();
            network["acceptRA"] = json!(true);
            network["ipspoofchk"] = json!(bound);
            let (evil, peer) = (Namespaced::new("evil"), Namespaced::new("peer"));
            add(&network, "evil", &evil);
            add(&network, "peer", &peer);
            assert_eq!(follow(&evil, &peer).0, heard);
            for (id, netns) in [("evil", &evil), ("peer", &peer)] {
                call("DEL", &network, id, netns).run().silent();
            }
        }
    });
}

/// How many hardware addresses a bridge has learned.
fn learned(bridge: &str) -> usize {
    let output = Command::new("bridge").args(["fdb", "show", "br", bridge, "dynamic"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).lines().count()
}

/// A container sends from 6,000 hardware addresses.
fn flood(netns: &Namespaced) {
    let frames: Vec<Vec<u8>> = (0..6_000_u16)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            frame(EVERYBODY, [2, 0x66, 0, 0, high, low], 0x88b5, &[0; 46])
        })
        .collect();
    netns.enter(|| send_all("eth0", &frames));
}

#[test]
fn what_a_bridge_learns_from_its_ports_has_a_bound() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let evil = Namespaced::new("evil");
        add(&conf(), "evil", &evil);
        let bound = || Socket::open().unwrap().get_link("br0").unwrap().unwrap().fdb_max_learned;
        if bound().is_none() {
            // Such a kernel must really be older than Linux 6.8, which brought it.
            let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
            let mut numbers =
                release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or_default());
            assert!((numbers.next(), numbers.next()) < (Some(6), Some(8)), "{release}");
            return;
        }
        assert_eq!(bound(), Some(4096));
        flood(&evil);
        let count = learned("br0");
        assert!((4000..=4096).contains(&count), "{count}");
        // A bridge of the version before had none: the next ADD bounds it.
        Socket::open()
            .and_then(|mut socket| {
                let bridge = socket.get_link("br0")?.unwrap();
                socket.set_fdb_max_learned(bridge.index, 0)
            })
            .unwrap();
        flood(&evil);
        assert!(learned("br0") > 5_900, "{}", learned("br0"));
        let other = Namespaced::new("other");
        add(&conf(), "other", &other);
        assert_eq!(bound(), Some(4096));
        for (id, netns) in [("evil", &evil), ("other", &other)] {
            call("DEL", &conf(), id, netns).run().silent();
        }
        drop((evil, other));
        before.assert_unchanged();
    });
}

#[test]
fn who_sends_from_its_own_hardware_address_teaches_no_other() {
    isolated(|| {
        let _host = Host::new();
        for key in ["macspoofchk", "ipspoofchk"] {
            let mut network = conf();
            network[key] = json!(true);
            let evil = Namespaced::new("evil");
            add(&network, "evil", &evil);
            flood(&evil);
            let count = learned("br0");
            assert!(count <= 1, "{key}: {count}");
            call("DEL", &network, "evil", &evil).run().silent();
        }
    });
}

const TENANTS: &str = "cleat-tenants";

/// `cleat` for a member of the shipped network.
fn on_tenants(verb: &str, netns: &Namespaced, says: &str) -> String {
    let path = netns.path().to_str().unwrap();
    let mut command = cleat(&[verb, TENANTS, path, "--id", netns.name()]);
    let ports = json!([{"hostPort": 8080, "containerPort": 80}]);
    let ports = if netns.name() == "db" { ports } else { json!([]) };
    command.env("CAP_ARGS", json!({ "portMappings": ports }).to_string());
    command.env("CNI_ARGS", format!("LINK_NAME={}{says}", netns.name()));
    succeed(&mut command)
}

fn tenant(name: &str, says: &str) -> Member {
    let netns = Namespaced::new(name);
    let result = serde_json::from_str(&on_tenants("add", &netns, says)).unwrap();
    Member::of(netns, result)
}

/// Whether a member's datagram comes to the host's 127.0.0.1.
fn reaches_localhost(evil: &Member) -> bool {
    let listener = UdpSocket::bind(("127.0.0.1", PORT)).unwrap();
    listener.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    let bridge = Socket::open().unwrap().get_link("cleat4").unwrap().unwrap().mac.unwrap().octets();
    for from in [evil.v4, Ipv4Addr::new(127, 0, 0, 2)] {
        let datagram = udp(from.into(), Ipv4Addr::LOCALHOST.into());
        evil.send(&frame(bridge, evil.mac, ETH_P_IP, &datagram));
    }
    listener.recv(&mut [0; 9]).is_ok()
}

/// What the network is for works, and nothing else does.
fn tenants_are_served(host: &Host, [db, app, evil]: [&Member; 3]) {
    let linked = format!("{}:5432", db.v4);
    let published = format!("{UPLINK_V4}:8080");
    assert!(ask_tcp(Some(&app.netns), &linked).is_ok());
    for (place, address) in [
        (Some(&host.outside), &published),
        (Some(&app.netns), &published),
        (Some(&evil.netns), &published),
        (None, &published),
        (None, &"127.0.0.1:8080".to_owned()),
        (Some(&evil.netns), &"192.0.2.2:80".to_owned()),
    ] {
        assert!(ask_tcp(place, address).is_ok(), "{place:?} {address}");
    }
    for (place, address) in [
        (&evil.netns, linked),
        (&evil.netns, format!("{}:80", db.v4)),
        (&app.netns, format!("{}:81", db.v4)),
        (&db.netns, format!("{}:5432", app.v4)),
    ] {
        assert!(ask_tcp(Some(place), &address).is_err(), "{place:?} {address}");
    }
}

/// What evil does comes to nothing.
fn tenants_are_safe([db, app, evil]: [&Member; 3]) {
    // In its own name, in that of one who may, from either hardware address.
    for (mac, from) in [(evil.mac, evil.v4), (evil.mac, app.v4), (app.mac, app.v4), (app.mac, evil.v4)] {
        let datagram = udp(from.into(), db.v4.into());
        assert!(!db.gets(evil, &frame(db.mac, mac, ETH_P_IP, &datagram)), "{from}");
    }
    let link_local = udp(evil.link_local().into(), db.link_local().into());
    assert!(!db.gets(evil, &frame(db.mac, evil.mac, ETH_P_IPV6, &link_local)));
    // Neither the others nor the host believe that it has an address of theirs.
    let gateway: Ipv4Addr = "10.95.0.1".parse().unwrap();
    sleep(LOCKED);
    for claimed in [app.v4, gateway] {
        for operation in [1, 2] {
            let claim = arp(operation, (evil.mac, claimed), claimed);
            evil.send(&frame(EVERYBODY, evil.mac, ETH_P_ARP, &claim));
        }
    }
    sleep(Duration::from_millis(100));
    for claimed in [app.v4, gateway] {
        assert_ne!(neighbour(db, claimed.into()), written(evil.mac));
    }
    let known = Command::new("ip").args(["neigh", "show", &app.v4.to_string()]).output().unwrap();
    assert!(!String::from_utf8_lossy(&known.stdout).contains(&written(evil.mac)));
    assert_eq!(follow(&evil.netns, &db.netns), (false, false));
    flood(&evil.netns);
    assert!(learned("cleat4") <= 3, "{}", learned("cleat4"));
    assert!(!reaches_localhost(evil));
}

#[test]
fn the_network_for_tenants_withstands_one_of_them() {
    isolated(|| {
        let host = Host::new();
        install_networks();
        set("all/forwarding", "0");
        set("default/accept_ra", "1");
        let before = Snapshot::take();
        let db = tenant("db", ";LINK_EXPOSE=5432");
        let app = tenant("app", ";LINK_LINKS=db:db");
        let evil = tenant("evil", "");
        for port in [80, 81, 5432] {
            serve_tcp(Some(&db.netns), "db", &format!("0.0.0.0:{port}"));
        }
        serve_tcp(Some(&app.netns), "app", "0.0.0.0:5432");
        serve_tcp(Some(&host.outside), "outside", "0.0.0.0:80");
        let all = [&db, &app, &evil];
        tenants_are_served(&host, all);
        tenants_are_safe(all);
        succeed(&mut cleat(&["conf", "check", "--files-only"]));
        succeed(&mut cleat(&["check"]));
        // Another program loads its own rules: what does not depend on rules holds, and the rest is told and mended.
        shell("nft flush ruleset");
        assert!(!reaches_localhost(&evil));
        assert_eq!(follow(&evil.netns, &db.netns), (false, false));
        let told = cleat(&["check"]).output().unwrap();
        assert!(!told.status.success(), "{told:?}");
        succeed(&mut cleat(&["repair"]));
        succeed(&mut cleat(&["check"]));
        tenants_are_served(&host, all);
        tenants_are_safe(all);
        for member in all {
            on_tenants("del", &member.netns, "");
        }
        drop((db, app, evil));
        before.assert_unchanged();
    });
}
