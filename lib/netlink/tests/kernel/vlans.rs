use netlink::{Bridge, BridgeVlan, Namespace, Socket, Veth, VlanMember};

use crate::fixture::{sandboxed, veth};

const DEFAULT: BridgeVlan = BridgeVlan { first: 1, last: 1, pvid: true, untagged: true };
const ACCESS: BridgeVlan = BridgeVlan { first: 10, ..BridgeVlan { last: 10, ..DEFAULT } };
const TRUNK: BridgeVlan = BridgeVlan { first: 100, last: 120, pvid: false, untagged: false };

sandboxed! {
    #[ignore = "needs a kernel with CONFIG_BRIDGE_VLAN_FILTERING"]
    fn added_read_and_deleted() {
        let mut socket = Socket::open().unwrap();
        let bridge = socket.add_bridge(&Bridge { name: "cni0", vlan_filtering: true, ..Bridge::default() }).unwrap();
        let here = Namespace::current().unwrap();
        let port = socket.add_veth(&Veth { master: Some(bridge), ..veth("h0", "c0", &here) }).unwrap();
        assert_eq!(socket.bridge_vlans(port).unwrap(), [DEFAULT]);

        socket.add_bridge_vlan(VlanMember::Port(port), &ACCESS).unwrap();
        socket.add_bridge_vlan(VlanMember::Port(port), &TRUNK).unwrap();
        assert!(socket.del_bridge_vlan(VlanMember::Port(port), &DEFAULT).unwrap());
        assert!(!socket.del_bridge_vlan(VlanMember::Port(port), &DEFAULT).unwrap());
        assert_eq!(socket.bridge_vlans(port).unwrap(), [ACCESS, TRUNK]);

        let tagged = BridgeVlan { first: 10, last: 10, ..TRUNK };
        socket.add_bridge_vlan(VlanMember::Bridge(bridge), &tagged).unwrap();
        assert_eq!(socket.bridge_vlans(bridge).unwrap(), [DEFAULT, tagged]);
        assert!(socket.del_bridge_vlan(VlanMember::Bridge(bridge), &tagged).unwrap());
        assert_eq!(socket.bridge_vlans(bridge).unwrap(), [DEFAULT]);
    }

    fn missing_links() {
        let mut socket = Socket::open().unwrap();
        let error = socket.add_bridge_vlan(VlanMember::Port(4711), &TRUNK).unwrap_err();
        assert_eq!(error.to_string(), "add VLAN 100-120 to link 4711: no such device (unknown ifindex)");
    }
}
