use netlink::{AddressFlags, Namespace, Route, Socket};

use crate::fixture::{sandboxed, veth};

/// A link with an address of each family. The link and its peer are up.
fn link(socket: &mut Socket) -> u32 {
    let here = Namespace::current().unwrap();
    let index = socket.add_veth(&veth("h0", "c0", &here)).unwrap();
    let peer = socket.get_link("c0").unwrap().unwrap().index;
    socket.set_up(peer).unwrap();
    let flags = AddressFlags { nodad: true, noprefixroute: false };
    socket.add_address(index, "10.88.0.5/16".parse().unwrap(), flags).unwrap();
    socket.add_address(index, "fd00::5/64".parse().unwrap(), flags).unwrap();
    index
}

fn to(destination: &str, gateway: &str, oif: u32) -> Route {
    let gateway = Some(gateway.parse().unwrap());
    Route { gateway, oif: Some(oif), ..Route::new(destination.parse().unwrap()) }
}

fn find<'a>(routes: &'a [Route], destination: &str) -> &'a Route {
    routes.iter().find(|route| route.dst.to_string() == destination).unwrap_or_else(|| panic!("{routes:?}"))
}

#[expect(clippy::disallowed_methods, reason = "what another program makes is read too")]
fn ip(words: &[&str]) {
    assert!(std::process::Command::new("ip").args(words).status().unwrap().success());
}

sandboxed! {
    fn added_and_read() {
        let mut socket = Socket::open().unwrap();
        let index = link(&mut socket);
        assert!(socket.add_route(&to("0.0.0.0/0", "10.88.0.1", index)).unwrap());
        assert!(!socket.add_route(&to("0.0.0.0/0", "10.88.0.1", index)).unwrap());
        assert!(socket.add_route(&to("::/0", "fd00::1", index)).unwrap());
        assert!(!socket.add_route(&to("::/0", "fd00::1", index)).unwrap());
        let special = Route {
            priority: Some(7), mtu: Some(1400), advmss: Some(1300), src: Some("10.88.0.5".parse().unwrap()),
            ..to("10.9.0.0/16", "10.88.0.2", index)
        };
        assert!(socket.add_route(&special).unwrap());
        // Routes of every table are read: the local table (255) has the addresses of this host.
        let all = socket.all_routes().unwrap();
        assert_eq!(find(&all, "10.9.0.0/16").priority, Some(7));
        assert_eq!(find(&all, "10.88.0.5/32").table, Some(255));
        // The kernel refuses a destination with host bits, so they are cleared.
        assert!(socket.add_route(&to("10.10.1.2/16", "10.88.0.2", index)).unwrap());

        let routes = socket.routes(index).unwrap();
        let gateway = |destination| find(&routes, destination).gateway.unwrap().to_string();
        assert_eq!(gateway("0.0.0.0/0"), "10.88.0.1");
        assert_eq!(gateway("::/0"), "fd00::1");
        assert_eq!(gateway("10.10.0.0/16"), "10.88.0.2");
        assert_eq!(find(&routes, "10.9.0.0/16"), &Route { table: Some(254), scope: Some(0), ..special });
        assert_eq!(find(&routes, "10.88.0.0/16").scope, Some(253));
        assert!(routes.iter().all(|route| route.oif == Some(index) && route.table == Some(254)));
        let lo = socket.get_link("lo").unwrap().unwrap().index;
        assert_eq!(socket.routes(lo).unwrap(), []);
    }

    fn the_first_of_several_to_one_destination_is_preferred() {
        let mut socket = Socket::open().unwrap();
        let index = link(&mut socket);
        let appended = |socket: &mut Socket, dst: &str, gateway: &str| {
            socket.append_route(&to(dst, gateway, index)).unwrap()
        };
        for (dst, gateways) in [
            ("0.0.0.0/0", ["10.88.0.1", "10.88.0.2", "10.88.0.3"]),
            ("::/0", ["fd00::1", "fd00::2", "fd00::3"]),
            // The kernel made a route to this network when the address was added.
            ("10.88.0.0/16", ["10.88.0.1", "10.88.0.2", "10.88.0.3"]),
        ] {
            for gateway in gateways {
                assert!(appended(&mut socket, dst, gateway));
                assert!(!appended(&mut socket, dst, gateway));
            }
            let routes = socket.routes(index).unwrap();
            let mut found: Vec<&Route> =
                routes.iter().filter(|route| route.dst.to_string() == dst && route.gateway.is_some()).collect();
            // IPv4 routes are in the kernel's order, IPv6 routes in the order of their metrics.
            found.sort_by_key(|route| route.priority);
            let found: Vec<String> = found.iter().map(|route| route.gateway.unwrap().to_string()).collect();
            assert_eq!(found, gateways, "{dst}");
        }
        let mut via = |address: &str| socket.route_to(address.parse().unwrap()).unwrap().unwrap().gateway;
        assert_eq!(via("192.0.2.1"), "10.88.0.1".parse().ok());
        assert_eq!(via("2001:db8::1"), "fd00::1".parse().ok());
        assert_eq!(via("10.88.3.4"), None);
        // A route that is removed and added again is the last.
        ip(&["-6", "route", "del", "default", "via", "fd00::1"]);
        assert!(appended(&mut socket, "::/0", "fd00::1"));
        let via = socket.route_to("2001:db8::1".parse().unwrap()).unwrap().unwrap().gateway;
        assert_eq!(via, "fd00::2".parse().ok());
        // A given metric is kept where it is free; otherwise the next free one is taken.
        for (gateway, metric) in [("fd00::8", 50), ("fd00::9", 51)] {
            let route = Route { priority: Some(50), ..to("::/0", gateway, index) };
            assert!(socket.append_route(&route).unwrap());
            let routes = socket.routes(index).unwrap();
            let found = routes.iter().find(|route| route.gateway == gateway.parse().ok()).unwrap();
            assert_eq!(found.priority, Some(metric));
        }
        let elsewhere = Route { table: Some(100), ..to("::/0", "fd00::1", index) };
        assert!(socket.append_route(&elsewhere).unwrap());
        assert!(!socket.append_route(&elsewhere).unwrap());
    }

    fn several_next_hops_are_as_many_routes() {
        let mut socket = Socket::open().unwrap();
        let index = link(&mut socket);
        for (family, dst, hops) in
            [("-4", "10.9.0.0/16", ["10.88.0.1", "10.88.0.2"]), ("-6", "2001:db8::/32", ["fd00::1", "fd00::2"])]
        {
            ip(&[family, "route", "add", dst, "nexthop", "via", hops[0], "nexthop", "via", hops[1]]);
            let routes = socket.routes(index).unwrap();
            let found: Vec<String> = routes
                .iter()
                .filter(|route| route.dst.to_string() == dst)
                .map(|route| route.gateway.unwrap().to_string())
                .collect();
            assert_eq!(found, hops);
        }
    }

    fn addresses_of_the_host_without_a_link() {
        let mut socket = Socket::open().unwrap();
        let lo = socket.get_link("lo").unwrap().unwrap().index;
        socket.set_up(lo).unwrap();
        let listener = std::net::TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for text in ["10.99.0.1", "fd63::1"] {
            let address: std::net::IpAddr = text.parse().unwrap();
            assert!(!socket.is_local(address).unwrap());
            assert!(socket.add_local(address).unwrap());
            assert!(!socket.add_local(address).unwrap());
            assert!(socket.is_local(address).unwrap());
            std::net::TcpStream::connect((address, port)).unwrap();
            assert!(socket.del_local(address).unwrap());
            assert!(!socket.del_local(address).unwrap());
            assert!(!socket.is_local(address).unwrap());
        }
    }

    fn tables_of_their_own() {
        let mut socket = Socket::open().unwrap();
        let index = link(&mut socket);
        assert_eq!(socket.routes_in(index, 100).unwrap(), []);
        for table in [100, 1000] {
            let route = Route { table: Some(table), ..to("10.9.0.0/16", "10.88.0.1", index) };
            assert!(socket.add_route(&route).unwrap());
            assert_eq!(socket.routes_in(index, table).unwrap(), [Route { scope: Some(0), ..route }]);
        }
        assert!(socket.routes(index).unwrap().iter().all(|route| route.table == Some(254)));
    }

    fn scope_and_onlink() {
        let mut socket = Socket::open().unwrap();
        let index = link(&mut socket);
        let direct = Route { oif: Some(index), ..Route::new("10.7.0.0/16".parse().unwrap()) };
        assert!(socket.add_route(&direct).unwrap());
        let host = Route { scope: Some(0), ..Route { dst: "10.6.0.0/16".parse().unwrap(), ..direct } };
        assert!(socket.add_route(&host).unwrap());
        let far = Route { onlink: true, ..to("10.5.0.0/16", "169.254.1.1", index) };
        assert!(socket.add_route(&far).unwrap());
        let routes = socket.routes(index).unwrap();
        assert_eq!(find(&routes, "10.7.0.0/16").scope, Some(253));
        assert_eq!(find(&routes, "10.6.0.0/16").scope, Some(0));
        assert!(find(&routes, "10.5.0.0/16").onlink);
    }

    fn looked_up() {
        let mut socket = Socket::open().unwrap();
        let index = link(&mut socket);
        let mut via = |address: &str| {
            let route = socket.route_to(address.parse().unwrap()).unwrap()?;
            Some((route.oif, route.gateway.map(|gateway| gateway.to_string())))
        };
        assert_eq!(via("10.88.3.4"), Some((Some(index), None)));
        assert_eq!(via("fd00::99"), Some((Some(index), None)));
        assert_eq!(via("192.0.2.1"), None);
        assert_eq!(via("2001:db8::1"), None);
        assert_eq!(via("10.88.0.5"), Some((Some(1), None)));
        socket.add_route(&to("0.0.0.0/0", "10.88.0.1", index)).unwrap();
        socket.add_route(&to("::/0", "fd00::1", index)).unwrap();
        // A dump makes the kernel check requests of this socket strictly; lookups still work.
        socket.routes(index).unwrap();
        let mut via = |address: &str| socket.route_to(address.parse().unwrap()).unwrap()?.gateway;
        assert_eq!(via("192.0.2.1").unwrap().to_string(), "10.88.0.1");
        assert_eq!(via("2001:db8::1").unwrap().to_string(), "fd00::1");
    }

    fn refusals_say_why() {
        let mut socket = Socket::open().unwrap();
        let index = link(&mut socket);
        let error = socket.add_route(&to("10.9.0.0/16", "192.0.2.1", index)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "add route to 10.9.0.0/16: network is unreachable (Nexthop has invalid gateway)"
        );
        println!("{}", socket.add_route(&to("10.9.0.0/16", "10.88.0.1", 4711)).unwrap_err());
        println!("{}", socket.add_route(&to("10.9.0.0/16", "fd00::1", index)).unwrap_err());
        println!("{:?}", socket.routes(4711).map_err(|error| error.to_string()));
    }
}
