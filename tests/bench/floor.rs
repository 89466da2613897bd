//! The floor: the requests that an ADD of bridge cannot do without, in one process that does nothing else.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use netlink::{AddressFlags, Namespace, Peer, Route, Socket, Veth};
use nftables::{Batch, Element, Family, Field, Set, Table, Type};
use sandbox::Namespaced;

/// What it consists of.
pub(crate) const WHAT: &str = "find the bridge, make the pair, address, up, route, one nftables element";

const TABLE: Table = Table::new(Family::Inet, "floor");
const ADDRESSES: Set = Set::new(TABLE, "addresses", &[Type::Ipv4Addr]);
const BRIDGE: &str = "floor0";
const ARGUMENT: &str = "--floor";

/// Times the process on a host, with whatever is there.
pub(crate) fn measure(host: &Namespaced, rounds: usize) -> Vec<Duration> {
    host.enter(|| {
        let mut socket = Socket::open().unwrap();
        let bridge = netlink::Bridge { name: BRIDGE, ..netlink::Bridge::default() };
        let index = socket.add_bridge(&bridge).unwrap();
        socket.add_address(index, "10.9.0.1/16".parse().unwrap(), AddressFlags::default()).unwrap();
        socket.set_up(index).unwrap();
        let mut rules = nftables::Socket::open().unwrap();
        Batch::new().create_table(&TABLE).create_set(&ADDRESSES).commit(&mut rules).unwrap();
    });
    let round = |number: usize| {
        let container = Namespaced::new(&format!("floor-{number}"));
        host.enter(|| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.arg(ARGUMENT).arg(container.path()).arg(number.to_string());
            let start = Instant::now();
            let status = command.status().unwrap();
            let took = start.elapsed();
            assert!(status.success());
            took
        })
    };
    let times = (0..rounds).map(round).collect();
    host.enter(|| {
        let mut socket = Socket::open().unwrap();
        socket.del_link_by_name(BRIDGE).unwrap();
        Batch::new().del_table(&TABLE).commit(&mut nftables::Socket::open().unwrap()).unwrap();
    });
    times
}

/// Whether this process was started to be measured, and did its work.
pub(crate) fn is_asked(arguments: &[String]) -> bool {
    let [_, argument, netns, number] = arguments else { return false };
    if argument != ARGUMENT {
        return false;
    }
    let number: u16 = number.parse().unwrap();
    let [high, low] = number.to_be_bytes();
    let address = format!("10.9.{}.{}", high + 1, low);
    let mut socket = Socket::open().unwrap();
    let bridge = socket.get_link(BRIDGE).unwrap().unwrap().index;
    let container = Namespace::open(Path::new(netns)).unwrap();
    let peer = Peer { name: "eth0", mac: None, namespace: container.as_fd() };
    let name = format!("floor-{number}");
    let veth = Veth { name: &name, mac: None, mtu: None, master: Some(bridge), alias: None, peer };
    socket.add_veth(&veth).unwrap();
    let mut inside = container.socket().unwrap();
    let link = inside.get_link("eth0").unwrap().unwrap().index;
    inside.add_address(link, format!("{address}/16").parse().unwrap(), AddressFlags::default()).unwrap();
    inside.set_up(link).unwrap();
    let gateway = "10.9.0.1".parse().ok();
    inside
        .add_route(&Route { gateway, oif: Some(link), ..Route::new("0.0.0.0/0".parse().unwrap()) })
        .unwrap();
    let element = Element::new(&[Field::Ipv4(address.parse().unwrap())]);
    Batch::new().create_element(&ADDRESSES, &element).commit(&mut nftables::Socket::open().unwrap()).unwrap();
    true
}
