//! Free ports of the host, for `hostPort: 0`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::RangeInclusive;

use cni::Protocol;
use ipnetwork::IpNetwork;
use netlink::sysctl;
use nftables::{Batch, Data, Element, Field, Socket};

use super::table::CHOSEN;
use crate::backend::Wanted;
use crate::conf::Mapping;
use crate::error::Error;
use crate::listener;
use crate::plan::ports;
use crate::port::Port;

/// The choice of the host ports that a configuration leaves open.
#[derive(Debug)]
pub(crate) struct Choice {
    /// By place in the mappings: whether the host port is this plugin's choice.
    open: Vec<bool>,
    /// Made when first needed.
    candidates: BTreeMap<Protocol, Candidates>,
    /// How often a port that was chosen was lost to another container.
    losses: u32,
}

impl Choice {
    /// Nothing is chosen yet.
    pub(crate) fn new(mappings: &[Mapping]) -> Self {
        let open = mappings.iter().map(|mapping| mapping.host_port.is_none()).collect();
        Self { open, candidates: BTreeMap::new(), losses: 0 }
    }

    /// Gives each mapping without a host port one that is free as far as can be seen; whether it is, the transaction decides.
    pub(crate) fn fill(
        &mut self,
        rules: &mut Socket,
        wanted: &Wanted,
        mappings: &mut [Mapping],
    ) -> Result<(), Error> {
        for at in 0..mappings.len() {
            let mapping = mappings[at];
            if mapping.host_port.is_some() {
                continue;
            }
            let candidates = match self.candidates.entry(mapping.protocol) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(slot) => slot.insert(Candidates::new(rules, mapping.protocol, wanted)?),
            };
            let port = candidates.choose(rules, &mapping, mappings, &wanted.container.addresses)?;
            mappings[at].host_port = Some(port);
        }
        Ok(())
    }

    /// Opens a mapping again whose port another container has; false where the configuration asks for that very port.
    pub(crate) fn reopen(&mut self, mappings: &mut [Mapping], at: usize) -> bool {
        if self.open[at] {
            self.losses += 1;
            for candidates in self.candidates.values_mut() {
                candidates.step_aside(self.losses);
            }
            mappings[at].host_port = None;
        }
        self.open[at]
    }

    /// Adds to a transaction the last port that was chosen of each protocol.
    pub(crate) fn remember(
        &self,
        rules: &mut Socket,
        batch: &mut Batch,
        mappings: &[Mapping],
    ) -> Result<(), Error> {
        for protocol in self.candidates.keys() {
            let mut chosen = mappings.iter().zip(&self.open).rev().filter(|(_, open)| **open);
            let last = chosen.find(|(mapping, _)| mapping.protocol == *protocol);
            if let Some(port) = last.and_then(|(mapping, _)| mapping.host_port) {
                let key = [Field::Proto(protocol.number())];
                if rules.get_element(&CHOSEN, &key)?.is_some() {
                    batch.del_element(&CHOSEN, &key);
                }
                batch.create_element(&CHOSEN, &Element::new(&key).data(&[Field::Port(port)]));
            }
        }
        Ok(())
    }
}

/// The ports of a range for one protocol, each once: first the one after the last that was chosen on this host.
#[derive(Debug)]
struct Candidates {
    protocol: Protocol,
    range: RangeInclusive<u16>,
    reserved: Vec<RangeInclusive<u16>>,
    /// Differs from container to container.
    seed: usize,
    /// Offset in `range` of the next one.
    next: usize,
    /// How many have not been tried.
    left: usize,
}

impl Candidates {
    /// Those of `freePorts`, or of `net.ipv4.ip_local_port_range`, less `net.ipv4.ip_local_reserved_ports`. Where none was
    /// chosen before, the attachment says where to begin, so that a port does not come back at once with another owner.
    fn new(rules: &mut Socket, protocol: Protocol, wanted: &Wanted) -> Result<Self, Error> {
        let range = match &wanted.conf.free_ports {
            Some(range) => range.clone(),
            None => parse_range(&sysctl::get("net/ipv4/ip_local_port_range")?),
        };
        let reserved = parse_list(&sysctl::get("net/ipv4/ip_local_reserved_ports")?);
        let digits = wanted.attachment.token();
        let seed = digits.get(..8).and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let last = last_chosen(rules, protocol)?;
        Ok(Self::of(protocol, range, reserved, seed.unwrap_or_default(), last))
    }

    fn of(
        protocol: Protocol,
        range: RangeInclusive<u16>,
        reserved: Vec<RangeInclusive<u16>>,
        seed: usize,
        last: Option<u16>,
    ) -> Self {
        let count = range.len().max(1);
        let next = match last.filter(|last| range.contains(last)) {
            Some(last) => usize::from(last - range.start()) + 1,
            None => seed,
        };
        Self { protocol, reserved, seed, next: next % count, left: range.len(), range }
    }

    /// Finds a port for a mapping, on the addresses of the container's families, that nobody has.
    fn choose(
        &mut self,
        rules: &mut Socket,
        mapping: &Mapping,
        others: &[Mapping],
        addresses: &[IpNetwork],
    ) -> Result<u16, Error> {
        for candidate in self.by_ref() {
            let is_given =
                |other: &Mapping| other.host_port == Some(candidate) && other.protocol == mapping.protocol;
            let chosen = Mapping { host_port: Some(candidate), ..*mapping };
            if !others.iter().any(is_given) && is_free(rules, &ports(&[chosen], addresses)?)? {
                return Ok(candidate);
            }
        }
        Err(Error::NoneFree { protocol: self.protocol, first: *self.range.start(), last: *self.range.end() })
    }

    /// After a port was lost to a container that chose it at the same moment: skips ports, more with each loss, so that many
    /// ADDs at once do not choose the same ports again and again.
    fn step_aside(&mut self, losses: u32) {
        let span = 1_usize << losses.min(12);
        self.next = (self.next + self.seed % span) % self.range.len().max(1);
        self.left = self.range.len();
    }
}

impl Iterator for Candidates {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        while self.left > 0 {
            let port = self.range.clone().nth(self.next)?;
            self.left -= 1;
            self.next = (self.next + 1) % self.range.len();
            if !self.reserved.iter().any(|reserved| reserved.contains(&port)) {
                return Some(port);
            }
        }
        None
    }
}

fn last_chosen(rules: &mut Socket, protocol: Protocol) -> Result<Option<u16>, Error> {
    let element = rules.get_element(&CHOSEN, &[Field::Proto(protocol.number())])?;
    Ok(element.and_then(|element| match element.data {
        Some(Data::Value(bytes)) => bytes.try_into().ok().map(u16::from_be_bytes),
        _ => None,
    }))
}

/// Fills in host ports that an ADD chose before: ports that lead to the mapping's port of the container.
pub(crate) fn recall(mappings: &mut [Mapping], own: &[Port]) {
    for at in 0..mappings.len() {
        let mapping = mappings[at];
        if mapping.host_port.is_some() {
            continue;
        }
        let is_given = |number| {
            mappings.iter().any(|other| other.protocol == mapping.protocol && other.host_port == Some(number))
        };
        let is_it = |port: &&Port| {
            port.protocol == mapping.protocol
                && port.container.port() == mapping.container_port
                && port.host_ip == mapping.host_ip.filter(|ip| !ip.is_unspecified())
                && !is_given(port.host_port)
        };
        mappings[at].host_port = own.iter().find(is_it).map(|port| port.host_port);
    }
}

fn is_free(rules: &mut Socket, ports: &[(usize, Port)]) -> Result<bool, Error> {
    for (_, port) in ports {
        let (map, key) = port.place();
        if rules.get_element(map, &key)?.is_some() || listener::is_bound(port) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Two numbers, as in `32768 60999`; Docker's own range where the kernel's cannot be read.
fn parse_range(text: &str) -> RangeInclusive<u16> {
    let mut ends = text.split_whitespace().filter_map(|end| end.parse().ok());
    match (ends.next(), ends.next()) {
        (Some(first), Some(last)) => first..=last,
        _ => 49_153..=65_535,
    }
}

/// `8080,9148-9150`.
fn parse_list(text: &str) -> Vec<RangeInclusive<u16>> {
    let parse = |item: &str| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.split(',').filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(seed: usize, last: Option<u16>) -> Candidates {
        let reserved = parse_list("32770,32772-32773\n".trim());
        Candidates::of(Protocol::Tcp, parse_range("32768\t32775"), reserved, seed, last)
    }

    #[test]
    fn each_candidate_comes_once_and_reserved_ones_never() {
        assert_eq!(candidates(6, None).collect::<Vec<_>>(), [32774, 32775, 32768, 32769, 32771]);
    }

    #[test]
    fn they_go_on_from_the_last_one() {
        assert_eq!(candidates(0, Some(32769)).next(), Some(32771));
        assert_eq!(candidates(0, Some(32775)).next(), Some(32768));
        assert_eq!(candidates(1, Some(80)).next(), Some(32769), "of another range");
    }

    #[test]
    fn who_steps_aside_still_comes_to_all() {
        let mut all = candidates(5, Some(32768));
        all.next();
        all.step_aside(3);
        let mut rest: Vec<u16> = all.collect();
        assert_eq!(rest[0], 32775);
        rest.sort_unstable();
        assert_eq!(rest, [32768, 32769, 32771, 32774, 32775]);
    }

    #[test]
    fn what_is_not_a_list_reserves_nothing() {
        assert!(parse_list("").is_empty());
        assert_eq!(parse_range("?"), 49_153..=65_535);
    }
}
