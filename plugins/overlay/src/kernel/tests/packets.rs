//! Three nodes on one wire, each with its own [`Kernel`], and real packets between them.

use std::net::UdpSocket;
use std::sync::mpsc;
use std::thread;

use sandbox::Namespaced;

use super::*;

/// A node in a namespace of its own, with a container's block behind a bridge.
pub(super) struct Node {
    pub(super) number: u16,
    pub(super) host: Namespaced,
}

impl Node {
    fn new(number: u16) -> Self {
        let host = Namespaced::new(&format!("node{number}"));
        shell(&format!(
            "ip link add wire{number} type veth peer name eth0 netns node{number}; ip link set wire{number} master wire up"
        ));
        host.enter(|| {
            shell(&format!(
                "ip link set eth0 up; ip addr add 198.51.100.{number}/24 dev eth0; ip addr add 2001:db8:51::{number}/64 dev eth0 nodad
                 ip addr add 10.128.{number}.9/32 dev lo; ip addr add fd00:201:{number}::9/128 dev lo nodad"
            ));
        });
        Self { number, host }
    }

    /// Runs a function with a kernel of the node.
    pub(super) fn with<T: Send>(&self, function: impl AsyncFnOnce(Kernel) -> T + Send) -> T {
        self.host.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { function(Kernel::open().unwrap()).await })
        })
    }

    /// The network as this node is to have it.
    pub(super) fn wanted(&self, is_over_v6: bool) -> Wanted {
        let mut all = self.host.enter(|| wanted(0));
        all.device.local = [198, 51, 100, u8::try_from(self.number).unwrap()].into();
        (all.device.mac, all.device.blocks) = (mac(self.number), blocks(self.number));
        for number in [1, 2, 3].into_iter().filter(|number| *number != self.number) {
            all.peers.insert(format!("node{number}"), peer(number));
        }
        if is_over_v6 {
            let local = format!("2001:db8:51::{}", self.number).parse().unwrap();
            all = over_v6(all);
            all.device.local = local;
        }
        all
    }

    /// The node's addresses inside, of both families.
    pub(super) fn inside(&self) -> [IpAddr; 2] {
        [format!("10.128.{}.9", self.number), format!("fd00:201:{}::9", self.number)]
            .map(|ip| ip.parse().unwrap())
    }

    /// A socket at one of its addresses inside.
    pub(super) fn socket(&self, address: IpAddr, port: u16) -> UdpSocket {
        let socket = self.host.enter(|| UdpSocket::bind((address, port)).unwrap());
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        socket
    }

    /// Packets of the largest size get to another node, of both families, from an address inside and from the node itself.
    pub(super) fn reaches(&self, other: &Self, mtu: u16) {
        for (own, theirs) in self.inside().into_iter().zip(other.inside()) {
            // The headers of IP and UDP.
            let payload = vec![7; usize::from(mtu) - if own.is_ipv4() { 28 } else { 48 }];
            let receiver = other.socket(theirs, 7);
            let any = if own.is_ipv4() { "0.0.0.0" } else { "::" }.parse().unwrap();
            let itself = self
                .wanted(false)
                .device
                .blocks
                .iter()
                .map(ipnetwork::IpNetwork::network)
                .collect::<Vec<_>>();
            for (from, seen) in [(own, own), (any, itself[usize::from(own.is_ipv6())])] {
                self.socket(from, 0).send_to(&payload, (theirs, 7)).unwrap();
                let mut buffer = [0; 2000];
                let (length, sender) = receiver
                    .recv_from(&mut buffer)
                    .unwrap_or_else(|error| panic!("{from} to {theirs}: {error}"));
                assert_eq!((length, sender.ip()), (payload.len(), seen));
            }
        }
    }
}

pub(super) fn nodes() -> [Node; 3] {
    shell("ip link set lo up; ip link add wire type bridge; ip link set wire up");
    [1, 2, 3].map(Node::new)
}

#[test]
fn three_nodes_reach_each_other() {
    sandbox::isolated(|| {
        let nodes = nodes();
        for is_over_v6 in [false, true] {
            for node in &nodes {
                let wanted = node.wanted(is_over_v6);
                node.with(async |kernel| apply(&kernel, &wanted).await);
            }
            for node in &nodes {
                for other in nodes.iter().filter(|other| other.number != node.number) {
                    node.reaches(other, if is_over_v6 { 1430 } else { 1450 });
                }
            }
        }
    });
}

#[test]
fn an_address_of_the_network_that_no_node_has_is_dropped() {
    sandbox::isolated(|| {
        let nodes = nodes();
        let wanted = nodes[0].wanted(false);
        nodes[0].with(async |kernel| apply(&kernel, &wanted).await);
        nodes[0].host.enter(|| {
            shell("ip route add default via 198.51.100.2; ip -6 route add default via 2001:db8:51::2");
        });
        for (own, nobody) in nodes[0].inside().into_iter().zip(["10.128.77.1", "fd00:201:77::1"]) {
            let error = nodes[0].socket(own, 0).send_to(b"x", (nobody, 7)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(nix::libc::EINVAL), "{error}");
        }
    });
}

/// Sends a datagram each millisecond through the network while something is done, and returns how many were sent and came.
fn lost_while(from: &Node, to: &Node, action: impl FnOnce()) -> (u32, u32) {
    let target = to.inside()[0];
    let receiver = to.socket(target, 7);
    receiver.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let sender = from.socket(from.inside()[0], 0);
    let (stop, stopped) = mpsc::channel::<()>();
    let sending = thread::spawn(move || {
        let mut sent = 0;
        while stopped.try_recv().is_err() {
            sent += u32::from(sender.send_to(b"x", (target, 7)).is_ok());
            thread::sleep(Duration::from_millis(1));
        }
        sent
    });
    let receiving = thread::spawn(move || {
        let mut came = 0;
        while receiver.recv_from(&mut [0; 8]).is_ok() {
            came += 1;
        }
        came
    });
    thread::sleep(Duration::from_millis(50));
    action();
    thread::sleep(Duration::from_millis(50));
    stop.send(()).unwrap();
    (sending.join().unwrap(), receiving.join().unwrap())
}

#[test]
fn no_packet_is_lost_where_a_peer_gets_another_address() {
    sandbox::isolated(|| {
        let nodes = nodes();
        for node in &nodes {
            let wanted = node.wanted(false);
            node.with(async |kernel| apply(&kernel, &wanted).await);
        }
        nodes[1].host.enter(|| shell("ip addr add 198.51.100.22/24 dev eth0"));
        let wanted = nodes[0].wanted(false);
        let mut moved = peer(2);
        moved.address = [198, 51, 100, 22].into();
        let (sent, came) = lost_while(&nodes[0], &nodes[1], || {
            nodes[0].with(async |kernel| {
                apply(&kernel, &wanted).await;
                for _ in 0..20 {
                    kernel.put_peer(&wanted.device, &moved, Some(&peer(2))).await.unwrap();
                    kernel.put_peer(&wanted.device, &peer(2), Some(&moved)).await.unwrap();
                }
                kernel.put_peer(&wanted.device, &moved, Some(&peer(2))).await.unwrap();
            });
        });
        assert!(sent > 10 && sent == came, "{sent} sent, {came} came");
        let fdb = nodes[0].host.enter(|| shell("bridge fdb show dev vx1"));
        assert!(fdb.contains("198.51.100.22") && !fdb.contains("198.51.100.2 "), "{fdb}");
    });
}

#[test]
fn a_peer_with_another_mac_address_is_reached_at_once() {
    sandbox::isolated(|| {
        let nodes = nodes();
        for node in &nodes {
            let wanted = node.wanted(false);
            node.with(async |kernel| apply(&kernel, &wanted).await);
        }
        let mut theirs = nodes[1].wanted(false);
        theirs.device.mac = mac(0x77);
        let mut wanted = nodes[0].wanted(false);
        wanted.peers.get_mut("node2").unwrap().identity = Identity::Mac(mac(0x77));
        nodes[1].with(async |kernel| apply(&kernel, &theirs).await);
        nodes[0].with(async |kernel| {
            apply(&kernel, &wanted).await;
            is_settled(&kernel, &wanted).await;
        });
        nodes[0].reaches(&nodes[1], 1450);
        let fdb = nodes[0].host.enter(|| shell("bridge fdb show dev vx1"));
        assert!(!fdb.contains("02:00:00:00:00:02"), "{fdb}");
    });
}
