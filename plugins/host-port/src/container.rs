//! Where the container is, as this host sees it: its addresses, and what leads there.

use cni::{AddResult, IfName, Target};
use ipnetwork::IpNetwork;
use netlink::{Link, Namespace, Socket};

use crate::conf::Conf;
use crate::error::Error;
use crate::nftables::localhost;
use crate::nftables::table::{LO, LO4};
use crate::plan;

/// The container of an attachment.
#[derive(Clone, Default)]
pub(crate) struct Container {
    /// Its addresses that ports lead to, one a family.
    pub addresses: Vec<IpNetwork>,
    /// The interface of the host that goes when the container goes; failing that, the one that leads to it.
    pub interface: String,
    /// By what localhost is to lead to the container: [`LO4`] and [`LO`], or, where the kernel has no nftables, the interfaces
    /// that need `route_localnet`.
    pub localnets: Vec<String>,
    /// 127.0.0.1 is to lead there.
    pub needs_v4: bool,
    /// The host's interfaces that the previous result names.
    pub of_host: Vec<String>,
}

impl Container {
    /// Finds it by the previous result; the kernel is asked for a route only where that is needed. Where no route leads
    /// there, 127.0.0.1 does not either. Ports are published all the same, as with the reference.
    pub(crate) fn find(
        conf: &Conf,
        result: &AddResult,
        ifname: &IfName,
        addresses: Vec<IpNetwork>,
        has_nftables: bool,
    ) -> Result<Self, Error> {
        let named = plan::host_interface(result, ifname.as_str()).map(str::to_owned);
        let needs_v4 = plan::needs_localhost(conf, &addresses, true);
        let needs_v6 = plan::needs_localhost(conf, &addresses, false) && localhost::has_ipv6()?;
        let of_host = result.interfaces.iter().filter(|interface| interface.sandbox.is_empty());
        let of_host = of_host.map(|interface| interface.name.clone()).collect();
        let mut found = Self { addresses, needs_v4, of_host, ..Self::default() };
        let by_interface = needs_v4 && !has_nftables;
        let routing = if by_interface || named.is_none() { found.routing()? } else { Vec::new() };
        found.interface = named.or(routing.first().map(|link| link.name.clone())).unwrap_or_default();
        found.localnets.extend(routing.into_iter().filter(|_| by_interface).map(|link| link.name));
        let by_stand_in = [(needs_v4 && has_nftables).then_some(LO4), needs_v6.then_some(LO)];
        found.localnets.extend(by_stand_in.into_iter().flatten().map(str::to_owned));
        Ok(found)
    }

    /// The host's interfaces that the container shares with others: its bridge, and the VLAN device on it.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &str> {
        self.of_host.iter().map(String::as_str).filter(|name| *name != self.interface)
    }

    /// The interfaces that need `route_localnet` where chains of iptables lead 127.0.0.1 to the container.
    pub(crate) fn localnets_by_iptables(&self) -> Result<Vec<Link>, Error> {
        if self.needs_v4 { self.routing() } else { Ok(Vec::new()) }
    }

    /// The interfaces that packets to the container leave by: that of the route, and the container's own bridge, where the
    /// route leads by another one. Then two networks have subnets that overlap, and the route changes when one of them goes.
    fn routing(&self) -> Result<Vec<Link>, Error> {
        let Some(address) = self.addresses.first() else {
            return Ok(Vec::new());
        };
        let mut socket = Socket::open()?;
        let route = socket.route_to(address.ip())?.and_then(|route| route.oif);
        let link = route.map(|oif| socket.get_link_by_index(oif)).transpose()?.flatten();
        // An address of the host itself needs no switch.
        let Some(link) = link.filter(|link| link.name != LO) else {
            return Ok(Vec::new());
        };
        let first = self.of_host.first().filter(|_| !self.of_host.contains(&link.name));
        let own = first.map(|name| socket.get_link(name)).transpose()?.flatten();
        // The gateway of a VLAN is a device on the bridge.
        let is_another =
            |own: &Link| own.kind.as_deref() == Some("bridge") && link.peer_index != Some(own.index);
        let own = own.filter(is_another);
        Ok([link].into_iter().chain(own).collect())
    }
}

/// Refuses a container that has no end on the host where its interface is a macvlan or an ipvlan. Where the container cannot be
/// looked into, its ports are published, as with the reference.
pub(crate) fn expect_reachable(result: &AddResult, target: &Target) -> Result<(), Error> {
    let ifname = target.ifname().as_str();
    let is_own = |interface: &cni::Interface| interface.name == ifname && !interface.sandbox.is_empty();
    if plan::host_interface(result, ifname).is_some() || !result.interfaces.iter().any(is_own) {
        return Ok(());
    }
    let look = |netns| Namespace::open(netns).and_then(|netns| netns.socket()?.get_link(ifname));
    let link = target.netns.as_deref().and_then(|netns| look(netns).ok().flatten());
    match link.and_then(|link| link.kind).filter(|kind| ["macvlan", "ipvlan"].contains(&kind.as_str())) {
        Some(kind) => Err(Error::Unreachable { ifname: ifname.to_owned(), kind }),
        None => Ok(()),
    }
}
