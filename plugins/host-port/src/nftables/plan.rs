//! What an attachment needs in the table, decided from the configuration and the container's addresses alone.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use cni::Attachment;
use ipnetwork::IpNetwork;
use nftables::{Element, Set, Socket, Verdict};

use super::names;
use super::network_chain::NetworkChain;
use super::owner::{Holder, Owner};
use super::owner_record as record;
use super::place::{Place, hair_place, standby_element, waiting_place};
use super::table::{LOCAL6, localhost_of_set};
use crate::conf::Conf;
use crate::error::Error;
use crate::plan::ports;
use crate::port::Port;

/// What is to be in the table.
#[derive(Debug)]
pub(crate) struct Plan {
    pub owner: Owner,
    pub chain: NetworkChain,
    /// The ports, with the index of the mapping of [`Conf::mappings`] that each comes from.
    pub ports: Vec<(usize, Port)>,
    /// Those of them that another of the container's networks has: on standby.
    pub spares: HashSet<Port>,
    /// The container's addresses that lead to the network's chain.
    pub hair: Vec<IpAddr>,
    /// Those of them that another container has as well, and had first.
    pub shared: Vec<IpAddr>,
    /// The attachments that have what this one has on standby or shares.
    pub earlier: Vec<Owner>,
    /// The interface of the host that goes with the container.
    pub interface: String,
    /// Iptables publishes the ports; only localhost leads to them by this table.
    pub by_chains: bool,
    /// Ports whose place for localhost another of the container's networks has, though not the port.
    pub lent: HashSet<Port>,
    /// What the network's chain was called by the first version.
    old_chain: String,
    comment: String,
}

impl Plan {
    /// Decides it. Every mapping must have its host port by now; `locals` are the interfaces by which localhost is to
    /// lead to the container by this plugin, and `interface` is that which goes with the container.
    pub(crate) fn new(
        attachment: &Attachment,
        conf: &Conf,
        addresses: &[IpNetwork],
        interface: &str,
        locals: Vec<String>,
    ) -> Result<Self, Error> {
        let ports = ports(&conf.mappings, addresses)?;
        let subnets: Vec<IpNetwork> = addresses.iter().filter_map(subnet).collect();
        let mut depends_on: Vec<String> = subnets.iter().map(ToString::to_string).collect();
        depends_on.push(conf.masq_all.to_string());
        depends_on.extend(locals.iter().cloned());
        let old_chain = names::chain(&attachment.network, &depends_on);
        // The layout of the chain's rules.
        depends_on.push("2".to_owned());
        Ok(Self {
            owner: Owner::of(attachment),
            chain: NetworkChain {
                name: names::chain(&attachment.network, &depends_on),
                subnets,
                masq_all: conf.masq_all,
                locals,
                is_old: false,
            },
            by_chains: false,
            lent: HashSet::new(),
            old_chain,
            hair: if conf.snat { addresses.iter().map(IpNetwork::ip).collect() } else { Vec::new() },
            ports,
            spares: HashSet::new(),
            shared: Vec::new(),
            earlier: Vec::new(),
            interface: interface.to_owned(),
            comment: Holder::new(attachment, interface).comment(),
        })
    }

    /// Every element but that in `owners`, with its place and, where it is of a port, the index of that in `ports`.
    pub(crate) fn elements(&self) -> impl Iterator<Item = (Place, Element, Option<usize>)> {
        let ports = self.ports.iter().enumerate().filter(|(_, (_, port))| !self.spares.contains(port));
        let published = ports
            .clone()
            .filter(|_| !self.by_chains)
            .map(|(at, (_, port))| ((port.map(), port.key()), port.element(&self.comment), Some(at)));
        // A port on all addresses and the same on [::1] share an element.
        let mut seen = BTreeSet::new();
        let localhost = ports
            .filter_map(move |(at, (_, port))| {
                let is_own = |(set, _): &Place| self.has_localhost(set) && !self.lent.contains(port);
                let place = port.localhost().filter(is_own)?;
                let is_new = *place.0 != LOCAL6 || seen.insert((port.protocol, port.host_port));
                is_new.then_some((at, place))
            })
            .map(|(at, (set, key))| {
                let element = Element::new(&key).comment(self.comment.as_str());
                ((set, key), element, Some(at))
            });
        let others = self.ports.iter().map(|(_, port)| port).filter(|port| self.spares.contains(port));
        let spares = others.filter_map(|port| standby_element(&self.owner, port, &self.comment));
        let spares = spares.map(|(place, element)| (place, element, None));
        let own = self.hair.iter().filter(|address| !self.shared.contains(address));
        let hair = own.map(|&address| {
            let (map, key) = hair_place(address);
            let element = Element::new(&key)
                .verdict(Verdict::goto(self.chain.name.as_str()))
                .comment(self.comment.as_str());
            ((map, key), element, None)
        });
        // An attachment that only waits for a place needs an element all the same: its comment becomes the place's.
        let waiting = self.lent.iter().filter(|_| self.by_chains).map(|port| {
            let place = waiting_place(port);
            let element = Element::new(&place.1).comment(self.comment.as_str());
            (place, element, None)
        });
        published.chain(localhost).chain(spares).chain(hair).chain(waiting)
    }

    /// Whether localhost leads to ports of such a set.
    fn has_localhost(&self, set: &Set<'_>) -> bool {
        self.chain.locals.iter().any(|local| local == localhost_of_set(set))
    }

    /// The same as it was made in an earlier layout, if that is the chain's name.
    pub(crate) fn made_as(mut self, chain: Option<&str>) -> Self {
        if chain == Some(&self.old_chain) {
            self.chain.name.clone_from(&self.old_chain);
            self.chain.is_old = true;
        }
        self
    }

    /// Leaves out what an earlier attachment has.
    pub(crate) fn yield_to(&mut self, Earlier { owner, port, localhost, address }: Earlier) {
        self.spares.extend(port);
        self.lent.extend(localhost);
        self.shared.extend(address);
        if let Some(owner) = owner.filter(|owner| !self.earlier.contains(owner)) {
            self.earlier.push(owner);
        }
    }

    /// Asks for what others had before it where they have it no more.
    pub(crate) fn forget_gone(&mut self, rules: &mut Socket) -> Result<(), Error> {
        let mut is_there = |place: Option<Place>| match place {
            Some((map, key)) => Ok::<_, Error>(rules.get_element(map, &key)?.is_some()),
            None => Ok(false),
        };
        for port in std::mem::take(&mut self.spares) {
            if is_there(Some((port.map(), port.key())))? {
                self.spares.insert(port);
            }
        }
        for port in std::mem::take(&mut self.lent) {
            if is_there(port.localhost())? {
                self.lent.insert(port);
            }
        }
        for address in std::mem::take(&mut self.shared) {
            if is_there(Some(hair_place(address)))? {
                self.shared.push(address);
            }
        }
        Ok(())
    }

    /// The element in `owners`.
    pub(crate) fn record(&self) -> Result<Element, Error> {
        let all = self.ports.iter().map(|(_, port)| *port);
        let (spares, ports): (Vec<Port>, Vec<Port>) = all.partition(|port| self.spares.contains(port));
        let NetworkChain { name, locals, .. } = &self.chain;
        if self.by_chains {
            let lent: Vec<Port> = ports.iter().filter(|port| self.lent.contains(port)).copied().collect();
            return record::of_localhost(&self.owner, name, locals, &ports, &lent);
        }
        record::element(&self.owner, name, locals, &self.hair, &ports, &spares)
    }
}

/// The network that an address is in.
fn subnet(address: &IpNetwork) -> Option<IpNetwork> {
    IpNetwork::new(address.network(), address.prefix()).ok()
}

/// What another attachment has had since before this one.
pub(crate) struct Earlier {
    pub owner: Option<Owner>,
    /// A port that the container itself has, by another of its networks.
    pub port: Option<Port>,
    /// A port of which it has only the place for localhost.
    pub localhost: Option<Port>,
    /// An address that another container has as well, on another network.
    pub address: Option<IpAddr>,
}

#[cfg(test)]
mod tests;
