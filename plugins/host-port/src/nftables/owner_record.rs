//! The owner record: one element of the map `owners`, whose comment names what an attachment has in the table. DEL needs
//! nothing else.
//!
//! `<interfaces of localhost with / in between, or -> <word>…`, where a word is
//! - a container's address,
//! - `protocol/port` or `address/protocol/port`: a published port,
//! - `~` before a port: on standby, or taken over from another of the container's networks,
//! - `=` before a port: iptables publishes it, and only localhost leads there by this table,
//! - `+<owner>`: an heir, which has some of these ports on standby, or one of these addresses,
//! - `...`, at the end: there was no room for the rest, and the maps are to be searched.

use std::net::IpAddr;

use cni::host_ports;
use nftables::ledger::COMMENT_MAX;
use nftables::{Data, Element, Socket, Verdict};

use super::owner::Owner;
use super::place::{Place, hair_place, localhost_of, place_of, standby_of};
use super::table::{AT4, HOST4, OWNERS};
use crate::error::Error;
use crate::port::Port;

/// Stands where there is no interface.
const NONE: &str = "-";
/// Between interfaces: what no name of one has (`dev_valid_name`).
const AND: &str = "/";
/// Ends a record that had no room for everything.
const MORE: &str = "...";
/// Begins the word of a port that another network of the container has.
pub(super) const STANDBY: &str = "~";
/// Begins the word of a port that is published by iptables.
pub(super) const BY_IPTABLES: &str = "=";
/// Begins the word of an heir.
const HEIR: &str = "+";

/// An element of `owners`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub owner: Owner,
    /// The network's chain, which it leads to.
    pub chain: String,
    /// Its comment.
    text: String,
}

impl Record {
    /// Of interfaces of localhost, and of words: addresses, and ports as [`word`] writes them.
    pub(super) fn new(
        owner: &Owner,
        chain: &str,
        locals: &[String],
        words: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut text = if locals.is_empty() { NONE.to_owned() } else { locals.join(AND) };
        let mut last = String::new();
        for word in words {
            // Both families of one port are one word.
            if word != last && !push(&mut text, &word) {
                break;
            }
            last = word;
        }
        Self { owner: owner.clone(), chain: chain.to_owned(), text }
    }

    /// Reads an owner's; `None` where there is none.
    pub(crate) fn find(rules: &mut Socket, owner: &Owner) -> Result<Option<Self>, Error> {
        let element = rules.get_element(&OWNERS, &[owner.key()?])?;
        Ok(element.and_then(|element| {
            let chain = chain(&element)?.to_owned();
            Some(Self { owner: owner.clone(), chain, text: element.comment.unwrap_or_default() })
        }))
    }

    /// The element.
    pub(crate) fn element(&self) -> Result<Element, Error> {
        let element = Element::new(&[self.owner.key()?]);
        Ok(element.verdict(Verdict::goto(self.chain.as_str())).comment(self.text.as_str()))
    }

    /// Whether it had room for everything.
    pub(super) fn is_whole(&self) -> bool {
        !self.text.ends_with(MORE)
    }

    /// The same with further heirs; `None` where it has them all.
    pub(super) fn with_heirs(&self, heirs: &[Owner]) -> Option<Self> {
        let mut more = self.clone();
        for heir in heirs.iter().filter(|heir| **heir != self.owner) {
            let word = format!("{HEIR}{}", heir.digits());
            if more.is_whole() && !more.words().any(|known| known == word) {
                push(&mut more.text, &word);
            }
        }
        (more != *self).then_some(more)
    }

    /// The heirs that it names.
    pub(super) fn heirs(&self) -> Vec<Owner> {
        self.words().filter_map(|word| word.strip_prefix(HEIR)).filter_map(Owner::from_digits).collect()
    }

    /// The interfaces of localhost that it names.
    pub(crate) fn locals(&self) -> Vec<String> {
        let first = self.text.split(' ').next().filter(|word| !word.is_empty() && *word != NONE);
        first.into_iter().flat_map(|word| word.split(AND)).map(str::to_owned).collect()
    }

    /// Whether it names an address of the container.
    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        self.words().any(|word| word.parse() == Ok(address))
    }

    /// Whether its attachment has ports in this table.
    pub(crate) fn has_ports(&self) -> bool {
        self.words().next().is_some_and(|word| !word.starts_with(BY_IPTABLES) && !word.starts_with(HEIR))
    }

    /// Whether it names a port of such a place, other than on standby.
    pub(super) fn publishes(&self, place: &Place) -> bool {
        let mut words = self.words().filter(|word| !word.starts_with(STANDBY));
        words.any(|word| places(&self.owner, word).contains(place))
    }

    /// Adds the places that it stands for, each once: a port that one family has and the other has on standby is two words. To
    /// delete an element twice is an error.
    pub(super) fn add_places(&self, all: &mut Vec<Place>) {
        for place in self.words().flat_map(|word| places(&self.owner, word)) {
            if !all.contains(&place) {
                all.push(place);
            }
        }
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        self.text.split(' ').skip(1)
    }
}

/// The chain that an element of `owners` leads to.
pub(super) fn chain(element: &Element) -> Option<&str> {
    match &element.data {
        Some(Data::Verdict(verdict)) => verdict.chain(),
        _ => None,
    }
}

/// Appends a word, or says that there is no room for more.
fn push(text: &mut String, word: &str) -> bool {
    let has_room = text.len() + word.len() + 2 + MORE.len() <= COMMENT_MAX;
    text.push(' ');
    text.push_str(if has_room { word } else { MORE });
    has_room
}

/// The word of a port; `mark` is one of those that begin a word, or empty.
pub(super) fn word(mark: &str, port: &Port) -> String {
    let Port { host_ip, host_port, protocol, .. } = port;
    match host_ip {
        Some(address) => format!("{mark}{address}/{protocol}/{host_port}"),
        None => format!("{mark}{protocol}/{host_port}"),
    }
}

/// The places that a word of an owner stands for, and those of the family that it may not be in as well.
fn places(owner: &Owner, word: &str) -> Vec<Place> {
    if let Some(word) = word.strip_prefix(STANDBY) {
        let by_network = places(owner, word);
        let standby = by_network.iter().filter_map(|place| standby_of(owner, place)).collect();
        return [by_network, standby].concat();
    }
    if let Some(word) = word.strip_prefix(BY_IPTABLES) {
        let of_localhost = |place: Place| match place {
            (&HOST4, key) => Some((&AT4, key)),
            place => localhost_of(&place),
        };
        return published(word).into_iter().filter_map(of_localhost).collect();
    }
    if let Ok(address) = word.parse() {
        return vec![hair_place(address)];
    }
    let published = published(word);
    let localhost = published.iter().filter_map(localhost_of).collect();
    [published, localhost].concat()
}

/// The places in the maps of ports that a word stands for.
fn published(word: &str) -> Vec<Place> {
    let places = host_ports::ports(word).map(|(host_ip, protocol, port)| match host_ip {
        Some(address) => vec![place_of(host_ip, address.is_ipv4(), protocol, port)],
        None => [true, false].map(|is_ipv4| place_of(None, is_ipv4, protocol, port)).into(),
    });
    places.flatten().collect()
}

#[cfg(test)]
mod tests;
