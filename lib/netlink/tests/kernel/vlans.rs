use netlink::{Bridge, BridgeVlan, Namespace, Socket, Veth, VlanDevice, VlanMember};

use crate::fixture::{sandboxed, veth};

const DEFAULT: BridgeVlan = BridgeVlan { first: 1, last: 1, pvid: true, untagged: true };
const ACCESS: BridgeVlan = BridgeVlan { first: 10, ..BridgeVlan { last: 10, ..DEFAULT } };
const TRUNK: BridgeVlan = BridgeVlan { first: 100, last: 120, pvid: false, untagged: false };

sandboxed! {
    /// A kernel without `CONFIG_BRIDGE_VLAN_FILTERING` refuses such a bridge: then only the refusal is tested.
    fn added_read_and_deleted_or_refused_by_name() {
        let mut socket = Socket::open().unwrap();
        let filtering = Bridge { name: "cni0", vlan_filtering: true, ..Bridge::default() };
        let bridge = match socket.add_bridge(&filtering) {
            Ok(bridge) => bridge.index,
            Err(error) => {
                assert_eq!(error.errno(), Some(nix::libc::EOPNOTSUPP), "{error}");
                assert!(error.to_string().starts_with("add bridge cni0: operation not supported"), "{error}");
                assert_eq!(socket.get_link("cni0").unwrap(), None);
                return;
            }
        };
        let here = Namespace::current().unwrap();
        let port = socket.add_veth(&Veth { master: Some(bridge), ..veth("h0", "c0", &here) }).unwrap();
        assert_eq!(socket.bridge_vlans(port).unwrap(), [DEFAULT]);

        socket.add_bridge_vlan(VlanMember::Port(port), &ACCESS).unwrap();
        socket.add_bridge_vlan(VlanMember::Port(port), &TRUNK).unwrap();
        for _ in 0..2 {
            socket.del_bridge_vlan(VlanMember::Port(port), &DEFAULT).unwrap();
        }
        assert_eq!(socket.bridge_vlans(port).unwrap(), [ACCESS, TRUNK]);

        let tagged = BridgeVlan { first: 10, last: 10, ..TRUNK };
        socket.add_bridge_vlan(VlanMember::Bridge(bridge), &tagged).unwrap();
        assert_eq!(socket.bridge_vlans(bridge).unwrap(), [DEFAULT, tagged]);
        let on = |socket: &mut Socket, vlan| socket.has_vlan(bridge, vlan).unwrap();
        assert_eq!([1, 10, 99, 100, 110, 120].map(|vlan| on(&mut socket, vlan)), [false, true, false, true, true, true]);
        socket.del_bridge_vlan(VlanMember::Port(port), &ACCESS).unwrap();
        assert!(!on(&mut socket, 10), "the bridge's own VLANs do not count");
        socket.del_bridge_vlan(VlanMember::Bridge(bridge), &tagged).unwrap();
        assert_eq!(socket.bridge_vlans(bridge).unwrap(), [DEFAULT]);

        let device = VlanDevice { name: "cni0.10", link: bridge, id: 10, alias: Some("a VLAN") };
        let index = socket.add_vlan_device(&device).unwrap();
        assert!(socket.add_vlan_device(&device).unwrap_err().is_exists());
        let found = socket.get_link("cni0.10").unwrap().unwrap();
        assert_eq!((found.index, found.peer_index, found.vlan_id, found.up), (index, Some(bridge), Some(10), true));
        assert_eq!(found.alias.as_deref(), Some("a VLAN"));
        // The kernel deletes the VLAN device with its bridge.
        assert!(socket.del_link(bridge).unwrap());
        assert_eq!(socket.get_link("cni0.10").unwrap(), None);
    }

    fn filtering_is_switched_on_or_refused_by_name() {
        let mut socket = Socket::open().unwrap();
        let bridge = socket.add_bridge(&Bridge { name: "cni0", ..Bridge::default() }).unwrap().index;
        match socket.set_vlan_filtering(bridge, true) {
            Ok(()) => {
                assert_eq!(socket.get_link("cni0").unwrap().unwrap().vlan_filtering, Some(true));
                socket.set_vlan_filtering(bridge, false).unwrap();
            }
            Err(error) => assert_eq!(error.errno(), Some(nix::libc::EOPNOTSUPP), "{error}"),
        }
        assert_eq!(socket.get_link("cni0").unwrap().unwrap().vlan_filtering, Some(false));
    }

    fn missing_links() {
        let mut socket = Socket::open().unwrap();
        let error = socket.add_bridge_vlan(VlanMember::Port(4711), &TRUNK).unwrap_err();
        assert_eq!(error.to_string(), "add VLAN 100-120 to link 4711: no such device (unknown ifindex)");
    }
}
