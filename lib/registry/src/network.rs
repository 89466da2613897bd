//! A network: its name and its members, as one file holds them.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::member::{Member, Names};

/// The members of one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The network's name.
    pub name: String,
    /// Its members in the order in which they joined.
    #[serde(default)]
    pub members: Vec<Member>,
    /// Members of other tenants whom some of these may know. Nothing changes them here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Member>,
}

impl Network {
    /// A network without members.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), members: Vec::new(), others: Vec::new() }
    }

    /// The member of that container and interface.
    #[must_use]
    pub fn member(&self, container_id: &str, ifname: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.is(container_id, ifname))
    }

    /// Whether somebody sees every member of that tenant.
    #[must_use]
    pub fn is_seen_whole(&self, tenant: &str) -> bool {
        self.members.iter().any(|member| member.names == Names::Network && member.tenant() == tenant)
    }

    /// The tenants of its members.
    #[must_use]
    pub fn tenants(&self) -> BTreeSet<&str> {
        self.members.iter().map(Member::tenant).collect()
    }

    /// The tenants that have other members in another state of the network.
    pub(crate) fn changed_tenants<'a>(&'a self, other: &'a Self) -> BTreeSet<&'a str> {
        let (own, foreign) = (self.by_attachment(), other.by_attachment());
        let differs = |member: &&Member| own.get(&member.attachment()) != foreign.get(&member.attachment());
        self.members.iter().chain(&other.members).filter(differs).map(Member::tenant).collect()
    }

    /// Its members, and those of others that some of them may know.
    pub fn known(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().chain(&self.others)
    }

    /// The members by what identifies them.
    #[must_use]
    pub fn by_attachment(&self) -> HashMap<(&str, &str), &Member> {
        self.members.iter().map(|member| (member.attachment(), member)).collect()
    }

    /// The members that are interfaces of one container, which may have several.
    pub fn members_of<'a>(&'a self, container_id: &'a str) -> impl Iterator<Item = &'a Member> {
        self.members.iter().filter(move |member| member.container_id == container_id)
    }

    /// Takes a member in, in the place of the one of the same container and interface.
    pub fn put(&mut self, member: Member) {
        let place = self.members.iter_mut().find(|known| known.is(&member.container_id, &member.ifname));
        match place {
            Some(known) => *known = member,
            None => self.members.push(member),
        }
    }

    /// Takes a member out, where it is one.
    pub fn remove(&mut self, container_id: &str, ifname: &str) -> Option<Member> {
        let index = self.members.iter().position(|member| member.is(container_id, ifname))?;
        Some(self.members.remove(index))
    }

    /// The member that a source means to a member that has a link to it: one of its own tenant before those that another
    /// tenant lets it know. A name wins over an ID, an ID over an alias, and of several members with the same alias it is
    /// the first. Between members of a version before and of this one, those of one namespace are nearest.
    #[must_use]
    pub fn find(&self, recipient: &Member, source: &str) -> Option<&Member> {
        let fitting = self.known().filter_map(|member| Some((member.fits(recipient, source)?, member)));
        // Of equal ones, the first.
        fitting.min_by_key(|(fit, _)| *fit).map(|(_, member)| member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(container_id: &str, ifname: &str, name: &str, alias: &str) -> Member {
        Member {
            container_id: container_id.into(),
            ifname: ifname.into(),
            name: name.into(),
            aliases: vec![alias.into()],
            ..Member::default()
        }
    }

    #[test]
    fn a_member_is_its_container_and_interface() {
        let mut network = Network::new("web");
        network.put(member("c1", "eth0", "db", "pg"));
        network.put(member("c1", "eth1", "db", "pg"));
        network.put(member("c1", "eth0", "store", "pg"));
        assert_eq!(network.members.len(), 2);
        assert_eq!(network.member("c1", "eth0").unwrap().name, "store");
        assert!(network.remove("c1", "eth1").is_some());
        assert!(network.remove("c1", "eth1").is_none());
    }

    #[test]
    fn a_source_is_found_by_name_then_by_id_then_by_alias() {
        let id = "ab".repeat(32);
        let mut network = Network::new("web");
        network.put(member(&id, "eth0", "one", "db"));
        network.put(member("c2", "eth0", "db", &id));
        let asker = Member::default();
        let found = |source: &str| network.find(&asker, source).map(|member| member.name.as_str());
        assert_eq!(found("db"), Some("db"));
        assert_eq!(found(&id), Some("one"));
        assert_eq!(found("abababababab"), Some("one"));
        assert_eq!(found("abab"), None);
        // Whatever finds a member must be what a change to that member is matched by.
        assert!(network.members[0].answers_to("abababababab") && network.members[0].answers_to("db"));
    }
}
