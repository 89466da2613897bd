//! What an attachment needs in the table, decided from the configuration and the container's addresses alone.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use nftables::{Element, Set, Socket, Verdict};

use super::names;
use super::network_chain::NetworkChain;
use super::owner::{Holder, Owner};
use super::owner_record::{BY_IPTABLES, Record, STANDBY, word};
use super::place::{Place, hair_place, standby_of};
use super::table::{AT4, LOCAL6, localhost_of_set};
use crate::backend::Wanted;
use crate::conf::Mapping;
use crate::error::Error;
use crate::plan::ports;
use crate::port::Port;

/// What is to be in the table.
#[derive(Debug)]
pub(crate) struct Plan {
    pub owner: Owner,
    pub chain: NetworkChain,
    /// The ports, with the index of the mapping that each comes from.
    pub ports: Vec<(usize, Port)>,
    /// The container's addresses that lead to the network's chain.
    pub hair: Vec<IpAddr>,
    /// What of this others had before, and keep.
    pub earlier: Earlier,
    /// The interface of the host that goes with the container.
    pub interface: String,
    /// Iptables publishes the ports; only localhost leads to them by this table.
    pub by_iptables: bool,
    /// What the network's chain was called by the first version.
    old_chain: String,
    comment: String,
}

/// An element with its place and, where it publishes a port, that port with its mapping's index.
pub(crate) type Planned<'p> = (Place, Element, Option<&'p (usize, Port)>);

/// What other attachments had before this one.
#[derive(Debug, Default)]
pub(crate) struct Earlier {
    /// Those attachments.
    pub owners: Vec<Owner>,
    /// Ports that the container has by another of its networks: here they are on standby.
    pub ports: HashSet<Port>,
    /// Ports whose place for localhost another of the container's networks has, though not the port.
    pub localhost: HashSet<Port>,
    /// Addresses that another container has as well, on another network.
    pub addresses: HashSet<IpAddr>,
}

impl Plan {
    /// Decides it. Every mapping must have its host port by now; `locals` is by what localhost is to lead to the container.
    pub(crate) fn new(
        Wanted { attachment, conf, container }: &Wanted,
        mappings: &[Mapping],
        locals: Vec<String>,
        by_iptables: bool,
    ) -> Result<Self, Error> {
        let addresses = &container.addresses;
        let subnet = |address: &IpNetwork| IpNetwork::new(address.network(), address.prefix()).ok();
        let subnets: Vec<IpNetwork> = addresses.iter().filter_map(subnet).collect();
        let masq_all = conf.masq_all && !by_iptables;
        let has_hair = conf.snat && !by_iptables;
        let mut depends_on: Vec<String> = subnets.iter().map(ToString::to_string).collect();
        depends_on.push(masq_all.to_string());
        depends_on.extend(locals.iter().cloned());
        let old_chain = names::chain(&attachment.network, &depends_on);
        // The layout of the chain's rules.
        depends_on.push("2".to_owned());
        let name = names::chain(&attachment.network, &depends_on);
        Ok(Self {
            owner: Owner::of(attachment),
            chain: NetworkChain { name, subnets, masq_all, locals, is_old: false },
            ports: ports(mappings, addresses)?,
            hair: addresses.iter().filter(|_| has_hair).map(IpNetwork::ip).collect(),
            earlier: Earlier::default(),
            interface: container.interface.clone(),
            by_iptables,
            old_chain,
            comment: Holder::new(attachment, &container.interface).comment(),
        })
    }

    /// Every element but that in `owners`.
    pub(crate) fn elements(&self) -> Vec<Planned<'_>> {
        let Earlier { ports: standby, localhost: lent, addresses, .. } = &self.earlier;
        let comment = self.comment.as_str();
        let plain = |place: &Place| Element::new(&place.1).comment(comment);
        let (others, own): (Vec<&_>, Vec<&_>) =
            self.ports.iter().partition(|(_, port)| standby.contains(port));
        let mut all = Vec::new();
        for from in own.iter().copied().filter(|_| !self.by_iptables) {
            let place = from.1.place();
            let element = from.1.element(&place.1, comment);
            all.push((place, element, Some(from)));
        }
        // A port on all addresses and the same on [::1] share an element.
        let mut seen = HashSet::new();
        for from in own.into_iter().filter(|(_, port)| !lent.contains(port)) {
            if let Some(place) = from.1.localhost().filter(|(set, _)| self.has_localhost(set))
                && (*place.0 != LOCAL6 || seen.insert(place.1.clone()))
            {
                let element = plain(&place);
                all.push((place, element, Some(from)));
            }
        }
        for (_, port) in others {
            if let Some(place) = standby_of(&self.owner, &port.place()) {
                let element = port.element(&place.1, comment);
                all.push((place, element, None));
            }
        }
        for address in self.hair.iter().filter(|address| !addresses.contains(address)) {
            let place = hair_place(*address);
            let element = plain(&place).verdict(Verdict::goto(self.chain.name.as_str()));
            all.push((place, element, None));
        }
        // An attachment that only waits for a place needs an element all the same: its comment becomes the place's.
        for port in lent.iter().filter(|_| self.by_iptables) {
            let place = (&AT4, port.waiting().place().1);
            let element = plain(&place);
            all.push((place, element, None));
        }
        all
    }

    /// Whether localhost leads to ports of such a set.
    fn has_localhost(&self, set: &Set<'_>) -> bool {
        self.chain.locals.iter().any(|local| local == localhost_of_set(set))
    }

    /// The same as it was made in an earlier layout, if that is the chain's name.
    pub(crate) fn made_as(mut self, chain: &str) -> Self {
        if chain == self.old_chain {
            self.chain.name.clone_from(&self.old_chain);
            self.chain.is_old = true;
        }
        self
    }

    /// The element in `owners`.
    pub(crate) fn record(&self) -> Record {
        let all = self.ports.iter().map(|(_, port)| port);
        let (standby, ports): (Vec<&_>, Vec<&_>) = all.partition(|port| self.earlier.ports.contains(port));
        let mut words: Vec<String> = self.hair.iter().map(ToString::to_string).collect();
        if self.by_iptables {
            let waiting = ports.iter().filter(|port| self.earlier.localhost.contains(port));
            words.extend(ports.iter().map(|port| word(BY_IPTABLES, port)));
            words.extend(waiting.map(|port| word(BY_IPTABLES, &port.waiting())));
        } else {
            words.extend(ports.into_iter().map(|port| word("", port)));
            words.extend(standby.into_iter().map(|port| word(STANDBY, port)));
        }
        Record::new(&self.owner, &self.chain.name, &self.chain.locals, words)
    }
}

impl Earlier {
    /// Adds what was found in a further look.
    pub(crate) fn extend(&mut self, found: Self) {
        let known = self.owners.clone();
        self.owners.extend(found.owners.into_iter().filter(|owner| !known.contains(owner)));
        self.ports.extend(found.ports);
        self.localhost.extend(found.localhost);
        self.addresses.extend(found.addresses);
    }

    /// Leaves out what is gone by now.
    pub(crate) fn forget_gone(&mut self, rules: &mut Socket) -> Result<(), Error> {
        let mut outcome = Ok(());
        let mut is_there = |place: Option<Place>| match place.map(|(map, key)| rules.get_element(map, &key)) {
            Some(Ok(found)) => found.is_some(),
            Some(Err(error)) => {
                outcome = Err(error.into());
                true
            }
            None => false,
        };
        self.ports.retain(|port| is_there(Some(port.place())));
        self.localhost.retain(|port| is_there(port.localhost()));
        self.addresses.retain(|address| is_there(Some(hair_place(*address))));
        outcome
    }
}

#[cfg(test)]
mod tests;
