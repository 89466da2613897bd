use std::thread::sleep;
use std::time::{Duration, Instant};

use netlink::{Address, AddressFlags, Bridge, IpNetwork, Namespace, Socket, Veth, sysctl};

use crate::fixture::{sandboxed, veth};

fn network(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

const NODAD: AddressFlags = AddressFlags { nodad: true, noprefixroute: false };
const PLAIN: AddressFlags = AddressFlags { nodad: false, noprefixroute: false };

/// A bridge with a port whose peer is up: without a carrier the kernel does not bring IPv6 addresses into use.
fn bridge(socket: &mut Socket) -> u32 {
    let bridge = socket.add_bridge(&Bridge { name: "cni0", ..Bridge::default() }).unwrap().index;
    let here = Namespace::current().unwrap();
    socket.add_veth(&Veth { master: Some(bridge), ..veth("h0", "c0", &here) }).unwrap();
    let peer = socket.get_link("c0").unwrap().unwrap().index;
    socket.set_up(peer).unwrap();
    bridge
}

fn without_link_local(mut addresses: Vec<Address>) -> Vec<Address> {
    addresses.retain(|address| !address.network.to_string().starts_with("fe80"));
    addresses
}

sandboxed! {
    fn added_read_and_deleted() {
        let mut socket = Socket::open().unwrap();
        let index = bridge(&mut socket);
        let (v4, v6) = (network("10.88.0.1/16"), network("fd00::1/64"));
        assert!(socket.add_address(index, v4, PLAIN).unwrap());
        assert!(!socket.add_address(index, v4, PLAIN).unwrap());
        assert!(socket.add_address(index, v6, NODAD).unwrap());
        assert!(!socket.add_address(index, v6, NODAD).unwrap());
        let lo = socket.get_link("lo").unwrap().unwrap().index;
        assert!(socket.add_address(lo, network("127.0.0.1/8"), PLAIN).unwrap());

        let found = without_link_local(socket.addresses(index).unwrap());
        let address = |network, flags| Address { network, flags, secondary: false, tentative: false, dadfailed: false };
        assert_eq!(found, [address(v4, PLAIN), address(v6, NODAD)]);
        assert_eq!(socket.addresses(lo).unwrap(), [address(network("127.0.0.1/8"), PLAIN)]);

        assert!(socket.del_address(index, v4).unwrap());
        assert!(!socket.del_address(index, v4).unwrap());
        assert!(socket.del_address(index, v6).unwrap());
        assert!(!socket.del_address(index, v6).unwrap());
        assert_eq!(without_link_local(socket.addresses(index).unwrap()), []);
    }

    fn broadcast_and_scope_are_as_ip_sets_them() {
        let mut socket = Socket::open().unwrap();
        let index = bridge(&mut socket);
        socket.add_address(index, network("10.88.0.1/16"), PLAIN).unwrap();
        socket.add_address(index, network("10.99.0.1/32"), PLAIN).unwrap();
        let lo = socket.get_link("lo").unwrap().unwrap().index;
        socket.add_address(lo, network("127.0.0.1/8"), PLAIN).unwrap();
        let shown = ip_address_show();
        assert!(shown.contains("inet 10.88.0.1/16 brd 10.88.255.255 scope global cni0"), "{shown}");
        assert!(shown.contains("inet 10.99.0.1/32 scope global cni0"), "{shown}");
        assert!(shown.contains("inet 127.0.0.1/8 brd 127.255.255.255 scope host lo"), "{shown}");
    }

    fn tentative_until_detection_is_over() {
        let mut socket = Socket::open().unwrap();
        let index = bridge(&mut socket);
        sysctl::set("net/ipv6/conf/cni0/accept_dad", "1").unwrap();
        let address = network("fd00::1/64");
        socket.add_address(index, address, PLAIN).unwrap();
        let mut tentative = || {
            let all = socket.addresses(index).unwrap();
            all.iter().find(|found| found.network == address).unwrap().tentative
        };
        assert!(tentative());
        let start = Instant::now();
        while tentative() {
            assert!(start.elapsed() < Duration::from_secs(20));
            sleep(Duration::from_millis(50));
        }
    }

    fn without_a_route_to_the_network() {
        let mut socket = Socket::open().unwrap();
        let index = bridge(&mut socket);
        let flags = AddressFlags { nodad: false, noprefixroute: true };
        socket.add_address(index, network("10.88.0.1/16"), flags).unwrap();
        assert_eq!(socket.addresses(index).unwrap()[0].flags, flags);
        assert!(socket.routes(index).unwrap().iter().all(|route| route.dst.is_ipv6()));
    }

    fn missing_links() {
        let mut socket = Socket::open().unwrap();
        let error = socket.add_address(4711, network("10.88.0.1/16"), PLAIN).unwrap_err();
        assert!(error.is_not_found());
        println!("{error}");
        println!("{:?}", socket.addresses(4711).map_err(|error| error.to_string()));
        println!("{:?}", socket.del_address(4711, network("10.88.0.1/16")).map_err(|error| error.to_string()));
    }
}

#[allow(clippy::disallowed_methods, reason = "ip-address(8) is what the result is compared with")]
fn ip_address_show() -> String {
    let output = std::process::Command::new("ip").args(["-4", "address"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}
