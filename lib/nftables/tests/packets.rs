//! Packets of real sockets: through a published port, and after a flow was deleted.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod inside;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use nftables::conntrack::{self, Filter};
use nftables::{
    Batch, Chain, Element, Error, Expr, Family, Field, HookPoint, Kind, Selector, Set, Socket, Table, Type,
    priority,
};

const TABLE: Table = Table::new(Family::Inet, "cleat");
const PORT4: Set =
    Set::map(TABLE, "port4", &[Type::InetProto, Type::InetService], &[Type::Ipv4Addr, Type::InetService]);
const PORT6: Set =
    Set::map(TABLE, "port6", &[Type::InetProto, Type::InetService], &[Type::Ipv6Addr, Type::InetService]);
const UDP: u8 = 17;

/// Adds a table that publishes the ports in its maps to local clients.
fn publish(socket: &mut Socket) {
    let output = Chain::base(TABLE, "locally", Kind::Nat, HookPoint::Output, priority::DSTNAT);
    let key = &[Selector::L4Proto, Selector::ThDport];
    let mut batch = Batch::new();
    batch.add_table(&TABLE).add_set(&PORT4).add_set(&PORT6).add_chain(&output);
    batch.add_rule(&output, &[Expr::to_local(), Expr::dnat_map(key, PORT4)], None).add_rule(
        &output,
        &[Expr::to_local(), Expr::dnat_map(key, PORT6)],
        None,
    );
    batch.commit(socket).unwrap();
}

fn set_for(address: IpAddr) -> Set<'static> {
    if address.is_ipv4() { PORT4 } else { PORT6 }
}

fn loopback() -> [IpAddr; 2] {
    ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()]
}

#[test]
fn a_connection_goes_through_the_map() {
    inside::run(|| {
        let mut socket = Socket::open().unwrap();
        publish(&mut socket);
        for address in loopback() {
            let listener = TcpListener::bind((address, 0)).unwrap();
            let to = [Field::from(address), Field::Port(listener.local_addr().unwrap().port())];
            let published = Element::new(&[Field::TCP, Field::Port(8080)]).data(&to);
            assert!(TcpStream::connect((address, 8080)).is_err());
            Batch::new().create_element(&set_for(address), &published).commit(&mut socket).unwrap();
            let mut client = TcpStream::connect((address, 8080)).unwrap();
            client.write_all(b"hello").unwrap();
            let mut received = [0; 5];
            listener.accept().unwrap().0.read_exact(&mut received).unwrap();
            assert_eq!(&received, b"hello");
        }
    });
}

#[test]
fn exactly_the_flows_of_one_port_are_deleted() {
    inside::run(|| {
        let (mut socket, mut counter) = (Socket::open().unwrap(), Socket::open().unwrap());
        publish(&mut socket);
        for (address, family) in loopback().into_iter().zip([Family::Ip, Family::Ip6]) {
            let server = UdpSocket::bind((address, 0)).unwrap();
            let to = [Field::from(address), Field::Port(server.local_addr().unwrap().port())];
            for port in [5001, 5002, 5003] {
                let published = Element::new(&[Field::UDP, Field::Port(port)]).data(&to);
                Batch::new().add_element(&set_for(address), &published).commit(&mut socket).unwrap();
            }
            let client = UdpSocket::bind((address, 0)).unwrap();
            for port in [5001, 5002, 5003] {
                client.send_to(b"?", (address, port)).unwrap();
                server.recv_from(&mut [0; 8]).unwrap();
            }
            let of_port = |port| Filter::new(family, UDP).orig_dport(port);
            let mut counts = || {
                [5001, 5002, 5003].map(|port| conntrack::flows(&mut counter, &[of_port(port)]).unwrap().len())
            };
            assert_eq!(counts(), [1, 1, 1]);
            conntrack::flush(&mut socket, &[of_port(5002)]).unwrap();
            assert_eq!(counts(), [1, 0, 1]);
            // None of these filters matches a flow that is left.
            let of_server =
                Filter::new(family, UDP).reply_src(address).reply_sport(server.local_addr().unwrap().port());
            let other_protocol = Filter::new(family, 6).orig_dport(5001);
            conntrack::flush(&mut socket, &[of_port(5002), of_server.orig_dport(5002), other_protocol])
                .unwrap();
            assert_eq!(counts(), [1, 0, 1]);
            conntrack::flush(&mut socket, &[of_server.orig_dport(5003)]).unwrap();
            assert_eq!(counts(), [1, 0, 0]);
            conntrack::flush(&mut socket, &[of_server]).unwrap();
            assert_eq!(counts(), [0, 0, 0]);
        }
    });
}

#[test]
fn many_ports_are_deleted_at_once() {
    inside::run(|| {
        let mut socket = Socket::open().unwrap();
        publish(&mut socket);
        for (address, family) in loopback().into_iter().zip([Family::Ip, Family::Ip6]) {
            let client = UdpSocket::bind((address, 0)).unwrap();
            let servers: Vec<_> = (0..40).map(|_| UdpSocket::bind((address, 0)).unwrap()).collect();
            let filters: Vec<_> = servers
                .iter()
                .map(|server| {
                    client.send_to(b"?", server.local_addr().unwrap()).unwrap();
                    Filter::new(family, UDP).orig_dport(server.local_addr().unwrap().port())
                })
                .collect();
            let mut count =
                |filter: &Filter| conntrack::flows(&mut Socket::open().unwrap(), &[*filter]).unwrap().len();
            assert_eq!(filters.iter().map(&mut count).sum::<usize>(), 40);
            conntrack::flush(&mut socket, &filters[1..]).unwrap();
            assert_eq!(filters.iter().map(&mut count).sum::<usize>(), 1);
            assert_eq!(count(&filters[0]), 1);
            conntrack::flush(&mut socket, &filters).unwrap();
            assert_eq!(count(&filters[0]), 0);
        }
    });
}

#[test]
fn addresses_tell_flows_of_one_port_apart() {
    inside::run(|| {
        inside::program("ip", &["-6", "address", "add", "fd00::1/128", "dev", "lo", "nodad"], "");
        let (mut socket, mut counter) = (Socket::open().unwrap(), Socket::open().unwrap());
        publish(&mut socket);
        let pairs = [(["127.0.0.1", "127.0.0.2"], Family::Ip), (["::1", "fd00::1"], Family::Ip6)];
        for (addresses, family) in pairs {
            let addresses = addresses.map(|text| text.parse::<IpAddr>().unwrap());
            let client = UdpSocket::bind((addresses[0], 0)).unwrap();
            for address in addresses {
                let server = UdpSocket::bind((address, 5000)).unwrap();
                client.send_to(b"?", SocketAddr::from((address, 5000))).unwrap();
                server.recv_from(&mut [0; 8]).unwrap();
            }
            let filters =
                addresses.map(|address| Filter::new(family, UDP).orig_dst(address).orig_dport(5000));
            let mut counts =
                || filters.map(|filter| conntrack::flows(&mut counter, &[filter]).unwrap().len());
            assert_eq!(counts(), [1, 1]);
            conntrack::flush(&mut socket, &filters[1..]).unwrap();
            assert_eq!(counts(), [1, 0]);
            conntrack::flush(&mut socket, &filters[..1]).unwrap();
            assert_eq!(counts(), [0, 0]);
        }
    });
}

#[test]
fn a_flow_follows_the_map_only_after_its_deletion() {
    inside::run(|| {
        let mut socket = Socket::open().unwrap();
        publish(&mut socket);
        let address = loopback()[0];
        let (old, new) = (UdpSocket::bind((address, 0)).unwrap(), UdpSocket::bind((address, 0)).unwrap());
        let key = [Field::UDP, Field::Port(8053)];
        let to = |server: &UdpSocket| {
            Element::new(&key).data(&[Field::from(address), Field::Port(server.local_addr().unwrap().port())])
        };
        Batch::new().add_element(&PORT4, &to(&old)).commit(&mut socket).unwrap();
        let client = UdpSocket::bind((address, 0)).unwrap();
        let send = || client.send_to(b"?", (address, 8053)).unwrap();
        send();
        old.recv_from(&mut [0; 8]).unwrap();
        Batch::new().del_element(&PORT4, &key).add_element(&PORT4, &to(&new)).commit(&mut socket).unwrap();
        send();
        old.recv_from(&mut [0; 8]).unwrap();
        let filter = Filter::new(Family::Ip, UDP).orig_dport(8053);
        conntrack::flush(&mut socket, &[filter]).unwrap();
        send();
        new.recv_from(&mut [0; 8]).unwrap();
    });
}

#[test]
fn a_filter_of_everything_is_refused() {
    let mut socket = Socket::open().unwrap();
    let everything = Filter::new(Family::Ip, UDP);
    assert!(matches!(
        conntrack::flush(&mut socket, &[everything.orig_dport(53), everything]),
        Err(Error::Unfiltered)
    ));
    let filter = everything.orig_dport(53).reply_src("10.1.0.11".parse().unwrap());
    assert_eq!(filter.to_string(), "ip udp orig dport 53 reply src 10.1.0.11");
}
