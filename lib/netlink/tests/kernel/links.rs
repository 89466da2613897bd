use netlink::{Bridge, BridgeNetfilter, Mac, Peer, Socket, Veth};

use crate::fixture::{Container, link, sandboxed, veth};

const HOST: Mac = mac(1);
const INSIDE: Mac = mac(2);

const fn mac(last: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 0, last])
}

sandboxed! {
    fn bridge_has_what_was_asked_for() {
        let mut socket = Socket::open().unwrap();
        let bridge = Bridge {
            name: "cni0", mac: Some(HOST), mtu: Some(1400), vlan_filtering: false,
            fdb_max_learned: Some(4_000), alias: Some("a network"),
        };
        let echoed = socket.add_bridge(&bridge).unwrap();
        let link = link(&mut socket, "cni0");
        // Its ports decide about the carrier a little later.
        let state = netlink::Link { carrier: link.carrier, operational: link.operational, ..echoed };
        assert_eq!(state, link);
        assert_eq!((link.mac, link.mtu, link.up), (Some(HOST), 1400, true));
        assert_eq!((link.kind.as_deref(), link.vlan_filtering), (Some("bridge"), Some(false)));
        assert_eq!(link.alias.as_deref(), Some("a network"));

        let error = socket.add_bridge(&bridge).unwrap_err();
        assert!(error.is_exists());
        assert_eq!(error.to_string(), "add bridge cni0: file exists");
        let plain = socket.add_bridge(&Bridge { name: "cni1", ..Bridge::default() }).unwrap().index;
        let plain = socket.get_link_by_index(plain).unwrap().unwrap();
        assert_eq!((plain.alias, plain.vlan_filtering), (None, Some(false)));
    }

    fn a_bridge_has_netfilter_switches_of_its_own() {
        let mut socket = Socket::open().unwrap();
        let mut make = |name| socket.add_bridge(&Bridge { name, ..Bridge::default() }).unwrap().index;
        let (one, other) = (make("cni0"), make("cni1"));
        for switches in [BridgeNetfilter::ON, BridgeNetfilter { ipv4: false, ipv6: true }, BridgeNetfilter::default()] {
            socket.set_bridge_netfilter(one, switches).unwrap();
            assert_eq!(link(&mut socket, "cni0").netfilter, Some(switches));
            assert_eq!(link(&mut socket, "cni1").netfilter, Some(BridgeNetfilter::default()));
        }
        socket.del_link(other).unwrap();
        assert!(socket.set_bridge_netfilter(other, BridgeNetfilter::ON).unwrap_err().is_not_found());
    }

    fn veth_is_made_in_one_piece() {
        let container = Container::start();
        let mut socket = Socket::open().unwrap();
        let bridge = socket.add_bridge(&Bridge { name: "cni0", mtu: Some(1400), ..Bridge::default() }).unwrap().index;
        let wanted = Veth {
            mac: Some(HOST),
            mtu: Some(1400),
            master: Some(bridge),
            alias: Some("cleat: a"),
            peer: Peer { mac: Some(INSIDE), ..veth("veth0", "eth0", &container.namespace).peer },
            ..veth("veth0", "eth0", &container.namespace)
        };
        let index = socket.add_veth(&wanted).unwrap();
        let host = socket.get_link_by_index(index).unwrap().unwrap();
        assert_eq!((host.name.as_str(), host.mac, host.mtu), ("veth0", Some(HOST), 1400));
        assert_eq!((host.up, host.carrier, host.promisc), (true, false, false));
        assert_eq!((host.master, host.kind.as_deref()), (Some(bridge), Some("veth")));
        assert_eq!(host.alias.as_deref(), Some("cleat: a"));

        let mut inside = container.namespace.socket().unwrap();
        let peer = link(&mut inside, "eth0");
        assert_eq!((peer.mac, peer.mtu, peer.up), (Some(INSIDE), 1400, false));
        assert_eq!((peer.peer_index, host.peer_index), (Some(index), Some(peer.index)));
        assert_eq!((peer.master, peer.alias), (None, None));
        inside.set_up(peer.index).unwrap();
        assert!(link(&mut socket, "veth0").carrier);
    }

    fn refused_veth_leaves_nothing() {
        let container = Container::start();
        let mut socket = Socket::open().unwrap();
        socket.add_veth(&veth("veth0", "eth0", &container.namespace)).unwrap();
        let taken = socket.add_veth(&veth("veth1", "eth0", &container.namespace)).unwrap_err();
        assert!(taken.is_exists());
        assert_eq!(taken.to_string(), "add veth veth1 with peer eth0: file exists");
        let no_master = Veth { master: Some(4711), ..veth("veth1", "eth1", &container.namespace) };
        let error = socket.add_veth(&no_master).unwrap_err();
        println!("{error}");
        // An alias is limited to 255 bytes, and is set after the link was made.
        let long = "x".repeat(256);
        let alias = Veth { alias: Some(&long), ..veth("veth1", "eth1", &container.namespace) };
        println!("{}", socket.add_veth(&alias).unwrap_err());
        assert_eq!(socket.get_link("veth1").unwrap(), None);
        let mut inside = container.namespace.socket().unwrap();
        assert_eq!(inside.get_link("eth1").unwrap(), None);
        let error = socket.add_bridge(&Bridge { name: "a-name-of-16-byt", ..Bridge::default() }).unwrap_err();
        println!("{error}");
        assert!(error.to_string().contains('('), "the kernel's own words: {error}");
    }

    fn missing_links() {
        let mut socket = Socket::open().unwrap();
        assert_eq!(socket.get_link("nothing").unwrap(), None);
        assert_eq!(socket.get_link_by_index(4711).unwrap(), None);
        assert!(!socket.del_link(4711).unwrap());
        assert!(!socket.del_link_by_name("nothing").unwrap());
        let error = socket.set_up(4711).unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(error.to_string(), "set link 4711 up: no such device");
    }

    fn set_and_delete() {
        let container = Container::start();
        let mut socket = Socket::open().unwrap();
        let bridge = socket.add_bridge(&Bridge { name: "cni0", ..Bridge::default() }).unwrap().index;
        let index = socket.add_veth(&veth("veth0", "eth0", &container.namespace)).unwrap();
        socket.set_mtu(index, 1300).unwrap();
        socket.set_mac(index, INSIDE).unwrap();
        socket.set_alias(index, "one").unwrap();
        socket.set_promisc(index, true).unwrap();
        socket.set_master(index, Some(bridge)).unwrap();
        socket.set_down(index).unwrap();
        let changed = link(&mut socket, "veth0");
        assert_eq!((changed.mtu, changed.mac, changed.alias.as_deref()), (1300, Some(INSIDE), Some("one")));
        assert_eq!((changed.promisc, changed.master, changed.up), (true, Some(bridge), false));
        socket.set_promisc(index, false).unwrap();
        socket.set_master(index, None).unwrap();
        socket.set_alias(index, "").unwrap();
        socket.set_up(index).unwrap();
        let changed = link(&mut socket, "veth0");
        assert_eq!((changed.promisc, changed.master, changed.up, changed.alias), (false, None, true, None));

        assert!(socket.del_link(index).unwrap());
        assert!(socket.del_link_by_name("cni0").unwrap());
        assert_eq!(container.namespace.socket().unwrap().get_link("eth0").unwrap(), None);
    }
}
