//! The interface to the other nodes, and routes of the host that a network would meet.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use rtnetlink::packet_route::route::RouteType;

use super::entries::{is_inside, meets};
use super::error::Error;
use super::read::{Address, Link};
use super::route::Route;
use super::{Kernel, Seen, Underlay};
use crate::wanted::ROUTE_PROTOCOL;

impl Kernel {
    /// Finds the interface that leads to the other nodes: the one that is named, or has the address, or that of the default
    /// route with the lowest metric, IPv4's first. Of its addresses it takes the first of each family, or the one that is given.
    pub(crate) async fn underlay(
        &self,
        interface: Option<&str>,
        address: Option<IpAddr>,
    ) -> Result<Underlay, Error> {
        let (links, addresses) = (self.requests.links().await?, self.requests.addresses(None).await?);
        let by_index = |index: u32| links.iter().find(|link| link.index == index);
        let by_name = |name: &str| links.iter().find(|link| link.name == name);
        let named = match interface {
            Some(name) => Some(by_name(name).ok_or_else(|| Error::NoInterface { name: name.to_owned() })?),
            None => None,
        };
        let link = match (address, named) {
            (Some(address), named) => {
                let mut holders = addresses.iter().filter(|held| held.ip == address);
                let first = holders.clone().next().and_then(|held| by_index(held.index));
                let first = first.ok_or(Error::NoSuchAddress { address })?;
                match named {
                    Some(named) if holders.any(|held| held.index == named.index) => named,
                    Some(named) => {
                        let (name, wanted) = (first.name.clone(), named.name.clone());
                        return Err(Error::AddressElsewhere { address, name, wanted });
                    }
                    None => first,
                }
            }
            (None, Some(named)) => named,
            (None, None) => {
                let index = self.default_route().await?.ok_or(Error::NoDefaultRoute)?;
                by_index(index).ok_or(Error::NoDefaultRoute)?
            }
        };
        let underlay = choose(link, &addresses, address)?;
        self.known().underlay = seen(link, &addresses);
        Ok(underlay)
    }

    async fn default_route(&self) -> Result<Option<u32>, Error> {
        let is_default = |route: &Route| {
            route.to.prefix() == 0 && route.kind == RouteType::Unicast && route.index.is_some()
        };
        let routes = self.requests.main_routes().await?;
        let best = routes
            .iter()
            .filter(|route| is_default(route))
            .min_by_key(|route| (route.to.is_ipv6(), route.metric));
        Ok(best.and_then(|route| route.index))
    }

    /// Routes of the host that a network with these prefixes would meet, as `10.201.0.0/24 dev eth1`: routes to a part of a
    /// prefix, and local networks that a prefix is a part of. Left out are default routes, the agent's own, those by the
    /// network's device, and those inside of the node's `own` blocks, where the bridge's is.
    pub(crate) async fn conflicts(
        &self,
        prefixes: &[IpNetwork],
        own: &[IpNetwork],
        device: &str,
    ) -> Result<Vec<String>, Error> {
        let links = self.requests.links().await?;
        let name = |index: u32| links.iter().find(|link| link.index == index).map(|link| link.name.as_str());
        let mut conflicts = Vec::new();
        for route in self.requests.main_routes().await? {
            let by = route.index.and_then(name);
            let is_left_out = route.to.prefix() == 0
                || route.protocol == ROUTE_PROTOCOL
                || by == Some(device)
                || own.iter().any(|own| is_inside(route.to, *own));
            let is_met = |prefix: &IpNetwork| {
                is_inside(route.to, *prefix) || route.is_direct && meets(route.to, *prefix)
            };
            if !is_left_out && prefixes.iter().any(is_met) {
                conflicts.push(route.text(by).to_string());
            }
        }
        Ok(conflicts)
    }
}

fn choose(link: &Link, addresses: &[Address], given: Option<IpAddr>) -> Result<Underlay, Error> {
    let of = |is_v4: bool| {
        let usable = addresses.iter().filter(|held| held.index == link.index && held.is_usable);
        let first = usable.map(|held| held.ip).find(|address| address.is_ipv4() == is_v4);
        given.filter(|given| given.is_ipv4() == is_v4).or(first)
    };
    let chosen: Vec<IpAddr> = [true, false].into_iter().filter_map(of).collect();
    if chosen.is_empty() {
        return Err(Error::NoAddress { name: link.name.clone() });
    }
    Ok(Underlay { index: link.index, name: link.name.clone(), addresses: chosen, mtu: link.mtu })
}

fn seen(link: &Link, addresses: &[Address]) -> Seen {
    let held = addresses.iter().filter(|held| held.index == link.index);
    Seen {
        index: link.index,
        link: Some((link.is_up, link.is_running, link.mtu)),
        addresses: held.map(|held| (held.ip, held.is_usable)).collect(),
    }
}
