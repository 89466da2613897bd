//! From the routes of a result to those of the kernel.

use std::net::IpAddr;

use cni::Ip;
use ipnetwork::IpNetwork;

/// A route's table: the main one is for all packets, another for those that a rule sends there. The kernel takes 0 for the
/// main one.
#[must_use]
pub fn table(table: Option<u32>) -> u32 {
    table.filter(|table| *table != 0).unwrap_or(netlink::Route::MAIN)
}

/// A route without a next hop goes to the first gateway of its own family; without any, or to an unspecified one, it
/// stays on the link. The link is not known yet.
#[must_use]
pub fn kernel_route(route: &cni::Route, ips: &[Ip]) -> netlink::Route {
    let gateway = route.gw.or_else(|| {
        let mut of_family = ips.iter().filter(|ip| ip.address.is_ipv4() == route.dst.is_ipv4());
        of_family.find_map(|ip| ip.gateway)
    });
    // The kernel makes a route of the link of 0.0.0.0, with the scope of one that has a next hop; of :: it makes an error.
    let named = gateway.filter(|gateway| !gateway.is_unspecified());
    netlink::Route {
        gateway: named,
        mtu: route.mtu,
        advmss: route.advmss,
        priority: route.priority,
        table: route.table,
        scope: route.scope.or((named != gateway).then_some(0)),
        // The kernel refuses host bits in a destination.
        ..netlink::Route::new(network_of(route.dst))
    }
}

/// An address with a prefix length, which has to be one of its family.
#[must_use]
pub fn with_length(address: IpAddr, length: u8) -> IpNetwork {
    IpNetwork::new(address, length).unwrap_or(IpNetwork::from(address))
}

/// The network that an address is in.
#[must_use]
pub fn network_of(address: IpNetwork) -> IpNetwork {
    with_length(address.network(), address.prefix())
}
