use netlink::{Family, Namespace, Socket, sysctl};

use crate::fixture::{sandboxed, veth};

sandboxed! {
    fn forwarding_is_what_the_sysctls_say() {
        let mut socket = Socket::open().unwrap();
        let parameters =
            [(Family::V4, "net/ipv4/ip_forward"), (Family::V6, "net/ipv6/conf/all/forwarding")];
        for (family, path) in parameters {
            for value in ["1", "0", "1"] {
                sysctl::set(path, value).unwrap();
                assert_eq!(socket.forwards(family).unwrap(), value == "1", "{family:?}");
            }
        }
    }

    fn parameters_of_a_link_are_what_the_sysctls_say() {
        let mut socket = Socket::open().unwrap();
        let here = Namespace::current().unwrap();
        let link = socket.add_veth(&veth("a", "b", &here)).unwrap();
        let read = |name: &str| sysctl::get(&format!("net/ipv4/conf/a/{name}")).unwrap();
        let before = [read("arp_notify"), read("route_localnet"), read("forwarding"), read("arp_ignore")];
        assert_eq!(before[..2], ["0", "0"]);
        assert_eq!(socket.get_link("a").unwrap().unwrap().route_localnet, Some(false));
        socket.announce_addresses(link).unwrap();
        assert_eq!(read("arp_notify"), "1");
        socket.route_localnet(link).unwrap();
        assert_eq!(socket.get_link("a").unwrap().unwrap().route_localnet, Some(true));
        // No other parameter is changed, and none of the peer.
        assert_eq!([read("arp_notify"), read("route_localnet")], ["1", "1"]);
        assert_eq!([read("forwarding"), read("arp_ignore")], before[2..]);
        assert_eq!(socket.get_link("b").unwrap().unwrap().route_localnet, Some(false));
        sysctl::set("net/ipv4/conf/a/route_localnet", "0").unwrap();
        assert_eq!(socket.get_link("a").unwrap().unwrap().route_localnet, Some(false));
        let gone = socket.announce_addresses(link + 100).unwrap_err();
        assert!(gone.is_not_found() && gone.to_string().contains("announce its addresses"), "{gone}");
    }
}
