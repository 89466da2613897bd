use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use netlink::{Bridge, Mac, Namespace, PortFlags, Socket, Veth};

use crate::fixture::{sandboxed, veth};

fn add_ports(socket: &mut Socket, bridge: u32, numbers: std::ops::Range<u32>) {
    let here = Namespace::current().unwrap();
    for number in numbers {
        let (name, peer) = (format!("h{number}"), format!("c{number}"));
        socket.add_veth(&Veth { master: Some(bridge), ..veth(&name, &peer, &here) }).unwrap();
    }
}

/// The shortest of several times: the kernel is still busy with the links that were just made.
fn measured(socket: &mut Socket, bridge: u32, expected: bool) -> Duration {
    let once = |_| {
        let start = Instant::now();
        assert_eq!(socket.has_ports(bridge).unwrap(), expected);
        start.elapsed()
    };
    (0..50).map(once).min().unwrap()
}

sandboxed! {
    fn a_bridge_has_ports_or_not() {
        let mut socket = Socket::open().unwrap();
        let bridge = socket.add_bridge(&Bridge { name: "cni0", ..Bridge::default() }).unwrap().index;
        let other = socket.add_bridge(&Bridge { name: "cni1", ..Bridge::default() }).unwrap().index;
        println!("no port: {:?}", measured(&mut socket, bridge, false));
        add_ports(&mut socket, bridge, 0..1);
        println!("1 port: {:?}", measured(&mut socket, bridge, true));
        add_ports(&mut socket, bridge, 1..300);
        println!("300 ports: {:?}", measured(&mut socket, bridge, true));
        println!("300 ports of another bridge: {:?}", measured(&mut socket, other, false));
        // The socket still works, also from a thread that did not open it.
        assert!(socket.get_link("h299").unwrap().is_some());
        thread::scope(|scope| {
            scope.spawn(|| {
                println!("300 ports, other thread: {:?}", measured(&mut socket, bridge, true));
                assert!(!socket.has_ports(other).unwrap());
                assert!(socket.get_link("h0").unwrap().is_some());
            });
        });
        assert!(!socket.has_ports(4711).unwrap());
        let names: BTreeSet<String> = socket.ports(bridge).unwrap().into_iter().map(|port| port.name).collect();
        assert_eq!(names, (0..300).map(|number| format!("h{number}")).collect());
        assert_eq!(socket.ports(other).unwrap(), []);
    }

    fn a_bridge_forwards_while_a_port_does() {
        let mut socket = Socket::open().unwrap();
        // In Linux 6.18 a bridge made without a MAC address has a carrier from the start, although no port forwards.
        for (bridge, mac) in [("cni0", None), ("cni1", Some(Mac::from([2, 0, 0, 0, 0, 1])))] {
            let bridge = socket.add_bridge(&Bridge { name: bridge, mac, ..Bridge::default() }).unwrap().index;
            let forwards = |socket: &mut Socket| socket.get_link_by_index(bridge).unwrap().unwrap().forwards();
            for number in 0..20 {
                assert!(!forwards(&mut socket));
                add_ports(&mut socket, bridge, number..number + 1);
                let index = |socket: &mut Socket, name: String| socket.get_link(&name).unwrap().unwrap().index;
                let (port, peer) =
                    (index(&mut socket, format!("h{number}")), index(&mut socket, format!("c{number}")));
                socket.set_up(peer).unwrap();
                let deadline = Instant::now() + Duration::from_secs(10);
                while !forwards(&mut socket) {
                    assert!(Instant::now() < deadline);
                }
                socket.del_link(port).unwrap();
                assert!(!forwards(&mut socket), "forwarding ends with the last port, at once");
            }
        }
    }

    fn flags_are_set_and_read() {
        let mut socket = Socket::open().unwrap();
        let bridge = socket.add_bridge(&Bridge { name: "cni0", ..Bridge::default() }).unwrap().index;
        add_ports(&mut socket, bridge, 0..1);
        let port = socket.get_link("h0").unwrap().unwrap().index;
        let off = PortFlags { hairpin: Some(false), isolated: Some(false), forwarding: Some(false) };
        // In Linux 6.1 a new port forwards until the kernel notices that it has no carrier.
        let deadline = Instant::now() + Duration::from_secs(10);
        while socket.get_bridge_port(port).unwrap() != Some(off) {
            assert!(Instant::now() < deadline, "{:?}", socket.get_bridge_port(port).unwrap());
        }
        socket.set_bridge_port(port, &PortFlags { hairpin: Some(true), ..PortFlags::default() }).unwrap();
        assert_eq!(socket.get_bridge_port(port).unwrap(), Some(PortFlags { hairpin: Some(true), ..off }));
        let swapped = PortFlags { hairpin: Some(false), isolated: Some(true), ..off };
        socket.set_bridge_port(port, &swapped).unwrap();
        assert_eq!(socket.get_bridge_port(port).unwrap(), Some(swapped));

        // A port forwards once its other end is up, and not before.
        let forward = PortFlags { forwarding: Some(true), ..PortFlags::default() };
        assert!(socket.set_bridge_port(port, &forward).unwrap_err().is_down());
        let peer = socket.get_link("c0").unwrap().unwrap().index;
        socket.set_up(peer).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while socket.get_bridge_port(port).unwrap().unwrap().forwarding != Some(true) {
            assert!(Instant::now() < deadline);
            let _ = socket.set_bridge_port(port, &forward);
        }

        assert_eq!(socket.get_bridge_port(bridge).unwrap(), None);
        assert_eq!(socket.get_bridge_port(4711).unwrap(), None);
        println!("{}", socket.set_bridge_port(bridge, &off).unwrap_err());
        println!("{}", socket.set_bridge_port(4711, &off).unwrap_err());
    }

    fn a_full_bridge_says_so() {
        let mut socket = Socket::open().unwrap();
        let bridge = socket.add_bridge(&Bridge { name: "cni0", ..Bridge::default() }).unwrap().index;
        add_ports(&mut socket, bridge, 0..1023);
        println!("1023 ports: {:?}", measured(&mut socket, bridge, true));
        let here = Namespace::current().unwrap();
        let one_more = Veth { master: Some(bridge), ..veth("more", "less", &here) };
        let error = socket.add_veth(&one_more).unwrap_err();
        println!("{error}");
        assert_eq!(error.errno(), Some(nix::libc::EXFULL));
        assert_eq!(socket.get_link("more").unwrap(), None);
        assert_eq!(socket.get_link("less").unwrap(), None);
    }
}
