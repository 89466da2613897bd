//! The floor: a process that sends only the kernel requests that an ADD of bridge cannot do without.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use netlink::{AddressFlags, Namespace, Peer, Route, Socket, Veth};
use nftables::{Batch, Element, Family, Field, Set, Table, Type};
use sandbox::Namespaced;

use crate::host::Host;

/// The requests that it sends.
pub(crate) const WHAT: &str =
    "find the bridge, make the pair, address and its announcement, up, route, one nftables element";

const TABLE: Table = Table::new(Family::Inet, "floor");
const ADDRESSES: Set = Set::new(TABLE, "addresses", &[Type::Ipv4Addr]);
const ARGUMENT: &str = "--floor";

/// Times ADDs of bridge and, in turn, the process, on a host with its containers, for the network that a container with this
/// number is attached to.
pub(crate) fn measure(host: &Host, number: usize, rounds: usize) -> [Vec<Duration>; 2] {
    let network = host.network(number).to_string();
    host.enter(|| {
        let mut rules = nftables::Socket::open().unwrap();
        Batch::new().create_table(&TABLE).create_set(&ADDRESSES).commit(&mut rules).unwrap();
    });
    let bare = |number: usize| {
        let container = Namespaced::new(&format!("floor-{number}"));
        host.enter(|| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.arg(ARGUMENT).arg(container.path()).arg(&network).arg(number.to_string());
            let start = Instant::now();
            let status = command.status().unwrap();
            let took = start.elapsed();
            assert!(status.success());
            took
        })
    };
    let times =
        (0..rounds).map(|round| (host.round(number + round)[0], bare(round))).collect::<(Vec<_>, Vec<_>)>();
    host.enter(|| Batch::new().del_table(&TABLE).commit(&mut nftables::Socket::open().unwrap()).unwrap());
    times.into()
}

/// Sends the requests if this process was started by [`measure`]. Returns whether it was.
pub(crate) fn is_asked(arguments: &[String]) -> bool {
    let [_, argument, netns, network, number] = arguments else { return false };
    if argument != ARGUMENT {
        return false;
    }
    // host-local leases from the lower end of the subnet, so this address is free.
    let address = format!("10.{network}.255.{number}");
    let mut socket = Socket::open().unwrap();
    let bridge = socket.get_link(&format!("br{network}")).unwrap().unwrap().index;
    let container = Namespace::open(Path::new(netns)).unwrap();
    let peer = Peer { name: "eth0", mac: None, namespace: container.as_fd() };
    let name = format!("floor-{number}");
    let veth = Veth { name: &name, mac: None, mtu: None, master: Some(bridge), alias: None, peer };
    socket.add_veth(&veth).unwrap();
    let mut inside = container.socket().unwrap();
    let link = inside.get_link("eth0").unwrap().unwrap().index;
    inside.add_address(link, format!("{address}/16").parse().unwrap(), AddressFlags::default()).unwrap();
    inside.announce_addresses(link).unwrap();
    inside.set_up(link).unwrap();
    let gateway = format!("10.{network}.0.1").parse().ok();
    inside
        .add_route(&Route { gateway, oif: Some(link), ..Route::new("0.0.0.0/0".parse().unwrap()) })
        .unwrap();
    let element = Element::new(&[Field::Ipv4(address.parse().unwrap())]);
    Batch::new().create_element(&ADDRESSES, &element).commit(&mut nftables::Socket::open().unwrap()).unwrap();
    true
}
