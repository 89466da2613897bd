//! Where the container is, as this host sees it: its addresses, and the interfaces that lead there.

use cni::{AddResult, IfName};
use ipnetwork::IpNetwork;
use netlink::{Link, Socket};

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
    /// Whether `route_localnet` of the first of them was off when the kernel was asked for the route.
    pub was_off: bool,
}

impl Container {
    /// Finds it by the previous result; the kernel is asked for a route only where that is needed. Where no route leads
    /// there, 127.0.0.1 does not either, which keeps nobody from publishing, as with the reference.
    pub(crate) fn find(conf: &Conf, result: &AddResult, ifname: &IfName) -> Result<Self, Error> {
        let addresses = plan::addresses(result, ifname.as_str());
        let told = plan::host_interface(result, ifname.as_str()).map(str::to_owned);
        let needs_v4 = plan::needs_localhost(conf, &addresses, true);
        let needs_v6 = plan::needs_localhost(conf, &addresses, false) && localhost::has_ipv6()?;
        let routing = match addresses.first() {
            Some(first) if needs_v4 || told.is_none() => routing_interface(first)?,
            _ => None,
        };
        let localnet4 = routing.as_ref().filter(|_| needs_v4).map(|link| link.name.clone());
        let localnet6 = needs_v6.then(|| LO.to_owned());
        Ok(Self {
            was_off: routing.as_ref().is_some_and(|link| link.route_localnet != Some(true)),
            interface: told.or(routing.map(|link| link.name)).unwrap_or_default(),
            localnets: localnet4.into_iter().chain(localnet6).collect(),
            addresses,
        })
    }
}

/// The interface that packets to the container leave by.
fn routing_interface(address: &IpNetwork) -> Result<Option<Link>, Error> {
    let mut socket = Socket::open()?;
    let Some(oif) = socket.route_to(address.ip())?.and_then(|route| route.oif) else {
        return Ok(None);
    };
    // An address of the host itself needs no switch.
    Ok(socket.get_link_by_index(oif)?.filter(|link| link.name != LO))
}
