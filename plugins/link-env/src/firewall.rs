//! The firewall of links on a bridge that keeps its ports apart (`"icc": false`): one set element for each port of a source
//! that a recipient may reach. The bridge plugin makes the sets; `cni::links` documents their names and keys.
//!
//! The elements follow from the registry alone. A change removes old elements before it writes the registry, and adds new
//! ones after it: a process that is killed at any point leaves no port open that the registry does not list.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cni::{AddResult, Protocol, links};
use nftables::ledger::{self, Change, Entry};
use nftables::{Element, Family, Field, Set, Socket, Table, Type};
use registry::{Member, Network, qualify};

use crate::bounds::{self, OPENED};
use crate::error::Error;

const TABLE: Table = Table::new(Family::Inet, links::TABLE);
const KEY4: &[Type] = &[Type::Ipv4Addr, Type::Ipv4Addr, Type::InetProto, Type::InetService];
const KEY6: &[Type] = &[Type::Ipv6Addr, Type::Ipv6Addr, Type::InetProto, Type::InetService];

/// Elements in one transaction. In a user namespace the kernel takes some 4,000.
const BATCH: usize = 1_000;

/// A port of a source that a recipient may reach.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Opening {
    /// The set that has it as an element.
    set: String,
    from: IpAddr,
    to: IpAddr,
    protocol: Protocol,
    port: u16,
}

/// What a change of a network closes, and what it opens, with the comments of the elements.
#[derive(Debug)]
pub(crate) struct Firewall {
    close: Vec<Opening>,
    open: BTreeMap<Opening, String>,
}

impl Firewall {
    /// Compares a network before and after a change. `changed` are the members that joined, left or became different; only
    /// they and the recipients of links to them are looked at.
    pub(crate) fn new(before: &Network, after: &Network, changed: &[Member]) -> Self {
        let open = openings(after, changed);
        let closed = openings(before, changed).into_keys();
        Self { close: closed.filter(|opening| !open.contains_key(opening)).collect(), open }
    }

    /// Removes the elements of links that no longer exist. Missing elements and missing sets are no errors.
    pub(crate) fn close(&self) -> Result<(), Error> {
        commit(self.close.iter().map(|opening| (opening, None)))
    }

    /// Adds the elements of links that exist now, to the sets that exist.
    pub(crate) fn open(&self) -> Result<(), Error> {
        commit(self.open.iter().map(|(opening, comment)| (opening, Some(comment.as_str()))))
    }

    /// Names the first link that should be open and is not.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.open.is_empty() {
            return Ok(());
        }
        let mut socket = Socket::open()?;
        for (opening, comment) in &self.open {
            if socket.get_element(&opening.set(), &opening.key())?.is_none() {
                let Opening { set, from, to, protocol, port } = opening;
                return Err(Error::Differs(format!(
                    "link {comment} is closed: set {set} of table {TABLE} does not have {from} . {to} . {protocol} . {port}"
                )));
            }
        }
        Ok(())
    }
}

/// The bridge of the previous result that keeps its ports apart. `None` where there is none, or where the network has no
/// link yet and so does not need it.
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

/// All openings of these members' links, and of the recipients of links to them. A recipient's links are taken together: two
/// of them may lead to the same source, until another member takes the name of one.
fn openings(network: &Network, members: &[Member]) -> BTreeMap<Opening, String> {
    let is_concerned = |recipient: &&Member| {
        let own = recipient.attachment();
        members.iter().any(|member| member.attachment() == own || member.is_meant_by(recipient))
    };
    let mut openings = BTreeMap::new();
    for recipient in network.members.iter().filter(is_concerned) {
        let sources = recipient.links.iter().filter_map(|link| network.find(recipient, &link.source));
        let sources = sources.filter_map(|source| Some((common_bridge(recipient, source)?, source)));
        // As with variables: a source whose ports exceed the bound is left out as a whole, in the order of the links.
        let (sources, _) = OPENED.fill(0, sources, |(_, source)| bounds::ports(&source.ports()));
        for (bridge, source) in sources {
            let called = |member: &Member| qualify(&member.name, member.tenant());
            let mut comment = format!("{} {} -> {}", network.name, called(recipient), called(source));
            comment.truncate(ledger::COMMENT_MAX);
            for opening in between(bridge, recipient, source) {
                openings.insert(opening, comment.clone());
            }
        }
    }
    openings
}

/// The bridge that two members are on. A member that joined before the network had a link has none recorded.
fn common_bridge<'a>(recipient: &'a Member, source: &'a Member) -> Option<&'a str> {
    match (recipient.bridge.as_deref(), source.bridge.as_deref()) {
        (Some(one), Some(other)) => (one == other).then_some(one),
        (one, other) => one.or(other),
    }
}

fn between(bridge: &str, recipient: &Member, source: &Member) -> Vec<Opening> {
    let sets = links::sets(bridge);
    let mut openings = Vec::new();
    for from in &recipient.addresses {
        for to in source.addresses.iter().filter(|to| to.is_ipv4() == from.is_ipv4()) {
            for run in source.ports() {
                openings.extend(run.numbers().map(|port| Opening {
                    set: sets[usize::from(from.is_ipv6())].clone(),
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
    fn set(&self) -> Set<'_> {
        Set::new(TABLE, &self.set, if self.from.is_ipv4() { KEY4 } else { KEY6 })
    }

    fn key(&self) -> [Field; 4] {
        [self.from.into(), self.to.into(), Field::Proto(self.protocol.number()), Field::Port(self.port)]
    }
}

/// One transaction: each opening with the comment of its element, or `None` where the element has to go.
struct Elements<'a>(&'a [(&'a Opening, Option<&'a str>)]);

impl Entry<Error> for Elements<'_> {
    fn table(&self) -> Table<'static> {
        TABLE
    }

    fn prepare(&mut self, socket: &mut Socket, change: &mut Change) -> Result<(), Error> {
        // Openings are in the order of their sets.
        let mut last: Option<(&str, bool)> = None;
        for (opening, comment) in self.0 {
            let (set, key) = (opening.set(), opening.key());
            let Some(comment) = comment else {
                if socket.get_element(&set, &key)?.is_some() {
                    change.batch.del_element(&set, &key);
                }
                continue;
            };
            let known = last.filter(|(name, _)| *name == opening.set);
            let exists = known.map_or_else(|| socket.has_set(&set), |(_, exists)| Ok(exists))?;
            if exists {
                change.batch.add_element(&set, &Element::new(&key).comment(*comment));
            }
            last = Some((&opening.set, exists));
        }
        Ok(())
    }
}

/// Commits changes of elements, in transactions of limited size. Opens no socket where there are none.
fn commit<'a>(elements: impl Iterator<Item = (&'a Opening, Option<&'a str>)>) -> Result<(), Error> {
    let elements: Vec<_> = elements.collect();
    if elements.is_empty() {
        return Ok(());
    }
    let mut socket = Socket::open()?;
    elements.chunks(BATCH).try_for_each(|chunk| ledger::put(&mut socket, &mut [&mut Elements(chunk)]))
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
        // The member that joined last knows the bridge of both.
        assert_eq!(opened(free(web.clone()), db.clone()), 4);
        assert_eq!(opened(web.clone(), free(db.clone())), 4);
        assert_eq!(opened(web, Member { bridge: Some("br1".into()), ..db }), 0);
    }

    /// `cleat` tries a code 11 again; a runtime does not take it for a difference that CHECK found.
    #[test]
    fn what_others_keep_changing_is_to_be_tried_again() {
        let refused = |errno| nftables::Error::Commit {
            operations: 1,
            source: std::io::Error::from_raw_os_error(errno),
        };
        for errno in [2, 4, 85] {
            assert!(refused(errno).is_of_another_change());
        }
        let error = cni::Error::from(Error::from(ledger::Contended { table: TABLE.to_string() }));
        assert_eq!(error.code(), 11, "{error}");
        let lost = cni::Error::from(Error::Nftables(nftables::Error::Open {
            source: std::io::Error::from_raw_os_error(4),
        }));
        assert_eq!(lost.code(), 11);
    }
}
