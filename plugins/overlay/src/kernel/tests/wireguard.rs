//! WireGuard. What needs a kernel that has it is ignored here, and is run on Debian's kernel: `make test-kernels`.

use std::net::UdpSocket;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};

use super::packets::{Node, nodes};
use super::*;
use crate::kernel::Error;
use crate::kernel::tunnel::Hop;
use crate::key::{PrivateKey, PublicKey};

fn secret(number: u16) -> PrivateKey {
    let mut bytes = [0x40; 32];
    bytes[1..3].copy_from_slice(&number.to_be_bytes());
    PrivateKey::new(bytes)
}

/// The same network over WireGuard; the peers by number have these keys.
fn encrypted(mut wanted: Wanted, number: u16, keys: &BTreeMap<u16, PublicKey>) -> Wanted {
    wanted.device.backend = Backend::Wireguard;
    wanted.device.port = 51820;
    wanted.device.key = Some(secret(number));
    wanted.device.mtu -= 10;
    wanted.peers.retain(|_, peer| {
        let Identity::Mac(Mac([.., high, low])) = peer.identity else { return false };
        let key = keys.get(&u16::from_be_bytes([high, low]));
        peer.identity = Identity::Key(key.copied().unwrap_or(PublicKey([0; 32])));
        key.is_some()
    });
    wanted
}

/// A key that nobody has the secret of, which will do where nothing is sent.
fn any_keys(last: u16) -> BTreeMap<u16, PublicKey> {
    (2..=last)
        .map(|number| {
            let mut bytes = [9; 32];
            bytes[..2].copy_from_slice(&number.to_be_bytes());
            (number, PublicKey(bytes))
        })
        .collect()
}

async fn peers(kernel: &Kernel) -> BTreeMap<PublicKey, Hop> {
    let index = kernel.requests.link("vx1").await.unwrap().unwrap().index;
    kernel.wireguard().await.unwrap().read(index, "vx1").await.unwrap().peers
}

/// A kernel that has it makes the device, and one that has not is told of with what to do. No other device is made instead.
#[test]
fn a_kernel_without_wireguard_is_refused() {
    on_a_node(async |kernel| {
        let has_it = Command::new("ip").args(["link", "add", "probe", "type", "wireguard"]).output().unwrap();
        let before = shell("ip -o link; ip route show table all; ip -6 route show table all");
        let mut wanted = encrypted(wanted(2), 1, &any_keys(3));
        let own = std::mem::take(&mut wanted.device.blocks);
        let outcome = kernel.apply(&wanted).await;
        if has_it.status.success() {
            assert!(outcome.unwrap().key.is_some());
            return;
        }
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::NoWireguard { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("vx1") && text.contains("encrypted") && text.contains("modprobe wireguard"),
            "{text}"
        );
        assert_eq!(shell("ip -o link; ip route show table all; ip -6 route show table all"), before);
        // A node with a block, on a kernel that no longer has it: nothing for the others leaves in clear.
        shell("ip route add default via 198.51.100.2");
        wanted.device.blocks = own;
        for _ in 0..2 {
            kernel.apply(&wanted).await.unwrap_err();
            let error = UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"x", "10.128.2.9:7").unwrap_err();
            assert_eq!(error.raw_os_error(), Some(nix::libc::EINVAL), "{error}");
        }
    });
}

#[test]
fn an_encrypted_network_without_a_key_is_refused() {
    on_a_node(async |kernel| {
        let mut wanted = encrypted(wanted(2), 1, &any_keys(3));
        wanted.device.key = None;
        let error = kernel.apply(&wanted).await.unwrap_err();
        assert!(matches!(error, Error::NoKey { .. }), "{error:?}");
        assert!(!shell("ip -o link").contains("vx1"));
    });
}

#[test]
fn a_secret_is_in_no_debug_output() {
    sandbox::isolated(|| {
        shell("ip link add eth0 type bridge");
        let wanted = format!("{:?}", encrypted(wanted(2), 1, &any_keys(3)));
        assert!(wanted.contains("key: Some(PrivateKey(..))"), "{wanted}");
    });
}

/// A device that is ready, with its public key.
async fn start(node: &Node, is_over_v6: bool, keys: &BTreeMap<u16, PublicKey>) -> PublicKey {
    let wanted = encrypted(node.wanted(is_over_v6), node.number, keys);
    let kernel = Kernel::open().unwrap();
    let applied = apply(&kernel, &wanted).await;
    is_settled(&kernel, &wanted).await;
    applied.key.unwrap()
}

/// Has all nodes know each other; their public keys come from the kernel.
fn connect(nodes: &[Node], is_over_v6: bool) -> BTreeMap<u16, PublicKey> {
    let key = |node: &Node| node.with(async |_| start(node, is_over_v6, &BTreeMap::new()).await);
    let keys: BTreeMap<u16, PublicKey> = nodes.iter().map(|node| (node.number, key(node))).collect();
    for node in nodes {
        node.with(async |_| start(node, is_over_v6, &keys).await);
    }
    keys
}

#[test]
#[ignore = "needs a kernel with WireGuard: make test-kernels"]
fn three_nodes_reach_each_other_by_wireguard() {
    sandbox::isolated(|| {
        let nodes = nodes();
        for is_over_v6 in [false, true] {
            connect(&nodes, is_over_v6);
            for node in &nodes {
                for other in nodes.iter().filter(|other| other.number != node.number) {
                    node.reaches(other, if is_over_v6 { 1420 } else { 1440 });
                }
            }
        }
    });
}

/// What is on the wire, read from it.
struct Tap(OwnedFd);

impl Tap {
    fn new() -> Self {
        let flags = SockFlag::SOCK_NONBLOCK;
        Self(socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).unwrap())
    }

    fn frames(&self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(length) = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            frames.push(buffer[..length].to_vec());
        }
        frames
    }
}

fn contains(frame: &[u8], words: &[u8]) -> bool {
    frame.windows(words.len()).any(|window| window == words)
}

const WORDS: &[u8] = b"these words are for the other node alone";

/// Sends the words from an address inside to another. Says whether they came.
fn send(from: &UdpSocket, to: &Node, port: u16) -> bool {
    let target = to.inside()[0];
    let receiver = to.socket(target, port);
    from.send_to(WORDS, (target, port)).unwrap();
    let mut buffer = [0; 100];
    matches!(receiver.recv_from(&mut buffer), Ok((length, _)) if buffer[..length] == *WORDS)
}

#[test]
#[ignore = "needs a kernel with WireGuard: make test-kernels"]
fn nothing_can_be_read_on_the_wire() {
    sandbox::isolated(|| {
        let nodes = nodes();
        let [one, two, _] = &nodes;
        let wanted = [one, two].map(|node| node.wanted(false));
        for (node, wanted) in [one, two].into_iter().zip(&wanted) {
            node.with(async |kernel| apply(&kernel, wanted).await);
        }
        let tap = Tap::new();
        // That it would be seen.
        assert!(send(&one.socket(one.inside()[0], 0), two, 7));
        assert!(tap.frames().iter().any(|frame| contains(frame, WORDS)));
        for (node, wanted) in [one, two].into_iter().zip(&wanted) {
            node.with(async |kernel| kernel.remove("vx1", &wanted.prefixes, None).await.unwrap());
        }
        connect(&nodes, false);
        tap.frames();
        assert!(send(&one.socket(one.inside()[0], 0), two, 7));
        let frames = tap.frames();
        assert!(!frames.iter().any(|frame| contains(frame, WORDS)));
        // Ethernet, IPv4 and UDP, and then data messages of WireGuard, which have the type 4.
        let is_data = |frame: &&Vec<u8>| {
            frame.len() > 46 && frame[36..38] == 51820_u16.to_be_bytes() && frame[42..46] == [4, 0, 0, 0]
        };
        assert!(frames.iter().filter(is_data).count() > 0, "{frames:?}");
        // The same inside the other node, where it is readable again.
        let tap = two.host.enter(Tap::new);
        assert!(send(&one.socket(one.inside()[0], 0), two, 7));
        assert!(tap.frames().iter().any(|frame| contains(frame, WORDS)));
    });
}

#[test]
#[ignore = "needs a kernel with WireGuard: make test-kernels"]
fn packets_of_a_wrong_key_or_with_anothers_address_are_dropped() {
    sandbox::isolated(|| {
        let nodes = nodes();
        let keys = connect(&nodes, false);
        let [one, two, three] = &nodes;
        assert!(send(&two.socket(two.inside()[0], 0), one, 7));
        // Node 3 sends from an address of node 2.
        let theirs = two.inside()[0];
        three.host.enter(|| shell(&format!("ip addr add {theirs}/32 dev lo")));
        assert!(!send(&three.socket(theirs, 0), one, 7));
        assert!(send(&three.socket(three.inside()[0], 0), one, 7), "its own address is taken");
        // A host with all of node 2 but its key.
        let mut false_two = encrypted(two.wanted(false), two.number, &keys);
        false_two.device.key = Some(secret(99));
        two.host.enter(|| shell("ip link del vx1"));
        two.with(async |kernel| apply(&kernel, &false_two).await);
        assert!(!send(&two.socket(theirs, 0), one, 7));
        two.host.enter(|| shell("ip link del vx1"));
        two.with(async |_| start(two, false, &keys).await);
        assert!(send(&two.socket(theirs, 0), one, 7));
    });
}

/// Else what node 1 sends in the old session would be lost for 15 s.
#[test]
#[ignore = "needs a kernel with WireGuard: make test-kernels"]
fn a_node_with_a_new_device_is_reached_at_once() {
    sandbox::isolated(|| {
        let nodes = nodes();
        let keys = connect(&nodes, false);
        let [one, two, _] = &nodes;
        let socket = one.socket(one.inside()[0], 0);
        assert!(send(&socket, two, 7));
        two.host.enter(|| shell("ip link del vx1"));
        two.with(async |_| start(two, false, &keys).await);
        let start = std::time::Instant::now();
        while !send(&socket, two, 7) {
            assert!(start.elapsed() < Duration::from_secs(8));
        }
        // The greeting leaves no keepalive behind, which would be a packet a second.
        let tap = Tap::new();
        std::thread::sleep(Duration::from_secs(15));
        tap.frames();
        std::thread::sleep(Duration::from_secs(4));
        let is_ours = |frame: &Vec<u8>| frame.len() > 46 && frame[36..38] == 51820_u16.to_be_bytes();
        assert_eq!(tap.frames().iter().filter(|frame| is_ours(frame)).count(), 0);
    });
}

#[test]
#[ignore = "needs a kernel with WireGuard: make test-kernels"]
fn a_wireguard_device_is_as_programs_show_it() {
    on_a_node(async |kernel| {
        let wanted = encrypted(wanted(2), 1, &any_keys(3));
        let applied = apply(kernel, &wanted).await;
        let link = &json("ip -j -d link show vx1")[0];
        assert_eq!((&link["linkinfo"]["info_kind"], &link["mtu"]), (&"wireguard".into(), &1440.into()));
        assert_eq!(link["inet6_addr_gen_mode"], "none");
        for (line, block) in [("ip -j", "10.128.2.0/24"), ("ip -j -6", "fd00:201:2::/48")] {
            let route = &json(&format!("{line} route show {block}"))[0];
            assert_eq!((&route["dev"], route.get("gateway")), (&"vx1".into(), None), "{route}");
            assert_eq!(json(&format!("{line} route show type blackhole proto 76")).len(), 1);
        }
        assert!(UdpSocket::bind("0.0.0.0:51820").is_err(), "the port is the device's");
        let found = peers(kernel).await;
        assert_eq!(found.len(), 2);
        let hop = &found[&any_keys(3)[&2]];
        assert_eq!(hop.endpoint, Some("198.51.100.2:51820".parse().unwrap()));
        assert_eq!(hop.blocks, blocks(2).into_iter().collect());
        // The key is that of the secret: another kernel that reads it says the same.
        let again = Kernel::open().unwrap().apply(&wanted).await.unwrap();
        assert_eq!((again.key, again.made, again.removed), (applied.key, 0, 0));
    });
}

#[test]
#[ignore = "needs a kernel with WireGuard: make test-kernels"]
fn a_wireguard_device_that_others_changed_is_mended() {
    on_a_node(async |kernel| {
        let wanted = encrypted(wanted(3), 1, &any_keys(4));
        apply(kernel, &wanted).await;
        is_quiet(kernel, &wanted).await;
        let (before, hops) = (state("vx1"), peers(kernel).await);
        for (change, event) in [
            ("ip link del vx1", Event::Device),
            ("ip link set vx1 down", Event::Device),
            ("ip link set vx1 mtu 1300", Event::Device),
            ("ip link set vx1 mtu 1200", Event::Device),
            ("ip route del 10.128.2.0/24", Event::Entries),
            ("ip -6 route del fd00:201:3::/48", Event::Entries),
            ("ip route add 10.128.55.0/24 dev vx1 proto 76", Event::Entries),
            ("ip addr del 10.128.1.0/32 dev vx1", Event::Entries),
            // It has no key and no port then.
            ("ip link del vx1; ip link add vx1 type wireguard", Event::Device),
        ] {
            shell(change);
            is_told(kernel, &wanted, event, change).await;
            let applied = apply(kernel, &wanted).await;
            assert!(applied.made + applied.removed > 0, "{change}");
            assert_eq!((state("vx1"), peers(kernel).await), (before.clone(), hops.clone()), "{change}");
            is_settled(kernel, &wanted).await;
            drain(kernel, &wanted).await;
        }
        // Of changes of peers the kernel tells nothing; they are found when all is compared.
        let index = kernel.requests.link("vx1").await.unwrap().unwrap().index;
        let wireguard = kernel.wireguard().await.unwrap();
        let (key, extra) = (any_keys(4)[&2], PublicKey([5; 32]));
        let endpoint = "198.51.100.2:51820".parse().unwrap();
        for request in [
            wireguard.remove_peer(index, key),
            wireguard.put_peer(index, key, "198.51.100.99:51820".parse().unwrap(), &[], false),
            wireguard.put_peer(index, key, "198.51.100.2:1".parse().unwrap(), &[], false),
            wireguard.put_peer(index, key, endpoint, &[], true),
            wireguard.put_peer(index, key, endpoint, &blocks(55), false),
            // It takes a block away.
            wireguard.put_peer(index, extra, endpoint, &blocks(3), false),
        ] {
            let what = request.what.clone();
            wireguard.requests.send_one(request).await.unwrap();
            assert_ne!(peers(kernel).await, hops, "{what}");
            apply(kernel, &wanted).await;
            assert_eq!(peers(kernel).await, hops, "{what}");
            is_settled(kernel, &wanted).await;
        }
    });
}

#[test]
#[ignore = "needs a kernel with WireGuard: make test-kernels"]
fn a_wireguard_peer_comes_changes_and_goes() {
    on_a_node(async |kernel| {
        let keys = any_keys(99);
        let with_key = |number: u16| Peer { identity: Identity::Key(keys[&number]), ..peer(number) };
        let mut all = encrypted(wanted(2), 1, &keys);
        apply(kernel, &all).await;
        let (before, hops) = (state("vx1"), peers(kernel).await);
        for _ in 0..2 {
            kernel.put_peer(&all.device, &with_key(9), None).await.unwrap();
        }
        all.peers.insert("node00009".to_owned(), with_key(9));
        is_quiet(kernel, &all).await;
        is_settled(kernel, &all).await;
        // Another address; then another key and other blocks.
        let mut moved = with_key(9);
        moved.address = [198, 51, 100, 90].into();
        kernel.put_peer(&all.device, &moved, Some(&with_key(9))).await.unwrap();
        all.peers.insert("node00009".to_owned(), moved.clone());
        is_settled(kernel, &all).await;
        let changed = Peer { blocks: blocks(91), ..with_key(90) };
        kernel.put_peer(&all.device, &changed, Some(&moved)).await.unwrap();
        all.peers.insert("node00009".to_owned(), changed.clone());
        is_settled(kernel, &all).await;
        for _ in 0..2 {
            kernel.remove_peer(&all.device, &changed).await.unwrap();
            assert_eq!((state("vx1"), peers(kernel).await), (before.clone(), hops.clone()));
        }
        all.peers.remove("node00009");
        // A block that becomes another node's stays with it.
        let (mut loser, mut winner) = (with_key(2), with_key(3));
        loser.blocks.clear();
        winner.blocks.extend(blocks(2));
        kernel.put_peer(&all.device, &winner, Some(&with_key(3))).await.unwrap();
        kernel.put_peer(&all.device, &loser, Some(&with_key(2))).await.unwrap();
        all.peers.insert("node00002".to_owned(), loser);
        all.peers.insert("node00003".to_owned(), winner);
        is_settled(kernel, &all).await;
        // The node's own key, none, and one of another network.
        let own = kernel.apply(&all).await.unwrap().key.unwrap();
        for identity in [Identity::Key(own), Identity::Key(PublicKey([0; 32])), Identity::Mac(mac(9))] {
            let error = kernel.put_peer(&all.device, &Peer { identity, ..peer(9) }, None).await.unwrap_err();
            assert!(matches!(error, Error::IdentityTaken { .. } | Error::UnusableIdentity { .. }), "{error}");
        }
        is_settled(kernel, &all).await;
    });
}

#[test]
#[ignore = "needs a kernel with WireGuard: make test-kernels"]
fn a_wireguard_device_of_others_and_a_port_of_others_are_refused() {
    on_a_node(async |kernel| {
        let first = encrypted(wanted(2), 1, &any_keys(3));
        apply(kernel, &first).await;
        let before = state("vx1");
        let mut other = first.clone();
        other.device.key = Some(secret(2));
        let error = kernel.apply(&other).await.unwrap_err().to_string();
        assert!(error.contains("another key") && error.contains("ip link del vx1"), "{error}");
        let removed = kernel.remove("vx1", &[], Some(&secret(2))).await.unwrap_err().to_string();
        assert!(removed.contains("another key"), "{removed}");
        assert!(shell("ip -o link").contains("vx1"));
        apply(kernel, &first).await;
        assert_eq!(state("vx1"), before);
        for _ in 0..2 {
            kernel.remove("vx1", &first.prefixes, Some(&secret(1))).await.unwrap();
            assert!(!shell("ip -o link; ip route; ip -6 route").contains("vx1"));
        }
        let taken = UdpSocket::bind("0.0.0.0:51820").unwrap();
        let error = kernel.apply(&first).await.unwrap_err();
        assert!(matches!(error, Error::PortInUse { port: 51820, .. }), "{error}");
        drop(taken);
        apply(kernel, &first).await;
        is_settled(kernel, &first).await;
        shell("ip link del vx1; ip link add vx1 type bridge");
        let error = kernel.apply(&first).await.unwrap_err().to_string();
        assert!(error.contains("a device of the kind bridge"), "{error}");
    });
}

#[test]
#[ignore = "needs a kernel with WireGuard: make test-kernels"]
fn a_thousand_wireguard_peers() {
    on_a_node(async |kernel| {
        let all = encrypted(wanted(1000), 1, &any_keys(1001));
        apply(kernel, &all).await;
        assert_eq!(peers(kernel).await.len(), 1000);
        is_settled(kernel, &all).await;
        let mut none = all.clone();
        none.peers.clear();
        apply(kernel, &none).await;
        assert_eq!(peers(kernel).await.len(), 0);
        is_settled(kernel, &none).await;
    });
}
