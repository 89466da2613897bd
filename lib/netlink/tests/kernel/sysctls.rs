use netlink::{Bridge, Socket, sysctl};

use crate::fixture::sandboxed;

sandboxed! {
    fn written_only_where_they_differ() {
        let path = "net/ipv4/ip_forward";
        assert_eq!(sysctl::get(path).unwrap(), "0");
        assert!(sysctl::set(path, "1").unwrap());
        assert!(!sysctl::set(path, "1").unwrap());
        assert_eq!(sysctl::get(path).unwrap(), "1");
        sysctl::set("net/ipv4/ip_local_port_range", "30000 40000").unwrap();
        assert!(!sysctl::set("net/ipv4/ip_local_port_range", "30000 40000").unwrap());
    }

    fn interface_names_may_have_dots() {
        let mut socket = Socket::open().unwrap();
        socket.add_bridge(&Bridge { name: "cni0.7", ..Bridge::default() }).unwrap();
        assert!(sysctl::set("net/ipv4/conf/cni0.7/route_localnet", "1").unwrap());
        assert_eq!(sysctl::get("net/ipv4/conf/cni0.7/route_localnet").unwrap(), "1");
    }

    fn refusals_say_why() {
        let error = sysctl::set("net/ipv4/ip_forward", "maybe").unwrap_err();
        assert_eq!(error.to_string(), "set sysctl net/ipv4/ip_forward to maybe: invalid argument");
        assert!(sysctl::set("net/ipv4/nothing", "1").unwrap_err().is_not_found());
    }
}
