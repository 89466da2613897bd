//! Where the container is, as this host sees it: its addresses, and the interfaces that lead there.

use cni::{AddResult, IfName};
use ipnetwork::IpNetwork;
use netlink::{Link, Socket};

use crate::conf::Conf;
use crate::error::Error;
use crate::localhost::{self, LO};
use crate::plan;

/// The container of an attachment.
pub(crate) struct Container {
    /// Its addresses that ports lead to, one a family.
    pub addresses: Vec<IpNetwork>,
    /// The interface of the host that goes when the container goes; failing that, the one that leads to it.
    pub interface: String,
    /// The interfaces by which localhost is to lead to the container: that which needs `route_localnet` for 127.0.0.1,
    /// and [`LO`] for `[::1]`.
    pub localnets: Vec<String>,
    /// Those of them that have `route_localnet` off.
    pub off: Vec<String>,
    /// By which the kernel was asked for the route, to be used again.
    pub links: Option<Socket>,
}

impl Container {
    /// Finds it by the previous result; the kernel is asked for a route only where that is needed. Where no route leads
    /// there, 127.0.0.1 does not either, which keeps nobody from publishing, as with the reference.
    pub(crate) fn find(conf: &Conf, result: &AddResult, ifname: &IfName) -> Result<Self, Error> {
        let addresses = plan::addresses(result, ifname.as_str());
        let told = plan::host_interface(result, ifname.as_str()).map(str::to_owned);
        let needs_v4 = plan::needs_localhost(conf, &addresses, true);
        let needs_v6 = plan::needs_localhost(conf, &addresses, false) && localhost::has_ipv6()?;
        let mut links = None;
        let routing = match addresses.first() {
            Some(first) if needs_v4 || told.is_none() => {
                routing_interfaces(links.insert(Socket::open()?), first, result)?
            }
            _ => Vec::new(),
        };
        let interface = told.or(routing.first().map(|link| link.name.clone())).unwrap_or_default();
        let mut localnets = Vec::new();
        let mut off = Vec::new();
        for link in routing.into_iter().filter(|_| needs_v4) {
            if link.route_localnet != Some(true) {
                off.push(link.name.clone());
            }
            localnets.push(link.name);
        }
        if needs_v6 {
            localnets.push(LO.to_owned());
        }
        Ok(Self { addresses, interface, localnets, off, links })
    }
}

/// The interfaces that packets to the container leave by: that of the route, and the container's own bridge, where the
/// route leads by another one. Then two networks have subnets that meet, and one of them gets its way when the other goes.
fn routing_interfaces(
    socket: &mut Socket,
    address: &IpNetwork,
    result: &AddResult,
) -> Result<Vec<Link>, Error> {
    let route = socket.route_to(address.ip())?.and_then(|route| route.oif);
    let link = route.map(|oif| socket.get_link_by_index(oif)).transpose()?.flatten();
    // An address of the host itself needs no switch.
    let Some(link) = link.filter(|link| link.name != LO) else {
        return Ok(Vec::new());
    };
    let mut of_host = result.interfaces.iter().filter(|interface| interface.sandbox.is_empty());
    let is_named = of_host.clone().any(|interface| interface.name == link.name);
    let first = of_host.next().filter(|_| !is_named);
    let own = first.map(|interface| socket.get_link(&interface.name)).transpose()?.flatten();
    // The gateway of a VLAN is a device on the bridge.
    let is_another = |own: &Link| own.kind.as_deref() == Some("bridge") && link.peer_index != Some(own.index);
    let own = own.filter(is_another);
    Ok([link].into_iter().chain(own).collect())
}
