//! The text of a container's hosts file, made anew each time from the registry. Pure: what a container may have
//! written into its file is never read back (`foreign` puts it in as it is).
//!
//! Docker's layout: loopback, extra hosts, links, the container itself; here those of other tenants who let it know them and
//! the network's other members follow. Each
//! resolver searches in its own way (glibc takes the first line that fits, musl every one), so a name that means
//! one container in an earlier block is left out where it would mean another in a later one.

use std::collections::{HashMap, HashSet};

use registry::{Member, Names, Relation, qualify};

use crate::neighbourhood::{Neighbourhood, distinct, fitted, foreign_names, push_line, push_lines};

const LOOPBACK: &str = "127.0.0.1\tlocalhost\n";
const LOOPBACK_V6: &str = "::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
                           ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// One of a container's interfaces, with the network that it is on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Membership<'a> {
    pub(crate) neighbourhood: &'a Neighbourhood,
    pub(crate) member: &'a Member,
}

impl<'a> Membership<'a> {
    /// All memberships of a container on a network.
    pub(crate) fn of(container_id: &str, neighbourhood: &'a Neighbourhood) -> impl Iterator<Item = Self> {
        let members = neighbourhood.members_of(container_id);
        members.map(move |member| Self { neighbourhood, member })
    }
}

/// What a hosts file should have.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) text: String,
    /// The length of all but the members of networks, which follow.
    pub(crate) head: usize,
}

/// Whether a line is one that every hosts file has.
pub(crate) fn is_loopback(line: &[u8]) -> bool {
    LOOPBACK.lines().chain(LOOPBACK_V6.lines()).any(|known| known.as_bytes() == line)
}

/// The hosts file of the container that these memberships are of; `ipv6`: whether the node has IPv6 at all.
pub(crate) fn text(own: &[Membership<'_>], ipv6: bool) -> Text {
    let mut hosts = Hosts::new(own, ipv6);
    let head = hosts.text.len();
    for (index, membership) in own.iter().enumerate() {
        // A container with two interfaces on one network sees the others once.
        if membership.member.names == Names::Network && !is_seen(own, index) {
            hosts.add_members(membership);
        }
    }
    Text { text: hosts.text, head }
}

/// Whether a membership before sees the same members.
fn is_seen(own: &[Membership<'_>], index: usize) -> bool {
    let neighbourhood = own[index].neighbourhood;
    own[..index].iter().any(|other| std::ptr::eq(other.neighbourhood, neighbourhood))
}

/// How long the file of a container is before its network's block, without lines of others; `None` where one of these names means somebody
/// else to it, so that its block is not like everybody's.
pub(crate) fn length_before_members(own: &[Membership<'_>], ipv6: bool, names: &[String]) -> Option<usize> {
    let hosts = Hosts::new(own, ipv6);
    let means_another = |name: &String| hosts.meanings.contains_key(name);
    (!names.iter().any(means_another)).then_some(hosts.text.len())
}

struct Hosts<'a> {
    text: String,
    /// Which container a name in small letters means; `None` for an address that the user gave, or nobody.
    meanings: HashMap<String, Option<&'a str>>,
}

impl<'a> Hosts<'a> {
    /// Everything but the members of networks.
    fn new(own: &[Membership<'a>], ipv6: bool) -> Self {
        let mut hosts = Self { text: String::from(LOOPBACK), meanings: HashMap::new() };
        if ipv6 {
            hosts.text.push_str(LOOPBACK_V6);
        }
        hosts.add_extra_hosts(own);
        hosts.add_links(own);
        for Membership { member, .. } in own {
            hosts.claim(&member.hostname, Some(&member.container_id));
        }
        for membership in own {
            hosts.add_own(membership);
        }
        for (index, membership) in own.iter().enumerate() {
            if membership.member.names == Names::Network && !is_seen(own, index) {
                hosts.add_guests(membership);
            }
        }
        hosts
    }

    /// Notes that a name means a container from here on, unless it means something already.
    fn claim(&mut self, name: &str, container_id: Option<&'a str>) {
        self.meanings.entry(name.to_ascii_lowercase()).or_insert(container_id);
    }

    /// Whether a name may stand for a member: it means that container, or nothing yet.
    fn may_mean(&self, name: &str, member: &Member) -> bool {
        let meaning = self.meanings.get(&name.to_ascii_lowercase());
        meaning.is_none_or(|meaning| *meaning == Some(&member.container_id))
    }

    fn add_extra_hosts(&mut self, own: &[Membership<'a>]) {
        let mut added = HashSet::new();
        for host in own.iter().flat_map(|membership| &membership.member.extra_hosts) {
            if added.insert(host) {
                push_line(&mut self.text, host.address, &[&host.name]);
                self.claim(&host.name, None);
            }
        }
    }

    fn add_links(&mut self, own: &[Membership<'a>]) {
        let mut links: Vec<(&str, Option<&'a Member>)> = Vec::new();
        let is_foreign = |source: &Member| {
            own.iter().all(|membership| source.relation_to(membership.member) == Relation::Allowed)
        };
        for membership in own {
            let found = |source: &str| membership.neighbourhood.find(membership.member, source);
            let of_member = membership.member.links.iter();
            links.extend(of_member.map(|link| (link.alias.as_str(), found(&link.source))));
        }
        // All aliases before any other name: an alias holds whatever else a source is called. That of a source
        // which is gone means nobody, rather than a stranger of that name.
        for (alias, source) in &links {
            self.claim(alias, source.map(|source| source.container_id.as_str()));
        }
        for (alias, source) in links {
            let Some(source) = source else { continue };
            // What another tenant calls it would mean somebody else here.
            let foreign = if is_foreign(source) { foreign_names(source) } else { Vec::new() };
            let names = match foreign.first() {
                Some(name) => self.allowed(source, &[alias, name]),
                None => self.allowed(source, &[alias, &source.hostname, &source.name]),
            };
            push_lines(&mut self.text, source, &names);
            for name in names {
                self.claim(name, Some(&source.container_id));
            }
        }
    }

    /// The lines of members of other tenants whom the container sees. No name of theirs means one of its own tenant.
    fn add_guests(&mut self, Membership { neighbourhood, member }: &Membership<'a>) {
        let members = &neighbourhood.network.members;
        for (guest, mut names) in neighbourhood.guests(member) {
            let is_taken = |name: &String| {
                let places = neighbourhood.lines().places.get(&name.to_ascii_lowercase());
                places.is_some_and(|places| {
                    places.iter().any(|&place| members[place].container_id != guest.container_id)
                })
            };
            names.retain(|name| !self.meanings.contains_key(&name.to_ascii_lowercase()) && !is_taken(name));
            push_lines(&mut self.text, guest, &names);
            for name in &names {
                self.claim(name, Some(&guest.container_id));
            }
        }
    }

    /// The lines of the network's other members: as they are for everybody, but for the container's own, and those
    /// with a name that means somebody else here.
    fn add_members(&mut self, own: &Membership<'a>) {
        let Membership { neighbourhood, member: own } = own;
        let (members, lines) = (&neighbourhood.network.members, neighbourhood.lines());
        let is_own = |place: &usize| members[*place].container_id == own.container_id;
        let mut apart: Vec<usize> = (0..members.len()).filter(is_own).collect();
        for (name, meaning) in &self.meanings {
            let places = lines.places.get(name).into_iter().flatten().copied();
            apart.extend(places.filter(|&place| *meaning != Some(members[place].container_id.as_str())));
        }
        apart.sort_unstable();
        apart.dedup();
        let start = self.text.len();
        self.text.push_str(&lines.text);
        for place in apart {
            let Some(slot) = members[place].slot else { continue };
            let mut names = neighbourhood.names_of(&members[place]);
            names.retain(|name| !is_own(&place) && self.may_mean(name, &members[place]));
            let text = fitted(&members[place], &names, slot);
            self.text.replace_range(start + slot.start..start + slot.end(), &text);
        }
    }

    /// The container's own line. On a network where all see each other by name, it is no exception to that.
    fn add_own(&mut self, Membership { neighbourhood, member }: &Membership<'a>) {
        let full = format!("{}.{}", member.hostname, member.domain);
        let (qualified, others) = (neighbourhood.qualified(&member.name), neighbourhood.names_of(member));
        let namespaced = (!member.tenant().is_empty()).then(|| qualify(&member.name, member.tenant()));
        let mut names = Vec::new();
        if !member.domain.is_empty() {
            names.push(full.as_str());
        }
        names.push(&member.hostname);
        if member.names == Names::Network {
            names.push(&member.name);
            names.extend(namespaced.as_deref());
            names.extend(member.aliases.iter().map(String::as_str));
            names.extend(qualified.as_deref());
            if !neighbourhood.is_outdated {
                names.extend(others.iter().map(String::as_str));
            }
        }
        let names = self.allowed(member, &names);
        push_lines(&mut self.text, member, &names);
    }

    /// The names that may stand for a member, each once.
    fn allowed<'b>(&self, member: &Member, names: &[&'b str]) -> Vec<&'b str> {
        distinct(names.iter().copied().filter(|name| self.may_mean(name, member)).collect())
    }
}
