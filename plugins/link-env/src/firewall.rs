//! Links where the members of a network are kept apart: what a recipient may open to a source, one element a port in the
//! sets of the bridge (`cni::links` says what they hold and who makes them).
//!
//! What is open follows from the registry alone, and the registry is written between: first what a change closes, then
//! the registry, then what it opens. Whatever kills the process, nothing is open that the registry does not tell of.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use cni::{AddResult, links};
use nftables::{Batch, Element, Family, Field, Set, Socket, Table, Type};
use registry::{Member, Network, Protocol, qualify};

use crate::bounds::{self, OPENED};
use crate::error::Error;

const TABLE: Table = Table::new(Family::Inet, links::TABLE);
const KEY4: &[Type] = &[Type::Ipv4Addr, Type::Ipv4Addr, Type::InetProto, Type::InetService];
const KEY6: &[Type] = &[Type::Ipv6Addr, Type::Ipv6Addr, Type::InetProto, Type::InetService];

/// How often a transaction is tried again when somebody else changed the same elements.
const TRIES: usize = 20;
/// Elements of one transaction. In a user namespace the kernel takes some 4,000.
const BATCH: usize = 1_000;
/// The longest comment that `nft` reads back, in bytes.
const COMMENT_MAX: usize = 127;

/// A port of a source that a recipient may reach.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Opening {
    bridge: String,
    from: IpAddr,
    to: IpAddr,
    protocol: Protocol,
    port: u16,
}

/// What a change of a network closes and opens, with what the elements tell people.
#[derive(Debug)]
pub(crate) struct Firewall {
    close: BTreeSet<Opening>,
    open: BTreeMap<Opening, String>,
}

impl Firewall {
    /// Of a network that becomes another. The `changed` members are those that came, went or are others by now; only they
    /// and those who link to them are looked at.
    pub(crate) fn new(before: &Network, after: &Network, changed: &[Member]) -> Self {
        let open = openings(after, changed);
        let mut close: BTreeSet<Opening> = openings(before, changed).into_keys().collect();
        close.retain(|opening| !open.contains_key(opening));
        Self { close, open }
    }

    /// Closes what is no link any more. What is closed already, with its set or without, is as good.
    pub(crate) fn close(&self) -> Result<(), Error> {
        let openings: Vec<&Opening> = self.close.iter().collect();
        each_chunk(&openings, |socket, openings| {
            let mut batch = Batch::new();
            for opening in openings {
                let (name, key) = (opening.set_name(), opening.key());
                let set = opening.set(&name);
                if socket.get_element(&set, &key)?.is_some() {
                    batch.del_element(&set, &key);
                }
            }
            batch.commit(socket)
        })
    }

    /// Opens what is a link now, where anything is kept apart.
    pub(crate) fn open(&self) -> Result<(), Error> {
        let openings: Vec<(&Opening, &String)> = self.open.iter().collect();
        each_chunk(&openings, |socket, openings| {
            let mut batch = Batch::new();
            let mut known: BTreeMap<String, bool> = BTreeMap::new();
            for (opening, comment) in openings {
                let name = opening.set_name();
                let set = opening.set(&name);
                let is_there = match known.get(&name) {
                    Some(is_there) => *is_there,
                    None => socket.has_set(&set)?,
                };
                if is_there {
                    batch.add_element(&set, &Element::new(&opening.key()).comment(comment.as_str()));
                }
                known.insert(name, is_there);
            }
            batch.commit(socket)
        })
    }

    /// Names the first link that should be open and is not.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.open.is_empty() {
            return Ok(());
        }
        let mut socket = Socket::open()?;
        for (opening, comment) in &self.open {
            let name = opening.set_name();
            if socket.get_element(&opening.set(&name), &opening.key())?.is_none() {
                let Opening { from, to, protocol, port, .. } = opening;
                return Err(Error::Differs(format!(
                    "link {comment} is closed: set {name} of table {TABLE} does not have {from} . {to} . {protocol} . {port}"
                )));
            }
        }
        Ok(())
    }
}

/// The bridge that keeps the members of the network apart, by what the plugin before told of its interfaces; `None` where
/// none does, or where nobody needs to know because there is no link yet.
pub(crate) fn bridge(
    result: &AddResult,
    member: &Member,
    network: &Network,
) -> Result<Option<String>, Error> {
    let is_linked = !member.links.is_empty() || network.known().any(|other| !other.links.is_empty());
    let mut of_host = result.interfaces.iter().filter(|interface| interface.sandbox.is_empty()).peekable();
    if !is_linked || of_host.peek().is_none() {
        return Ok(None);
    }
    let mut socket = Socket::open()?;
    for interface in of_host {
        let [set4, _] = links::sets(&interface.name);
        if socket.has_set(&Set::new(TABLE, &set4, KEY4))? {
            return Ok(Some(interface.name.clone()));
        }
    }
    Ok(None)
}

/// Everything that links open of the given members, and of those who link to them. These are taken whole: two links may
/// lead to the same source, and one of them elsewhere when another member takes its name.
fn openings(network: &Network, members: &[Member]) -> BTreeMap<Opening, String> {
    let own: HashSet<(&str, &str)> = members.iter().map(Member::attachment).collect();
    let is_concerned = |recipient: &Member| {
        own.contains(&recipient.attachment()) || members.iter().any(|member| member.is_meant_by(recipient))
    };
    let mut openings = BTreeMap::new();
    for recipient in network.members.iter().filter(|recipient| is_concerned(recipient)) {
        let mut room = OPENED.most;
        for source in recipient.links.iter().filter_map(|link| network.find(recipient, &link.source)) {
            let Some(bridge) = common_bridge(recipient, source) else { continue };
            // As with variables: a source that has grown beyond is left out, whole, in the order of the links.
            let Some(left) = room.checked_sub(bounds::ports(&source.ports())) else { continue };
            room = left;
            let called = |member: &Member| qualify(&member.name, member.tenant());
            let mut comment = format!("{} {} -> {}", network.name, called(recipient), called(source));
            comment.truncate(COMMENT_MAX);
            for opening in between(bridge, recipient, source) {
                openings.insert(opening, comment.clone());
            }
        }
    }
    openings
}

/// The bridge that two members are on. Whoever joined when there was no link yet does not know.
fn common_bridge<'a>(recipient: &'a Member, source: &'a Member) -> Option<&'a str> {
    match (recipient.bridge.as_deref(), source.bridge.as_deref()) {
        (Some(one), Some(other)) => (one == other).then_some(one),
        (one, other) => one.or(other),
    }
}

fn between(bridge: &str, recipient: &Member, source: &Member) -> Vec<Opening> {
    let mut openings = Vec::new();
    for from in &recipient.addresses {
        for to in source.addresses.iter().filter(|to| to.is_ipv4() == from.is_ipv4()) {
            for run in source.ports() {
                openings.extend(run.numbers().map(|port| Opening {
                    bridge: bridge.to_owned(),
                    from: *from,
                    to: *to,
                    protocol: run.protocol(),
                    port,
                }));
            }
        }
    }
    openings
}

impl Opening {
    fn set_name(&self) -> String {
        let [set4, set6] = links::sets(&self.bridge);
        if self.from.is_ipv4() { set4 } else { set6 }
    }

    /// The set of that name, which it is an element of.
    fn set<'a>(&self, name: &'a str) -> Set<'a> {
        Set::new(TABLE, name, if self.from.is_ipv4() { KEY4 } else { KEY6 })
    }

    fn key(&self) -> [Field; 4] {
        let protocol = match self.protocol {
            Protocol::Tcp => Field::TCP,
            Protocol::Udp => Field::UDP,
            Protocol::Sctp => Field::SCTP,
        };
        [self.from.into(), self.to.into(), protocol, Field::Port(self.port)]
    }
}

/// Makes transactions of some elements each, again where somebody else came in between. Without elements there is not
/// as much as a socket.
fn each_chunk<T>(
    items: &[T],
    transaction: impl Fn(&mut Socket, &[T]) -> nftables::Result<()>,
) -> Result<(), Error> {
    if items.is_empty() {
        return Ok(());
    }
    let mut socket = Socket::open()?;
    items.chunks(BATCH).try_for_each(|chunk| until_done(|| transaction(&mut socket, chunk)))
}

/// Repeats a transaction of elements that others remove or change meanwhile.
fn until_done(mut transaction: impl FnMut() -> nftables::Result<()>) -> Result<(), Error> {
    for _ in 0..TRIES {
        match transaction() {
            Err(error) if error.is_not_found() || error.is_restart() => {}
            outcome => return Ok(outcome?),
        }
    }
    Err(Error::Contended(links::TABLE))
}

#[cfg(test)]
mod tests {
    use registry::Link;

    use super::*;

    fn member(id: &str, name: &str, address: &str, links: &[&str]) -> Member {
        Member {
            container_id: id.into(),
            ifname: "eth0".into(),
            name: name.into(),
            addresses: vec![address.parse().unwrap(), format!("fd00::{id}").parse().unwrap()],
            expose: vec!["80".parse().unwrap(), "53/udp".parse().unwrap()],
            links: links.iter().map(|source| Link { source: (*source).into(), alias: "x".into() }).collect(),
            bridge: Some("br0".into()),
            ..Member::default()
        }
    }

    fn network(members: &[&Member]) -> Network {
        Network { members: members.iter().copied().cloned().collect(), ..Network::new("shop") }
    }

    fn words<'a>(openings: impl Iterator<Item = &'a Opening>) -> Vec<String> {
        openings.map(|it| format!("{} {} {}/{}", it.from, it.to, it.port, it.protocol)).collect()
    }

    #[test]
    fn a_link_opens_each_port_one_way_and_in_each_family() {
        let (web, db) = (member("1", "web", "10.0.0.1", &["db"]), member("2", "db", "10.0.0.2", &[]));
        let (before, after) = (network(&[&db]), network(&[&db, &web]));
        let change = Firewall::new(&before, &after, std::slice::from_ref(&web));
        let wanted = [
            "10.0.0.1 10.0.0.2 80/tcp",
            "10.0.0.1 10.0.0.2 53/udp",
            "fd00::1 fd00::2 80/tcp",
            "fd00::1 fd00::2 53/udp",
        ];
        assert_eq!(words(change.open.keys()), wanted);
        assert!(change.close.is_empty());
        let back = Firewall::new(&after, &before, std::slice::from_ref(&web));
        assert_eq!(words(back.close.iter()), wanted);
        assert!(back.open.is_empty());
    }

    #[test]
    fn a_source_that_moves_is_followed() {
        let web = member("1", "web", "10.0.0.1", &["db"]);
        let old = member("2", "db", "10.0.0.2", &[]);
        let moved = Member { expose: vec!["81".parse().unwrap()], ..member("2", "db", "10.0.0.3", &[]) };
        let change = Firewall::new(&network(&[&web, &old]), &network(&[&web, &moved]), &[moved, old]);
        assert_eq!(words(change.open.keys()), ["10.0.0.1 10.0.0.3 81/tcp", "fd00::1 fd00::2 81/tcp"]);
        assert_eq!(change.close.len(), 4);
    }

    #[test]
    fn of_two_links_to_one_source_the_other_stays_when_one_is_led_elsewhere() {
        let web = member("1", "web", "10.0.0.1", &["db", "pg"]);
        let db = Member { aliases: vec!["pg".into()], ..member("2", "db", "10.0.0.2", &[]) };
        let named = member("3", "pg", "10.0.0.3", &[]);
        let (before, after) = (network(&[&web, &db]), network(&[&web, &db, &named]));
        let change = Firewall::new(&before, &after, &[named]);
        assert!(change.close.is_empty());
        assert_eq!(change.open.len(), 8);
    }

    #[test]
    fn what_is_not_kept_apart_needs_nothing_opened() {
        let free = |member: Member| Member { bridge: None, ..member };
        let (web, db) = (member("1", "web", "10.0.0.1", &["db"]), member("2", "db", "10.0.0.2", &[]));
        let opened = |web: Member, db: Member| {
            Firewall::new(&Network::new("shop"), &network(&[&web, &db]), &[web]).open.len()
        };
        assert_eq!(opened(free(web.clone()), free(db.clone())), 0);
        // Whoever came last knows the bridge for both.
        assert_eq!(opened(free(web.clone()), db.clone()), 4);
        assert_eq!(opened(web.clone(), free(db.clone())), 4);
        assert_eq!(opened(web, Member { bridge: Some("br1".into()), ..db }), 0);
    }

    /// `cleat` tries a code 11 again; a runtime does not take it for a difference that CHECK found.
    #[test]
    fn what_others_keep_changing_is_to_be_tried_again() {
        for errno in [2, 4, 85] {
            let refuse = || {
                let source = std::io::Error::from_raw_os_error(errno);
                Err(nftables::Error::Commit { operations: 1, source })
            };
            let mut tries = 0;
            let outcome = until_done(|| {
                tries += 1;
                if tries < 3 { refuse() } else { Ok(()) }
            });
            assert!(outcome.is_ok() && tries == 3);
            let error = cni::Error::from(until_done(refuse).unwrap_err());
            assert_eq!(error.code(), 11, "{error}");
        }
        let lost = cni::Error::from(Error::Nftables(nftables::Error::Open {
            source: std::io::Error::from_raw_os_error(4),
        }));
        assert_eq!(lost.code(), 11);
    }
}
