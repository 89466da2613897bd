//! A network with its members' hosts lines, rendered once for all who see them.
//!
//! Every member has a slot in this block: the same one in every file, kept as long as it is a member. Who joins takes
//! the place of one that has gone, or the end; who leaves makes room. So each file changes by the lines of one member,
//! wherever it is, and none of the others' lines ever moves under a reader.
//!
//! Each tenant has a block of its own. Members of other tenants whom its own may know are guests: their lines are in the
//! files of those alone who see them (see `hosts`).

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;
use std::net::IpAddr;

use registry::{Member, Network, Patch, Relation, Slot, filler, line_starts, qualify, short_id};

use crate::foreign::MARK;
use crate::name::MAX_NAME;

/// musl reads lines into a buffer of 512 bytes (`src/network/lookup_name.c`) and passes over the rest of longer ones.
const MAX_LINE: usize = 510;
/// Of that, what is for address and names.
const MAX_NAMES: usize = MAX_LINE - MARK.len();

/// In bytes: no registry holds as many members as would fill it.
const MAX_BLOCK: usize = 16 << 20;

/// So many names of another namespace's members stand in a hosts file, those of the first ones. Links know no such bound.
const MAX_FOREIGN_NAMES: usize = 64;

/// A tenant of a network, and the lines of its members from when they are first asked for.
#[derive(Debug)]
pub(crate) struct Neighbourhood {
    /// Its members, and besides them those of others whom some of them may know.
    pub(crate) network: Network,
    pub(crate) tenant: String,
    /// Members said that they had slots which they cannot have: no file can be relied on to have them.
    pub(crate) is_damaged: bool,
    /// A version before wrote it, whose lines had fewer names: so are those of its members until it changes.
    pub(crate) is_outdated: bool,
    lines: OnceCell<Lines>,
    /// The places of the members that have an address.
    addresses: OnceCell<HashMap<IpAddr, Vec<usize>>>,
    /// The places of each container's members.
    containers: HashMap<String, Vec<usize>>,
    /// The places, among the members and then the others, of those who are called so.
    sources: OnceCell<HashMap<String, Vec<usize>>>,
}

/// The lines of all members that have a slot.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) text: String,
    /// The places of the members that have a name, which is in small letters.
    pub(crate) places: HashMap<String, Vec<usize>>,
}

impl Neighbourhood {
    /// The tenants of a network.
    pub(crate) fn all(network: &Network) -> Vec<Self> {
        let tenants = network.tenants().into_iter();
        tenants.map(|tenant| Self::new(of_tenant(network, tenant), tenant)).collect()
    }

    /// A network that has members of that tenant alone.
    pub(crate) fn new(mut network: Network, tenant: &str) -> Self {
        let is_outdated = is_outdated(&network);
        let is_damaged = take_impossible_slots(&mut network);
        let mut containers: HashMap<String, Vec<usize>> = HashMap::with_capacity(network.members.len());
        for (place, member) in network.members.iter().enumerate() {
            containers.entry(member.container_id.clone()).or_default().push(place);
        }
        let (lines, addresses, sources) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        let tenant = tenant.to_owned();
        let mut neighbourhood =
            Self { network, tenant, is_damaged, is_outdated, lines, addresses, containers, sources };
        if is_damaged || is_outdated {
            neighbourhood.allot();
        }
        neighbourhood
    }

    /// All members that have an address.
    pub(crate) fn members_at(&self, address: IpAddr) -> impl Iterator<Item = &Member> {
        let addresses = self.addresses.get_or_init(|| {
            let mut addresses: HashMap<IpAddr, Vec<usize>> = HashMap::new();
            for (place, member) in self.network.members.iter().enumerate() {
                for address in &member.addresses {
                    addresses.entry(*address).or_default().push(place);
                }
            }
            addresses
        });
        let places = addresses.get(&address).into_iter().flatten();
        places.map(|&place| &self.network.members[place])
    }

    /// The member that a source means to a recipient, as [`Network::find`] has it, at the same cost however many there are.
    pub(crate) fn find(&self, recipient: &Member, source: &str) -> Option<&Member> {
        let sources = self.sources.get_or_init(|| {
            let mut sources: HashMap<String, Vec<usize>> = HashMap::new();
            for (place, member) in self.network.known().enumerate() {
                for name in member.sources() {
                    sources.entry(name).or_default().push(place);
                }
            }
            sources
        });
        let (members, others) = (&self.network.members, &self.network.others);
        let bare = source.rsplit_once('.').map(|(bare, _)| bare);
        let places =
            [Some(source), bare].into_iter().flatten().filter_map(|name| sources.get(name)).flatten();
        let fitting = places.filter_map(|&place| {
            let member = members.get(place).or_else(|| others.get(place - members.len()))?;
            Some(((member.fits(recipient, source)?, place), member))
        });
        // Of equal ones, the first.
        fitting.min_by_key(|(fit, _)| *fit).map(|(_, member)| member)
    }

    /// All memberships of a container on the network.
    pub(crate) fn members_of(&self, container_id: &str) -> impl Iterator<Item = &Member> {
        let places = self.containers.get(container_id).into_iter().flatten();
        places.map(|&place| &self.network.members[place])
    }

    pub(crate) fn lines(&self) -> &Lines {
        self.lines.get_or_init(|| {
            let members = &self.network.members;
            let mut lines = Lines { text: String::new(), places: HashMap::new() };
            for (slot, place) in slots(&self.network) {
                lines.text.push_str(&filler(slot.start - lines.text.len()));
                let names = self.names_of(&members[place]);
                lines.text.push_str(&fitted(&members[place], &names, slot));
                for name in names {
                    lines.places.entry(name.to_ascii_lowercase()).or_default().push(place);
                }
            }
            lines
        })
    }

    /// Gives a slot to each member that has none, or whose lines have outgrown it, as they are from now on.
    pub(crate) fn give_slots(&mut self) {
        self.is_outdated = false;
        self.allot();
    }

    fn allot(&mut self) {
        let mut taken: Vec<Slot> = Vec::with_capacity(self.network.members.len());
        let mut without = Vec::new();
        for (place, member) in self.network.members.iter().enumerate() {
            let length = self.lines_of(member).len();
            match member.slot {
                Some(slot) if length <= slot.length => taken.push(slot),
                _ => without.push((place, length)),
            }
        }
        taken.sort_unstable_by_key(|slot| (slot.start, slot.length));
        for (place, mut length) in without {
            let mut start = 0;
            let mut before = taken.len();
            for (index, slot) in taken.iter().enumerate() {
                let gap = slot.start - start;
                if gap >= length {
                    // One byte has no room for a comment.
                    length += usize::from(gap == length + 1);
                    before = index;
                    break;
                }
                start = slot.end();
            }
            let slot = Slot { start, length };
            taken.insert(before, slot);
            self.network.members[place].slot = Some(slot);
        }
        self.lines = OnceCell::new();
    }

    /// What changes in everybody's block where the network was another one before.
    pub(crate) fn patch(&self, before: &Self) -> Patch {
        let mut patch = Patch { before: before.length(), after: self.length(), ..Patch::default() };
        let (olds, news) = (before.network.by_attachment(), self.network.by_attachment());
        let slots = slots(&self.network);
        for old in &before.network.members {
            let is_same = news.get(&old.attachment()).is_some_and(|new| self.is_same(new, before, old));
            let Some(slot) = old.slot.filter(|_| !is_same) else { continue };
            let text = fitted(old, &before.names_of(old), slot);
            patch.ending.extend(line_starts(&text).map(|start| slot.start + start));
            patch.empty.extend(gaps_in(&slots, slot));
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

    pub(crate) fn length(&self) -> usize {
        let ends = self.network.members.iter().filter_map(|member| member.slot).map(Slot::end);
        ends.max().unwrap_or_default()
    }

    fn lines_of(&self, member: &Member) -> String {
        let mut text = String::new();
        push_lines(&mut text, member, &self.names_of(member));
        text
    }

    /// The members of other tenants whom one of these sees, with what they are called there.
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
                    let names = foreign_names(guest);
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

    /// What a member is called by the others: `name.network`, by which an address is known where it is looked up
    /// (gethostbyaddr(3) takes the first), name, `name.namespace`, aliases, short ID, and these with the network; each once.
    pub(crate) fn names_of(&self, member: &Member) -> Vec<String> {
        let mut names: Vec<String> = self.qualified(&member.name).into_iter().collect();
        let further = || member.aliases.iter().cloned().chain([short_id(&member.container_id)]);
        names.push(member.name.clone());
        if !member.tenant().is_empty() {
            names.push(qualify(&member.name, member.tenant()));
        }
        names.extend(further());
        if !self.is_outdated {
            names.extend(further().filter_map(|name| self.qualified(&name)));
        }
        distinct(names)
    }

    /// `name.network`, where it is short enough for a name.
    pub(crate) fn qualified(&self, name: &str) -> Option<String> {
        let name = format!("{name}.{}", self.network.name);
        (name.len() <= MAX_NAME).then_some(name)
    }
}

/// Each once, in the order in which they came.
pub(crate) fn distinct<S: AsRef<str>>(mut names: Vec<S>) -> Vec<S> {
    let is_new: Vec<bool> = {
        let mut known = HashSet::with_capacity(names.len());
        names.iter().map(|name| known.insert(name.as_ref())).collect()
    };
    let mut is_new = is_new.into_iter();
    names.retain(|_| is_new.next().unwrap_or_default());
    names
}

/// What a member is called by those of another tenant who may know it: its names with its namespace.
pub(crate) fn foreign_names(member: &Member) -> Vec<String> {
    let names = [&member.name].into_iter().chain(&member.aliases);
    names.map(|name| qualify(name, member.tenant())).collect()
}

/// Whether a version before wrote it, whose lines had fewer names. What it says of slots is not read.
fn is_outdated(network: &Network) -> bool {
    let mut without = network.members.iter().filter(|member| member.slot.is_none());
    without.any(|member| network.is_seen_whole(member.tenant()))
}

/// The network with a slot for each member of a tenant of which somebody sees all.
pub(crate) fn with_slots(mut network: Network, tenant: &str) -> Network {
    if !network.is_seen_whole(tenant) {
        return network;
    }
    let is_own = |member: &Member| member.tenant() == tenant;
    let own = network.members.iter().filter(|member| is_own(member)).cloned().collect();
    let mut neighbourhood =
        Neighbourhood::new(Network { members: own, ..Network::new(&network.name) }, tenant);
    neighbourhood.give_slots();
    let mut given = neighbourhood.network.members.into_iter();
    for member in network.members.iter_mut().filter(|member| is_own(member)) {
        if let Some(given) = given.next() {
            *member = given;
        }
    }
    network
}

/// What a tenant has of a network and may know of others.
fn of_tenant(network: &Network, tenant: &str) -> Network {
    let members: Vec<Member> =
        network.members.iter().filter(|member| member.tenant() == tenant).cloned().collect();
    // Members of one tenant differ in this by what they were before it was known.
    let mut formers = HashSet::new();
    let askers: Vec<&Member> =
        members.iter().filter(|member| formers.insert(member.former_namespace())).collect();
    let is_known = |other: &&Member| {
        askers.iter().any(|asker| !matches!(other.relation_to(asker), Relation::Own | Relation::Stranger))
    };
    // Where not all members are known, sources of the own tenant are among the others.
    let own = network.others.iter().filter(|other| other.tenant() == tenant);
    let others = network.known().filter(is_known).chain(own).cloned().collect();
    Network { name: network.name.clone(), members, others }
}

/// Takes slots away that overlap others or lie beyond all reason, as only a damaged registry has them; whether there
/// were any.
fn take_impossible_slots(network: &mut Network) -> bool {
    let mut end = 0;
    let mut impossible = Vec::new();
    for (slot, place) in slots(network) {
        match slot.start.checked_add(slot.length) {
            Some(own) if slot.start >= end && own <= MAX_BLOCK => end = own,
            _ => impossible.push(place),
        }
    }
    for place in &impossible {
        network.members[*place].slot = None;
    }
    !impossible.is_empty()
}

/// The slots of a network, in their order, and whose they are.
fn slots(network: &Network) -> Vec<(Slot, usize)> {
    let members = network.members.iter().enumerate();
    let mut slots: Vec<(Slot, usize)> =
        members.filter_map(|(place, member)| Some((member.slot?, place))).collect();
    // A member without addresses has an empty slot, where another one may begin.
    slots.sort_unstable_by_key(|(slot, _)| (slot.start, slot.length));
    slots
}

/// The gaps between slots, which are in their order, that have a part of this slot, which is no member's any more. What is
/// behind the last member is no gap.
fn gaps_in(slots: &[(Slot, usize)], gone: Slot) -> Vec<Slot> {
    let mut gaps = Vec::new();
    let first = slots.partition_point(|(slot, _)| slot.start <= gone.start);
    let mut start = first.checked_sub(1).map_or(0, |before| slots[before].0.end());
    for (slot, _) in &slots[first..] {
        if start >= gone.end() {
            break;
        }
        if slot.start > start {
            gaps.push(Slot { start, length: slot.start - start });
        }
        start = slot.end();
    }
    gaps
}

/// A member's lines with these names, exactly as long as its slot; a comment where they have no room in it.
pub(crate) fn fitted<S: AsRef<str>>(member: &Member, names: &[S], slot: Slot) -> String {
    let mut text = String::with_capacity(slot.length);
    push_lines(&mut text, member, names);
    if text.pop().is_none() || text.len() + 1 > slot.length {
        return filler(slot.length);
    }
    while text.len() + 1 < slot.length {
        text.push(' ');
    }
    text.push('\n');
    text
}

/// Writes a member's lines, one an address, IPv4 first, all with the same names; none where there are no names.
pub(crate) fn push_lines<S: AsRef<str>>(text: &mut String, member: &Member, names: &[S]) {
    let v4 = member.addresses.iter().filter(|address| address.is_ipv4());
    let v6 = member.addresses.iter().filter(|address| address.is_ipv6());
    for address in v4.chain(v6) {
        push_line(text, *address, names);
    }
}

/// Writes an address with its names: a further line for those that would make one too long.
pub(crate) fn push_line<S: AsRef<str>>(text: &mut String, address: IpAddr, names: &[S]) {
    let mut start = text.len();
    for (index, name) in names.iter().map(AsRef::as_ref).enumerate() {
        if index > 0 && text.len() - start + 1 + name.len() <= MAX_NAMES {
            text.push(' ');
        } else {
            if index > 0 {
                end_line(text);
            }
            start = text.len();
            // Writing to a string cannot fail.
            let _ = write!(text, "{address}\t");
        }
        text.push_str(name);
    }
    if !names.is_empty() {
        end_line(text);
    }
}

fn end_line(text: &mut String) {
    text.push_str(MARK);
    text.push('\n');
}

#[cfg(test)]
mod tests {
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
            let before = Neighbourhood::new(network.clone(), "");
            let mut after = Neighbourhood::new(network, "");
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
                let mut neighbourhood = Neighbourhood::new(network.clone(), "");
                neighbourhood.give_slots();
                network = neighbourhood.network;
            }
            let neighbourhood = Neighbourhood::new(network, "");
            assert!(!neighbourhood.is_damaged);
            assert_eq!(neighbourhood.lines().text.lines().count(), 1);
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
        let mut neighbourhood = Neighbourhood::new(network, "");
        neighbourhood.give_slots();
        let text = &neighbourhood.lines().text;
        assert!(text.lines().count() > 1);
        assert!(text.lines().all(|line| line.len() <= MAX_LINE && line.starts_with("10.0.0.2\t")), "{text}");
        for name in neighbourhood.names_of(&neighbourhood.network.members[0]) {
            assert_eq!(text.split_ascii_whitespace().filter(|word| *word == name).count(), 1);
        }
    }
}
