//! Where the container is, as this host sees it: its addresses, and the interfaces that lead there.

use cni::{AddResult, IfName};
use ipnetwork::IpNetwork;
use netlink::Socket;

use crate::conf::Conf;
use crate::error::Error;
use crate::localhost::{self, LO};
use crate::plan;

/// The container of an attachment.
#[derive(Debug)]
pub(crate) struct Container {
    /// Its addresses that ports lead to, one a family.
    pub addresses: Vec<IpNetwork>,
    /// The interface of the host that goes when the container goes; failing that, the one that leads to it.
    pub interface: String,
    /// The interfaces by which localhost is to lead to the container: that which needs `route_localnet` for 127.0.0.1,
    /// and [`LO`] for `[::1]`.
    pub localnets: Vec<String>,
}

impl Container {
    /// Finds it by the previous result; the kernel is asked for a route only where that is needed.
    pub(crate) fn find(conf: &Conf, result: &AddResult, ifname: &IfName) -> Result<Self, Error> {
        let addresses = plan::addresses(result, ifname.as_str());
        let told = plan::host_interface(result, ifname.as_str()).map(str::to_owned);
        let needs_v4 = plan::needs_localhost(conf, &addresses, true);
        let needs_v6 = plan::needs_localhost(conf, &addresses, false) && localhost::has_ipv6()?;
        let routing = match addresses.first() {
            Some(first) if needs_v4 || told.is_none() => Some(routing_interface(first)?),
            _ => None,
        };
        let localnet4 = routing.clone().filter(|_| needs_v4);
        let localnet6 = needs_v6.then(|| LO.to_owned());
        Ok(Self {
            interface: told.or(routing).unwrap_or_default(),
            localnets: localnet4.into_iter().chain(localnet6).collect(),
            addresses,
        })
    }
}

/// The interface that packets to the container leave by.
fn routing_interface(address: &IpNetwork) -> Result<String, Error> {
    let mut socket = Socket::open()?;
    let no_route = || Error::NoRoute(address.ip());
    let route = socket.route_to(address.ip())?.ok_or_else(no_route)?;
    let link = socket.get_link_by_index(route.oif.ok_or_else(no_route)?)?;
    link.map(|link| link.name).ok_or_else(no_route)
}
