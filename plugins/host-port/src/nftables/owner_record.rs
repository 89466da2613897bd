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

use nftables::ledger::COMMENT_MAX;
use nftables::{Data, Element, Socket, Verdict};

use super::owner::Owner;
use super::place::{Place, hair_place, localhost_of, place_of, standby_of};
use super::table::{AT4, HOST4, OWNERS};
use crate::error::Error;
use crate::port::{Port, Protocol};

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
    let mut parts = word.rsplit('/');
    let port = parts.next().and_then(|part| part.parse().ok());
    let protocol = parts.next().and_then(Protocol::parse);
    let (Some(port), Some(protocol)) = (port, protocol) else {
        return Vec::new();
    };
    match parts.next().map(str::parse::<IpAddr>) {
        None => [true, false].map(|is_ipv4| place_of(None, is_ipv4, protocol, port)).into(),
        Some(Ok(address)) => vec![place_of(Some(address), address.is_ipv4(), protocol, port)],
        Some(Err(_)) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{LOCAL4, LOCAL6};
    use super::*;

    fn owner(digits: &str) -> Owner {
        Owner::from_digits(digits).unwrap()
    }

    fn record(text: &str) -> Record {
        Record { owner: owner("0123456789abcd"), chain: "hair".to_owned(), text: text.to_owned() }
    }

    fn places_of(text: &str) -> Vec<Place> {
        let mut places = Vec::new();
        record(text).add_places(&mut places);
        places
    }

    fn written(locals: &[String], words: impl IntoIterator<Item = String>) -> String {
        Record::new(&owner("0123456789abcd"), "hair", locals, words).text
    }

    fn published(host_ip: Option<&str>, host_port: u16, container: &str) -> Port {
        Port {
            host_ip: host_ip.map(|text| text.parse().unwrap()),
            host_port,
            protocol: Protocol::Tcp,
            container: container.parse().unwrap(),
        }
    }

    #[test]
    fn every_place_is_remembered() {
        let hair: Vec<IpAddr> = vec!["10.1.0.11".parse().unwrap(), "fd00::11".parse().unwrap()];
        let ports = [
            published(None, 8080, "10.1.0.11:80"),
            published(None, 8080, "[fd00::11]:80"),
            published(Some("127.0.0.1"), 81, "10.1.0.11:80"),
            published(Some("2001:db8::1"), 82, "[fd00::11]:80"),
            published(Some("::1"), 83, "[fd00::11]:80"),
        ];
        let locals = ["cni0", "lo"].map(str::to_owned);
        let words = hair.iter().map(ToString::to_string).chain(ports.iter().map(|port| word("", port)));
        let text = written(&locals, words);
        assert_eq!(
            text,
            "cni0/lo 10.1.0.11 fd00::11 tcp/8080 127.0.0.1/tcp/81 2001:db8::1/tcp/82 ::1/tcp/83"
        );
        assert_eq!(record(&text).locals(), locals);
        let found = places_of(&text);
        for place in hair.into_iter().map(hair_place).chain(ports.iter().map(Port::place)) {
            assert!(found.contains(&place), "{place:?}");
        }
        for number in [8080, 83] {
            assert!(found.contains(&(&LOCAL6, place_of(None, false, Protocol::Tcp, number).1)));
        }
        assert!(found.contains(&(&LOCAL4, ports[0].place().1)));
        assert!(found.contains(&(&AT4, ports[2].place().1)));
        assert_eq!(found.len(), 11);
    }

    #[test]
    fn ports_of_iptables_are_of_localhost_alone() {
        let port = published(None, 8080, "10.1.0.11:80");
        let localhost = port.localhost().unwrap();
        let locals = ["127.0.0.1".to_owned()];
        let text = written(&locals, [word(BY_IPTABLES, &port)]);
        assert_eq!(text, "127.0.0.1 =tcp/8080");
        assert!(!record(&text).has_ports());
        assert!(places_of(&text).contains(&localhost));
        assert!(!places_of(&text).contains(&port.place()));
        let waits = written(&locals, [&port, &port.waiting()].map(|port| word(BY_IPTABLES, port)));
        assert_eq!(waits, "127.0.0.1 =tcp/8080 =10.1.0.11/tcp/8080");
        assert_eq!(places_of("- =10.1.0.11/tcp/8080"), [(&AT4, port.waiting().place().1)]);
        assert!(record(&waits).publishes(&localhost));
        assert!(!record("127.0.0.1 ~tcp/8080").publishes(&localhost));
    }

    #[test]
    fn what_has_no_room_is_marked() {
        let ports = (1..60).map(|number| published(None, number, "10.1.0.11:80"));
        let text = written(&[], ports.map(|port| word("", &port)));
        assert!(text.len() <= COMMENT_MAX && text.ends_with(" tcp/18 ..."), "{text}");
        assert!(record(&text).locals().is_empty() && !record(&text).is_whole());
    }

    #[test]
    fn standby_and_heirs_are_remembered_once() {
        let (own, heir) = (owner("0123456789abcd"), owner("00000000000001"));
        let port = published(None, 8080, "10.1.0.11:80");
        let text = written(&[], [word(STANDBY, &port)]);
        assert_eq!(text, "- ~tcp/8080");
        let found = places_of(&text);
        assert!(found.contains(&port.place()));
        assert!(found.contains(&standby_of(&own, &port.place()).unwrap()));
        let named = record(&text).with_heirs(&[heir.clone(), own]).unwrap();
        assert_eq!(named.text, "- ~tcp/8080 +00000000000001");
        assert_eq!(named.heirs(), std::slice::from_ref(&heir));
        assert_eq!(record("- +00000000000001").with_heirs(std::slice::from_ref(&heir)), None);
        // Without room all are searched for.
        let full = "x".repeat(COMMENT_MAX - 8);
        let named = record(&full).with_heirs(std::slice::from_ref(&heir)).unwrap();
        assert_eq!(named.text, format!("{full} ..."));
        assert_eq!(record("- ...").with_heirs(&[heir]), None);
    }

    #[test]
    fn a_port_of_one_family_that_the_other_has_on_standby_has_each_place_once() {
        let places = places_of("- tcp/8080 ~tcp/8080");
        for (at, place) in places.iter().enumerate() {
            assert!(!places[at + 1..].contains(place), "{place:?}");
        }
        assert!(places.len() > 3, "{places:?}");
    }

    #[test]
    fn words_of_others_lead_nowhere() {
        for word in ["", "-", "tcp", "tcp/x", "x/tcp/1", "icmp/1", "~", "~x", "+0123456789abcd"] {
            assert!(places_of(&format!("- {word}")).is_empty(), "{word}");
        }
    }
}
