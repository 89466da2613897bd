//! The text of a container's hosts file, made from the registry alone. What a container may have written into its file is
//! never read back (`merge` keeps it as it is).
//!
//! Docker's order: loopback, extra hosts, links, the container itself; then members of other tenants that it may know, and
//! last the network's other members. Resolvers differ (glibc takes the first line that matches, musl all of them), so a name
//! that means one container in an earlier part is left out where it would mean another one in a later part.

use std::collections::{HashMap, HashSet};

use registry::{Member, Names, Relation, qualify};

use super::block::HostsBlock;
use super::line::{LOOPBACK, LOOPBACK_V6, fitted, push_line, push_lines};
use super::names;
use crate::name::distinct;

/// One of a container's interfaces, with the network that it is on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Membership<'a> {
    pub(crate) block: &'a HostsBlock,
    pub(crate) member: &'a Member,
}

impl<'a> Membership<'a> {
    /// All memberships of a container on a network.
    pub(crate) fn of(container_id: &str, block: &'a HostsBlock) -> impl Iterator<Item = Self> {
        let members = block.members_of(container_id);
        members.map(move |member| Self { block, member })
    }

    /// Its links: each alias, with the source where that is a member.
    pub(crate) fn links(self) -> impl Iterator<Item = (&'a str, Option<&'a Member>)> {
        let Self { block, member } = self;
        member.links.iter().map(move |link| (link.alias.as_str(), block.find(member, &link.source)))
    }
}

/// What a hosts file should have.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) text: String,
    /// The length of the part before the blocks of networks.
    pub(crate) head: usize,
}

/// The hosts file of the container with these memberships. `ipv6`: whether the node has IPv6 at all.
pub(crate) fn text(own: &[Membership<'_>], ipv6: bool) -> Text {
    let mut hosts = Hosts::new(own, ipv6);
    let head = hosts.text.len();
    for membership in viewing(own) {
        hosts.add_members(membership);
    }
    Text { text: hosts.text, head }
}

/// The memberships that see all members of a network: of two on one network, the first.
fn viewing<'a, 'b>(own: &'b [Membership<'a>]) -> impl Iterator<Item = &'b Membership<'a>> {
    let is_shown =
        |index: usize| own[..index].iter().any(|other| std::ptr::eq(other.block, own[index].block));
    (0..own.len())
        .filter(move |&index| own[index].member.names == Names::Network && !is_shown(index))
        .map(|index| &own[index])
}

/// The length of a container's file before its network's block, without lines of others. `None` where one of these names
/// means another container to it, so that its copy of the block differs from everybody's.
pub(crate) fn length_before_members(own: &[Membership<'_>], ipv6: bool, names: &[String]) -> Option<usize> {
    let hosts = Hosts::new(own, ipv6);
    let means_another = |name: &String| hosts.meanings.contains_key(name);
    (!names.iter().any(means_another)).then_some(hosts.text.len())
}

struct Hosts<'a> {
    text: String,
    /// The container that a name in lower case means; `None` for an extra host's name and for one that means nobody.
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
        for membership in viewing(own) {
            hosts.add_guests(membership);
        }
        hosts
    }

    /// Gives a name its meaning for the rest of the file, unless it has one.
    fn claim(&mut self, name: &str, container_id: Option<&'a str>) {
        self.meanings.entry(name.to_ascii_lowercase()).or_insert(container_id);
    }

    /// Whether a line of this member may have the name: it means that container, or nothing yet.
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
        let links: Vec<(&str, Option<&'a Member>)> =
            own.iter().copied().flat_map(Membership::links).collect();
        let is_foreign = |source: &Member| {
            own.iter().all(|membership| source.relation_to(membership.member) == Relation::Allowed)
        };
        // All aliases before any other name: an alias holds, however another source is called. The alias of a source that
        // does not run means nobody, rather than another container of that name.
        for (alias, source) in &links {
            self.claim(alias, source.map(|source| source.container_id.as_str()));
        }
        for (alias, source) in links {
            let Some(source) = source else { continue };
            let qualified = qualify(&source.name, source.tenant());
            // Another tenant's bare name may be that of a member of the own one.
            let names = if is_foreign(source) {
                self.allowed(source, &[alias, &qualified])
            } else {
                self.allowed(source, &[alias, &source.hostname, &source.name])
            };
            push_lines(&mut self.text, source, &names);
            for name in names {
                self.claim(name, Some(&source.container_id));
            }
        }
    }

    /// The lines of members of other tenants that the container sees, without the names of members of its own tenant.
    fn add_guests(&mut self, Membership { block, member }: &Membership<'a>) {
        let members = &block.network.members;
        for (guest, mut names) in block.guests(member) {
            let is_taken = |name: &String| {
                let indexes = block.lines().named.get(&name.to_ascii_lowercase());
                let mut indexes = indexes.into_iter().flatten();
                indexes.any(|&index| members[index].container_id != guest.container_id)
            };
            names.retain(|name| !self.meanings.contains_key(&name.to_ascii_lowercase()) && !is_taken(name));
            push_lines(&mut self.text, guest, &names);
            for name in &names {
                self.claim(name, Some(&guest.container_id));
            }
        }
    }

    /// The network's block as everybody has it, but for the container's own lines, and for names that mean another container
    /// here.
    fn add_members(&mut self, own: &Membership<'a>) {
        let Membership { block, member: own } = own;
        let (members, lines) = (&block.network.members, block.lines());
        let is_own = |index: usize| members[index].container_id == own.container_id;
        let mut apart: Vec<usize> = (0..members.len()).filter(|&index| is_own(index)).collect();
        for (name, meaning) in &self.meanings {
            let named = lines.named.get(name).into_iter().flatten().copied();
            apart.extend(named.filter(|&index| *meaning != Some(members[index].container_id.as_str())));
        }
        apart.sort_unstable();
        apart.dedup();
        let start = self.text.len();
        self.text.push_str(&lines.text);
        for index in apart {
            let member = &members[index];
            let Some(slot) = member.slot else { continue };
            let mut names = block.names_of(member);
            names.retain(|name| !is_own(index) && self.may_mean(name, member));
            self.text.replace_range(start + slot.start..start + slot.end(), &fitted(member, &names, slot));
        }
    }

    /// The container's own line. Where the members of the network see each other by name, it has these names as well.
    fn add_own(&mut self, Membership { block, member }: &Membership<'a>) {
        let full = format!("{}.{}", member.hostname, member.domain);
        let (qualified, others) =
            (names::qualified(&member.name, &block.network.name), block.names_of(member));
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
            if !block.is_outdated {
                names.extend(others.iter().map(String::as_str));
            }
        }
        let names = self.allowed(member, &names);
        push_lines(&mut self.text, member, &names);
    }

    /// Those of the names that may mean the member, each once.
    fn allowed<'b>(&self, member: &Member, names: &[&'b str]) -> Vec<&'b str> {
        distinct(names.iter().copied().filter(|name| self.may_mean(name, member)).collect())
    }
}
