//! Routes in netlink messages: written and read back, and requests as another library writes them.

use nix::libc::RTPROT_BOOT;

use super::*;

fn full() -> Route {
    Route {
        gateway: Some("10.88.0.1".parse().unwrap()),
        oif: Some(2),
        priority: Some(7),
        table: Some(1000),
        scope: Some(0),
        mtu: Some(1400),
        advmss: Some(1360),
        src: Some("10.88.0.5".parse().unwrap()),
        onlink: true,
        ..Route::new("10.1.0.0/16".parse().unwrap())
    }
}

fn bytes(route: &Route) -> Vec<u8> {
    let mut body = Writer::default();
    route.write(&mut body, RTPROT_BOOT, RTN_UNICAST);
    body.buffer
}

#[test]
fn what_is_written_is_read_back() {
    assert_eq!(Route::parse(&bytes(&full())), Some(full()));
    let plain = Route::new("::/0".parse().unwrap());
    let read = Route::parse(&bytes(&plain)).unwrap();
    assert_eq!(read, Route { table: Some(MAIN), scope: Some(0), ..plain });
}

#[test]
fn requests_are_what_another_library_writes() {
    use netlink_packet_core::Emitable;
    use netlink_packet_route::AddressFamily;
    use netlink_packet_route::route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol,
        RouteScope, RouteType,
    };

    let route = full();
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: AddressFamily::Inet,
        destination_prefix_length: 16,
        protocol: RouteProtocol::Boot,
        scope: RouteScope::Universe,
        kind: RouteType::Unicast,
        flags: RouteFlags::Onlink,
        ..RouteHeader::default()
    };
    let address = |address: Option<IpAddr>| RouteAddress::from(address.unwrap());
    message.attributes = vec![
        RouteAttribute::Destination(RouteAddress::from(route.dst.network())),
        RouteAttribute::Table(1000),
        RouteAttribute::Gateway(address(route.gateway)),
        RouteAttribute::Oif(2),
        RouteAttribute::Priority(7),
        RouteAttribute::PrefSource(address(route.src)),
        RouteAttribute::Metrics(vec![RouteMetric::Mtu(1400), RouteMetric::Advmss(1360)]),
    ];
    let mut expected = vec![0; message.buffer_len()];
    message.emit(&mut expected);
    assert_eq!(bytes(&route), expected);
}

#[test]
fn scope_of_a_route_without_gateway_is_the_link() {
    let route = Route { oif: Some(2), ..Route::new("10.1.0.0/16".parse().unwrap()) };
    assert_eq!(Route::parse(&bytes(&route)).unwrap().scope, Some(253));
}

#[test]
fn several_next_hops_are_as_many_routes() {
    let mut body = bytes(&Route { gateway: None, oif: None, onlink: false, ..full() });
    let hop = |flags: u8, oif: u32, gateway: [u8; 4]| {
        let mut hop = vec![16, 0, flags, 0];
        hop.extend(oif.to_ne_bytes());
        hop.extend([8, 0, 5, 0]);
        hop.extend(gateway);
        hop
    };
    body.extend([36, 0, 9, 0]);
    body.extend(hop(0, 2, [10, 88, 0, 1]));
    body.extend(hop(4, 3, [10, 89, 0, 1]));
    let one = Route { onlink: false, ..full() };
    let other = Route { oif: Some(3), gateway: Some("10.89.0.1".parse().unwrap()), ..full() };
    assert_eq!(Route::parse_hops(&body), [one, other]);
    assert_eq!(Route::parse_hops(&bytes(&full())), [full()]);
    for length in 0..body.len() {
        let _ = Route::parse_hops(&body[..length]);
    }
    assert_eq!(full().with_hops(&[0; 8]), []);
}

#[test]
fn what_leads_nowhere_is_no_route() {
    let mut body = bytes(&full());
    body[7] = 7; // RTN_UNREACHABLE
    assert_eq!(Route::parse(&body), None);
    let body = bytes(&full());
    for length in 0..body.len() {
        let _ = Route::parse(&body[..length]);
    }
    assert_eq!(Route::parse(&body[..HEADER - 1]), None);
}
