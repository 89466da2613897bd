//! A network: its name and its members, as one file holds them.

use std::collections::HashMap;

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
}

impl Network {
    /// A network without members.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), members: Vec::new() }
    }

    /// The member of that container and interface.
    #[must_use]
    pub fn member(&self, container_id: &str, ifname: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.is(container_id, ifname))
    }

    /// Whether somebody sees every member.
    #[must_use]
    pub fn is_seen_whole(&self) -> bool {
        self.members.iter().any(|member| member.names == Names::Network)
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

    /// The member that a link's source means. A name wins over an ID, an ID over an alias, and of several members
    /// with the same alias it is the first.
    #[must_use]
    pub fn find(&self, source: &str) -> Option<&Member> {
        let by = |matches: &dyn Fn(&Member) -> bool| self.members.iter().find(|member| matches(member));
        by(&|member| member.name == source)
            .or_else(|| by(&|member| member.has_id(source)))
            .or_else(|| by(&|member| member.aliases.iter().any(|alias| alias == source)))
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
        let found = |source: &str| network.find(source).map(|member| member.name.as_str());
        assert_eq!(found("db"), Some("db"));
        assert_eq!(found(&id), Some("one"));
        assert_eq!(found("abababababab"), Some("one"));
        assert_eq!(found("abab"), None);
        // Whatever finds a member must be what a change to that member is matched by.
        assert!(network.members[0].answers_to("abababababab") && network.members[0].answers_to("db"));
    }
}
