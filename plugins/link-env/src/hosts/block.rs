//! The hosts block of a tenant on a network: the lines of its members, rendered once for all who see them.
//!
//! Every member has a slot in the block, the same in every file and for as long as it is a member. A member that joins gets
//! the slot of one that has left, or a new one at the end. So a change concerns the lines of one member in each file, and
//! no other line moves while somebody reads it.
//!
//! Members of other tenants whom a member may know are its guests: their lines are only in the files of those who see them
//! (`text`).

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;

use registry::{Member, Network, Patch, Relation, Slot, filler, line_starts};

use super::line::{fitted, push_lines};
use super::{names, slot};

/// Names of another namespace's members in one hosts file, at most; those of the first ones. Links have no such bound.
const MAX_FOREIGN_NAMES: usize = 64;

/// A tenant's part of a network, with its hosts lines, which are made when they are first needed.
#[derive(Debug)]
pub(crate) struct HostsBlock {
    /// Its members, and as `others` the members of other tenants whom some of them may know.
    pub(crate) network: Network,
    pub(crate) tenant: String,
    /// The registry had impossible slots, so that no file can be expected to follow them.
    pub(crate) is_damaged: bool,
    /// An earlier version wrote the registry. Its lines had fewer names, and have until the network changes.
    pub(crate) is_outdated: bool,
    lines: OnceCell<Lines>,
    /// Indexes of members: by address, by container, and by what they are called (then also of `others`, after the members).
    addresses: OnceCell<HashMap<IpAddr, Vec<usize>>>,
    containers: HashMap<String, Vec<usize>>,
    sources: OnceCell<HashMap<String, Vec<usize>>>,
}

/// The lines of all members that have a slot.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) text: String,
    /// The indexes of the members that have a name, by that name in lower case.
    pub(crate) named: HashMap<String, Vec<usize>>,
}

impl HostsBlock {
    /// The blocks of all tenants of a network.
    pub(crate) fn all(network: &Network) -> Vec<Self> {
        let tenants = network.tenants().into_iter();
        tenants.map(|tenant| Self::new(of_tenant(network, tenant), tenant)).collect()
    }

    /// The block of a network that has members of this tenant alone.
    pub(crate) fn new(mut network: Network, tenant: &str) -> Self {
        let is_outdated = is_outdated(&network);
        let is_damaged = slot::take_impossible(&mut network);
        let members = network.members.iter().enumerate();
        let containers = grouped(members.map(|(index, member)| (member.container_id.clone(), index)));
        let (lines, addresses, sources) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        let tenant = tenant.to_owned();
        let mut block =
            Self { network, tenant, is_damaged, is_outdated, lines, addresses, containers, sources };
        if is_damaged || is_outdated {
            block.allot();
        }
        block
    }

    /// All members that have an address.
    pub(crate) fn members_at(&self, address: IpAddr) -> impl Iterator<Item = &Member> {
        let addresses =
            self.addresses.get_or_init(|| {
                let members = self.network.members.iter().enumerate();
                grouped(members.flat_map(|(index, member)| {
                    member.addresses.iter().map(move |address| (*address, index))
                }))
            });
        addresses.get(&address).into_iter().flatten().map(|&index| &self.network.members[index])
    }

    /// The member that a source means to a recipient, as [`Network::find`] does, by an index.
    pub(crate) fn find(&self, recipient: &Member, source: &str) -> Option<&Member> {
        let sources = self.sources.get_or_init(|| {
            let known = self.network.known().enumerate();
            grouped(
                known.flat_map(|(index, member)| member.sources().into_iter().map(move |name| (name, index))),
            )
        });
        let (members, others) = (&self.network.members, &self.network.others);
        let bare = source.rsplit_once('.').map(|(bare, _)| bare);
        let indexes =
            [Some(source), bare].into_iter().flatten().filter_map(|name| sources.get(name)).flatten();
        let fitting = indexes.filter_map(|&index| {
            let member = members.get(index).or_else(|| others.get(index - members.len()))?;
            Some(((member.fits(recipient, source)?, index), member))
        });
        // Of equal ones, the first.
        fitting.min_by_key(|(fit, _)| *fit).map(|(_, member)| member)
    }

    /// All memberships of a container on the network.
    pub(crate) fn members_of(&self, container_id: &str) -> impl Iterator<Item = &Member> {
        let indexes = self.containers.get(container_id).into_iter().flatten();
        indexes.map(|&index| &self.network.members[index])
    }

    pub(crate) fn lines(&self) -> &Lines {
        self.lines.get_or_init(|| {
            let members = &self.network.members;
            let mut text = String::new();
            let mut by_name = Vec::new();
            for (slot, index) in slot::sorted(&self.network) {
                let names = self.names_of(&members[index]);
                text.push_str(&filler(slot.start - text.len()));
                text.push_str(&fitted(&members[index], &names, slot));
                by_name.extend(names.into_iter().map(|name| (name.to_ascii_lowercase(), index)));
            }
            Lines { text, named: grouped(by_name) }
        })
    }

    /// Gives a slot to each member that has none, or whose lines no longer fit, with the names of this version.
    pub(crate) fn give_slots(&mut self) {
        self.is_outdated = false;
        self.allot();
    }

    fn allot(&mut self) {
        let mut taken: Vec<Slot> = Vec::with_capacity(self.network.members.len());
        let mut without = Vec::new();
        for (index, member) in self.network.members.iter().enumerate() {
            let length = self.lines_of(member).len();
            match member.slot {
                Some(slot) if length <= slot.length => taken.push(slot),
                _ => without.push((index, length)),
            }
        }
        taken.sort_unstable_by_key(|slot| (slot.start, slot.length));
        for (index, length) in without {
            self.network.members[index].slot = Some(slot::allot(&mut taken, length));
        }
        self.lines = OnceCell::new();
    }

    /// What changes in every file with this block, where the block was another one before.
    pub(crate) fn patch(&self, before: &Self) -> Patch {
        let mut patch = Patch { before: before.length(), after: self.length(), ..Patch::default() };
        let (olds, news) = (before.network.by_attachment(), self.network.by_attachment());
        let slots = slot::sorted(&self.network);
        for old in &before.network.members {
            let is_same = news.get(&old.attachment()).is_some_and(|new| self.is_same(new, before, old));
            let Some(slot) = old.slot.filter(|_| !is_same) else { continue };
            let text = fitted(old, &before.names_of(old), slot);
            patch.ending.extend(line_starts(&text).map(|start| slot.start + start));
            patch.empty.extend(slot::gaps_in(&slots, slot));
        }
        for new in &self.network.members {
            let is_same = olds.get(&new.attachment()).is_some_and(|old| self.is_same(new, before, old));
            if let Some(slot) = new.slot.filter(|_| !is_same) {
                patch.lines.push((slot.start, fitted(new, &self.names_of(new), slot)));
            }
        }
        patch.lines.sort_unstable_by_key(|(start, _)| *start);
        patch
    }

    fn is_same(&self, new: &Member, before: &Self, old: &Member) -> bool {
        new == old || new.slot == old.slot && self.lines_of(new) == before.lines_of(old)
    }

    /// In bytes.
    pub(crate) fn length(&self) -> usize {
        let ends = self.network.members.iter().filter_map(|member| member.slot).map(Slot::end);
        ends.max().unwrap_or_default()
    }

    fn lines_of(&self, member: &Member) -> String {
        let mut text = String::new();
        push_lines(&mut text, member, &self.names_of(member));
        text
    }

    /// What a member is called by the others of its tenant.
    pub(crate) fn names_of(&self, member: &Member) -> Vec<String> {
        names::in_network(member, &self.network.name, self.is_outdated)
    }

    /// The members of other tenants whom one of these sees, with what it calls them.
    pub(crate) fn guests(&self, viewer: &Member) -> Vec<(&Member, Vec<String>)> {
        let mut of_namespaces: BTreeMap<&str, usize> = BTreeMap::new();
        let mut guests = Vec::new();
        for guest in &self.network.others {
            let names = match guest.relation_to(viewer) {
                Relation::Own | Relation::Stranger => continue,
                Relation::Kin => self.names_of(guest),
                // `name.network` is this tenant's.
                Relation::Allowed if guest.tenant() == self.network.name => continue,
                Relation::Allowed => {
                    let names = names::with_namespace(guest);
                    let count = of_namespaces.entry(guest.tenant()).or_default();
                    *count += names.len();
                    if *count > MAX_FOREIGN_NAMES {
                        continue;
                    }
                    names
                }
            };
            guests.push((guest, names));
        }
        guests
    }
}

/// The values of each key, in the order in which they came.
fn grouped<K: Eq + Hash>(pairs: impl IntoIterator<Item = (K, usize)>) -> HashMap<K, Vec<usize>> {
    let mut groups: HashMap<K, Vec<usize>> = HashMap::new();
    for (key, index) in pairs {
        groups.entry(key).or_default().push(index);
    }
    groups
}

/// Whether an earlier version wrote it, which gave its members no slots.
fn is_outdated(network: &Network) -> bool {
    let mut without = network.members.iter().filter(|member| member.slot.is_none());
    without.any(|member| network.is_seen_whole(member.tenant()))
}

/// The network with a slot for each member of this tenant, where a member sees all of the tenant.
pub(crate) fn with_slots(mut network: Network, tenant: &str) -> Network {
    if !network.is_seen_whole(tenant) {
        return network;
    }
    let is_own = |member: &Member| member.tenant() == tenant;
    let own = network.members.iter().filter(|member| is_own(member)).cloned().collect();
    let mut block = HostsBlock::new(Network { members: own, ..Network::new(&network.name) }, tenant);
    block.give_slots();
    let members = network.members.iter_mut().filter(|member| is_own(member));
    for (member, given) in members.zip(block.network.members) {
        *member = given;
    }
    network
}

/// A tenant's members of a network, and those of others whom these may know.
fn of_tenant(network: &Network, tenant: &str) -> Network {
    let members: Vec<Member> =
        network.members.iter().filter(|member| member.tenant() == tenant).cloned().collect();
    // Members of one tenant see the same, but for the namespace that an earlier version did not record.
    let mut formers = HashSet::new();
    let askers: Vec<&Member> =
        members.iter().filter(|member| formers.insert(member.former_namespace())).collect();
    let is_known = |other: &&Member| {
        askers.iter().any(|asker| !matches!(other.relation_to(asker), Relation::Own | Relation::Stranger))
    };
    // Where the network was not read as a whole, sources of the own tenant are among the others.
    let own = network.others.iter().filter(|other| other.tenant() == tenant);
    let others = network.known().filter(is_known).chain(own).cloned().collect();
    Network { name: network.name.clone(), members, others }
}

#[cfg(test)]
mod tests {
    use super::super::line::MAX_LINE;
    use super::*;

    /// A file that a crash, a disk or somebody has damaged: what it says must not end a plugin.
    #[test]
    fn members_with_impossible_slots_get_others() {
        let slot = |start, length| Some(Slot { start, length });
        let huge = usize::MAX;
        for slots in [
            [slot(0, 60), slot(30, 60)],
            [slot(huge, 1), slot(huge, huge)],
            [slot(0, huge), slot(0, 0)],
            [slot(5, 1), slot(1 << 40, 60)],
            [slot(0, 3), slot(3, 60)],
        ] {
            let mut network = Network::new("web");
            for (index, slot) in slots.into_iter().enumerate() {
                network.put(Member {
                    container_id: format!("c{index}"),
                    name: format!("m{index}"),
                    addresses: vec![format!("10.0.0.{index}").parse().unwrap()],
                    slot,
                    ..Member::default()
                });
            }
            let before = HostsBlock::new(network.clone(), "");
            let mut after = HostsBlock::new(network, "");
            after.give_slots();
            let _ = after.patch(&before);
            let text = &after.lines().text;
            assert!(text.len() < 200 && text.contains(" m0 ") && text.contains(" m1 "), "{slots:?}: {text}");
        }
    }

    #[test]
    fn a_member_without_addresses_is_in_nobodys_way() {
        for order in [[0, 1], [1, 0]] {
            let mut network = Network::new("web");
            for index in order {
                let addresses = if index == 0 { vec![] } else { vec!["10.0.0.2".parse().unwrap()] };
                let container_id = format!("c{index}");
                network.put(Member { container_id, name: "m".into(), addresses, ..Member::default() });
                let mut block = HostsBlock::new(network.clone(), "");
                block.give_slots();
                network = block.network;
            }
            let block = HostsBlock::new(network, "");
            assert!(!block.is_damaged);
            assert_eq!(block.lines().text.lines().count(), 1);
        }
    }

    #[test]
    fn lines_stay_shorter_than_musls_buffer_and_have_every_name_once() {
        let mut network = Network::new("web");
        network.put(Member {
            container_id: "c1".into(),
            name: "many".into(),
            aliases: (0..60).map(|index| format!("alias-number-{index}")).collect(),
            addresses: vec!["10.0.0.2".parse().unwrap()],
            ..Member::default()
        });
        let mut block = HostsBlock::new(network, "");
        block.give_slots();
        let text = &block.lines().text;
        assert!(text.lines().count() > 1);
        assert!(text.lines().all(|line| line.len() <= MAX_LINE && line.starts_with("10.0.0.2\t")), "{text}");
        for name in block.names_of(&block.network.members[0]) {
            assert_eq!(text.split_ascii_whitespace().filter(|word| *word == name).count(), 1);
        }
    }
}
