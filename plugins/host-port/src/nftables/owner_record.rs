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
use nftables::{Data, Element, Verdict};

use super::owner::Owner;
use super::place::{self, Place, hair_place, standby_of};
use super::table::{AT4, HOST4};
use crate::error::Error;
use crate::port::Port;

/// Stands where there is no interface.
const NONE: &str = "-";
/// Between interfaces: what no name of one has (`dev_valid_name`).
const AND: char = '/';
/// Ends a record that had no room for everything.
pub(super) const MORE: &str = "...";
/// Begins the word of a port that another network of the container has.
const SPARE: char = '~';
/// Begins the word of a port that is published by iptables.
const ELSEWHERE: char = '=';
/// Begins the word of an heir.
const HEIR: char = '+';

/// The element of `owners` for an attachment that has these ports by iptables, with localhost by this table.
pub(crate) fn of_localhost(
    owner: &Owner,
    chain: &str,
    locals: &[String],
    ports: &[Port],
    lent: &[Port],
) -> Result<Element, Error> {
    let waiting = lent.iter().map(|port| Port { host_ip: Some(port.container.ip()), ..*port });
    let all = ports.iter().copied().chain(waiting);
    let words = all.map(|port| format!("{ELSEWHERE}{}", word(&port)));
    of_text(owner, chain, of_words(locals, words))
}

/// Whether a record names a port of such a place, other than to spare.
pub(crate) fn publishes(owner: &Owner, text: &str, place: &Place) -> bool {
    let words = text.split(' ').skip(1).filter(|word| !word.starts_with(SPARE));
    words.into_iter().any(|word| places(owner, word).contains(place))
}

/// The element of `owners` for an attachment with these ports, and with masquerading for these addresses.
pub(crate) fn element(
    owner: &Owner,
    chain: &str,
    locals: &[String],
    hair: &[IpAddr],
    ports: &[Port],
    spares: &[Port],
) -> Result<Element, Error> {
    of_text(owner, chain, write(locals, hair, ports, spares))
}

fn of_text(owner: &Owner, chain: &str, text: String) -> Result<Element, Error> {
    Ok(Element::new(&[owner.key()?]).verdict(Verdict::goto(chain)).comment(text))
}

/// The same element with further heirs; `None` where it has them all.
pub(crate) fn with_heirs(
    owner: &Owner,
    chain: &str,
    text: &str,
    heirs: &[Owner],
) -> Result<Option<Element>, Error> {
    let mut whole = text.to_owned();
    for heir in heirs {
        let word = format!("{HEIR}{}", heir.digits());
        if whole.ends_with(MORE) || heir == owner || whole.split(' ').any(|known| known == word) {
            continue;
        }
        if whole.len() + word.len() + 2 + MORE.len() > COMMENT_MAX {
            whole = format!("{whole} {MORE}");
        } else {
            whole = format!("{whole} {word}");
        }
    }
    if whole == text { Ok(None) } else { of_text(owner, chain, whole).map(Some) }
}

/// The heirs that a record names.
pub(super) fn heirs(text: &str) -> Vec<Owner> {
    text.split(' ').filter_map(|word| word.strip_prefix(HEIR)).filter_map(Owner::from_digits).collect()
}

/// Whether a record names an address of the container.
pub(crate) fn has_address(text: &str, address: IpAddr) -> bool {
    text.split(' ').skip(1).any(|word| word.parse() == Ok(address))
}

fn write(locals: &[String], hair: &[IpAddr], ports: &[Port], spares: &[Port]) -> String {
    let addresses = hair.iter().map(ToString::to_string);
    let spares = spares.iter().map(|port| format!("{SPARE}{}", word(port)));
    of_words(locals, addresses.chain(ports.iter().map(word)).chain(spares))
}

fn of_words(locals: &[String], words: impl Iterator<Item = String>) -> String {
    let mut text = if locals.is_empty() { NONE.to_owned() } else { locals.join(&AND.to_string()) };
    let mut last = String::new();
    for word in words {
        // Both families of one port are one word.
        if word == last {
            continue;
        }
        if text.len() + word.len() + 2 + MORE.len() > COMMENT_MAX {
            return format!("{text} {MORE}");
        }
        text = format!("{text} {word}");
        last = word;
    }
    text
}

fn word(port: &Port) -> String {
    let Port { host_ip, host_port, protocol, .. } = port;
    match host_ip {
        Some(address) => format!("{address}/{protocol}/{host_port}"),
        None => format!("{protocol}/{host_port}"),
    }
}

/// The places that a word of an owner stands for, and those of the family that it may not be in as well.
fn places(owner: &Owner, word: &str) -> Vec<Place> {
    if let Some(word) = word.strip_prefix(SPARE) {
        let by_network = places(owner, word);
        let spares = by_network.iter().filter_map(|place| standby_of(owner, place)).collect();
        return [by_network, spares].concat();
    }
    if let Some(word) = word.strip_prefix(ELSEWHERE) {
        let of_localhost = |place: Place| match &place {
            (map, key) if **map == HOST4 => Some((&AT4, key.clone())),
            place => place::localhost_of(place),
        };
        return published(word).into_iter().filter_map(of_localhost).collect();
    }
    if let Ok(address) = word.parse() {
        return vec![hair_place(address)];
    }
    let published = published(word);
    let localhost: Vec<Place> = published.iter().filter_map(place::localhost_of).collect();
    [published, localhost].concat()
}

/// The places in the maps of ports that a word stands for.
fn published(word: &str) -> Vec<Place> {
    let mut parts = word.rsplit('/');
    let port = parts.next().and_then(|part| part.parse().ok());
    let protocol = parts.next().and_then(|text| text.parse().ok());
    let (Some(port), Some(protocol)) = (port, protocol) else {
        return Vec::new();
    };
    let place = |host_ip, is_ipv4| (place::map(host_ip, is_ipv4), place::key_of(host_ip, protocol, port));
    match parts.next().map(str::parse::<IpAddr>) {
        None => vec![place(None, true), place(None, false)],
        Some(Ok(address)) => vec![place(Some(address), address.is_ipv4())],
        Some(Err(_)) => Vec::new(),
    }
}

/// Adds the places that a record stands for, each once: of a port that one family has, and the other has to spare, there are
/// two words. To delete an element twice is an error.
pub(super) fn add_remembered(candidates: &mut Vec<Place>, owner: &Owner, text: &str) {
    for place in text.split(' ').skip(1).flat_map(|word| places(owner, word)) {
        if !candidates.contains(&place) {
            candidates.push(place);
        }
    }
}

/// The chain that an element of `owners` leads to.
pub(crate) fn chain(element: &Element) -> Option<&str> {
    match &element.data {
        Some(Data::Verdict(verdict)) => verdict.chain(),
        _ => None,
    }
}

/// Whether an element of `owners` is of an attachment with ports in this table.
pub(crate) fn has_ports(element: &Element) -> bool {
    let first = element.comment.as_deref().and_then(|text| text.split(' ').nth(1));
    first.is_some_and(|word| !word.starts_with([ELSEWHERE, HEIR]))
}

/// The interfaces of localhost that an element of `owners` needs.
pub(crate) fn locals(element: &Element) -> Vec<String> {
    element.comment.as_deref().map(interfaces).unwrap_or_default()
}

/// The interfaces that a record names.
pub(crate) fn interfaces(text: &str) -> Vec<String> {
    let word = text.split(' ').next().filter(|word| !word.is_empty() && *word != NONE);
    word.into_iter().flat_map(|word| word.split(AND)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use cni::Protocol;

    use super::super::place::waiting_place;
    use super::super::table::{LOCAL4, LOCAL6};
    use super::*;

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
        let text = write(&locals, &hair, &ports, &[]);
        assert_eq!(
            text,
            "cni0/lo 10.1.0.11 fd00::11 tcp/8080 127.0.0.1/tcp/81 2001:db8::1/tcp/82 ::1/tcp/83"
        );
        assert_eq!(interfaces(&text), locals);
        let owner = Owner::from_digits("0123456789abcd").unwrap();
        let found: Vec<Place> = text.split(' ').skip(1).flat_map(|word| places(&owner, word)).collect();
        let of_ports = ports.iter().map(|port| (port.map(), port.key()));
        for place in hair.into_iter().map(hair_place).chain(of_ports) {
            assert!(found.contains(&place), "{place:?}");
        }
        for number in [8080, 83] {
            assert!(found.contains(&(&LOCAL6, place::key_of(None, Protocol::Tcp, number))));
        }
        assert!(found.contains(&(&LOCAL4, place::key_of(None, Protocol::Tcp, 8080))));
        assert!(found.contains(&(&AT4, ports[2].key())));
        assert_eq!(found.len(), 11);
    }

    #[test]
    fn ports_of_iptables_are_of_localhost_alone() {
        let owner = Owner::from_digits("0123456789abcd").unwrap();
        let port = published(None, 8080, "10.1.0.11:80");
        let locals = ["127.0.0.1".to_owned()];
        let element = of_localhost(&owner, "hair", &locals, &[port], &[]).unwrap();
        assert_eq!(element.comment.as_deref(), Some("127.0.0.1 =tcp/8080"));
        assert!(!has_ports(&element));
        assert!(places(&owner, "=tcp/8080").contains(&port.localhost().unwrap()));
        assert!(!places(&owner, "=tcp/8080").contains(&(port.map(), port.key())));
        let waits = of_localhost(&owner, "hair", &locals, &[port], &[port]).unwrap().comment.unwrap();
        assert_eq!(waits, "127.0.0.1 =tcp/8080 =10.1.0.11/tcp/8080");
        assert_eq!(places(&owner, "=10.1.0.11/tcp/8080"), [waiting_place(&port)]);
        assert!(publishes(&owner, &waits, &port.localhost().unwrap()));
        assert!(!publishes(&owner, "127.0.0.1 ~tcp/8080", &port.localhost().unwrap()));
    }

    #[test]
    fn what_has_no_room_is_told() {
        let ports: Vec<Port> = (1..60).map(|number| published(None, number, "10.1.0.11:80")).collect();
        let text = write(&[], &[], &ports, &[]);
        assert!(text.len() <= COMMENT_MAX && text.ends_with(" tcp/18 ..."), "{text}");
        assert!(interfaces(&text).is_empty());
    }

    #[test]
    fn spares_and_heirs_are_remembered_once() {
        let owner = |digits: &str| Owner::from_digits(digits).unwrap();
        let (own, heir) = (owner("0123456789abcd"), owner("00000000000001"));
        let port = published(None, 8080, "10.1.0.11:80");
        let text = write(&[], &[], &[], &[port]);
        assert_eq!(text, "- ~tcp/8080");
        let found = places(&own, "~tcp/8080");
        assert!(found.contains(&(port.map(), port.key())));
        assert!(found.contains(&standby_of(&own, &(port.map(), port.key())).unwrap()));
        let named = with_heirs(&own, "hair", &text, &[heir.clone(), own.clone()]).unwrap().unwrap();
        assert_eq!(named.comment.as_deref(), Some("- ~tcp/8080 +00000000000001"));
        assert_eq!(heirs(&named.comment.unwrap()), std::slice::from_ref(&heir));
        assert_eq!(with_heirs(&own, "hair", "- +00000000000001", std::slice::from_ref(&heir)).unwrap(), None);
        // Without room all are searched for.
        let full = "x".repeat(COMMENT_MAX - 8);
        let named = with_heirs(&own, "hair", &full, std::slice::from_ref(&heir)).unwrap().unwrap();
        assert_eq!(named.comment, Some(format!("{full} ...")));
        assert_eq!(with_heirs(&own, "hair", "- ...", &[heir]).unwrap(), None);
    }

    #[test]
    fn a_port_of_one_family_that_the_other_has_to_spare_has_each_place_once() {
        let owner = Owner::from_digits("0123456789abcd").unwrap();
        let mut candidates = Vec::new();
        add_remembered(&mut candidates, &owner, "- tcp/8080 ~tcp/8080");
        for (at, place) in candidates.iter().enumerate() {
            assert!(!candidates[at + 1..].contains(place), "{place:?}");
        }
        assert!(candidates.len() > 3, "{candidates:?}");
    }

    #[test]
    fn words_of_others_lead_nowhere() {
        let owner = Owner::from_digits("0123456789abcd").unwrap();
        for word in ["", "-", "tcp", "tcp/x", "x/tcp/1", "icmp/1", "~", "~x", "+0123456789abcd"] {
            assert!(places(&owner, word).is_empty(), "{word}");
        }
    }
}
