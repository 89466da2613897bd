//! Lines of an earlier version, which have no mark: they are ours if they say nothing else than we would say.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use registry::Member;

use super::block::HostsBlock;

/// What an earlier version may have written to a container's file: lines of an address that a member has or had, or of an
/// extra host, with no other names than these have.
pub(crate) struct FormerLines<'a> {
    blocks: Vec<&'a HostsBlock>,
    /// The container's own memberships.
    own: Vec<&'a Member>,
    /// The names of its extra hosts.
    extra: HashMap<IpAddr, Vec<&'a str>>,
    /// The possible names of each address that was asked for: a file may have any number of lines with one address.
    names: RefCell<HashMap<IpAddr, HashSet<String>>>,
}

impl<'a> FormerLines<'a> {
    /// Those of a container, by the blocks as they are and as they were.
    pub(crate) fn of(container_id: &str, blocks: Vec<&'a HostsBlock>) -> Self {
        let own: Vec<&Member> = blocks.iter().flat_map(|block| block.members_of(container_id)).collect();
        let mut extra: HashMap<IpAddr, Vec<&str>> = HashMap::new();
        for host in own.iter().flat_map(|own| &own.extra_hosts) {
            extra.entry(host.address).or_default().push(&host.name);
        }
        Self { blocks, own, extra, names: RefCell::default() }
    }

    /// Whether a line is one of them.
    pub(crate) fn has(&self, line: &str) -> bool {
        let mut words = line.split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else {
            return false;
        };
        let mut names = self.names.borrow_mut();
        let names = names.entry(address).or_insert_with(|| self.names_at(address));
        !names.is_empty() && words.all(|word| names.contains(word))
    }

    fn names_at(&self, address: IpAddr) -> HashSet<String> {
        let extra = self.extra.get(&address).into_iter().flatten();
        let mut names: HashSet<String> = extra.map(|name| (*name).to_owned()).collect();
        for block in &self.blocks {
            for member in block.members_at(address) {
                names.extend(block.names_of(member));
                names.insert(format!("{}.{}", member.hostname, member.domain));
                names.insert(member.hostname.clone());
                let links = self.own.iter().flat_map(|own| &own.links);
                let meant = links.filter(|link| member.answers_to(&link.source));
                names.extend(meant.map(|link| link.alias.clone()));
            }
        }
        names
    }
}
