//! By what members are found without reading all of them.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::error::Error;
use crate::file_name::fitted;
use crate::folder::Folder;
use crate::member::{Member, Names};

const PRIVATE: u32 = 0o600;

/// What members are looked up by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// Whoever answers to a link's source of that name.
    Name(String),
    /// Whoever has a link to a source of that name.
    Source(String),
    /// Whoever has the address.
    Address(IpAddr),
    /// Whoever sees every member.
    Viewer,
}

impl Key {
    /// All keys of a member.
    pub(crate) fn of(member: &Member) -> Vec<Self> {
        let mut keys: Vec<Self> = member.sources().into_iter().map(Self::Name).collect();
        let mut known = HashSet::with_capacity(member.links.len());
        let sources = member.links.iter().map(|link| &link.source).filter(|source| known.insert(*source));
        keys.extend(sources.cloned().map(Self::Source));
        keys.extend(member.addresses.iter().copied().map(Self::Address));
        if member.names == Names::Network {
            keys.push(Self::Viewer);
        }
        keys
    }

    /// Whether a member is found by it.
    pub(crate) fn matches(&self, member: &Member) -> bool {
        match self {
            Self::Name(name) => member.answers_to(name),
            Self::Source(name) => member.links.iter().any(|link| link.source == *name),
            Self::Address(address) => member.addresses.contains(address),
            Self::Viewer => member.names == Names::Network,
        }
    }

    /// The name of its file.
    fn file(&self) -> String {
        match self {
            Self::Name(name) => fitted(&format!("n:{name}"), ""),
            Self::Source(name) => fitted(&format!("s:{name}"), ""),
            Self::Address(address) => format!("a:{address}"),
            Self::Viewer => "v".to_owned(),
        }
    }
}

/// The files of the members that a key may lead to; some may have gone, match no more, or stand there twice.
pub(crate) fn read(index: &Folder, key: &Key) -> Result<Vec<String>, Error> {
    let content = index.read(&key.file())?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&content).lines().map(str::to_owned).collect())
}

/// Adds a member's file to a key. A process that is killed meanwhile leaves half a line, which leads nowhere.
pub(crate) fn add(index: &Folder, key: &Key, member: &str) -> Result<(), Error> {
    index.append(&key.file(), format!("{member}\n").as_bytes(), PRIVATE)
}

/// Takes a member's file out of a key.
pub(crate) fn remove(index: &Folder, key: &Key, member: &str) -> Result<(), Error> {
    let file = key.file();
    let content = index.read(&file)?.unwrap_or_default();
    let content = String::from_utf8_lossy(&content);
    let left: String = content.lines().filter(|line| *line != member).flat_map(|line| [line, "\n"]).collect();
    if left.is_empty() { index.remove(&file) } else { index.shorten(&file, left.as_bytes(), PRIVATE) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::Link;

    #[test]
    fn a_member_is_found_by_each_of_its_keys() {
        let member = Member {
            container_id: "c1".into(),
            name: "web".into(),
            aliases: vec!["www".into(), "c1".into()],
            addresses: vec!["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
            links: vec![Link { source: "db".into(), alias: "store".into() }],
            ..Member::default()
        };
        let keys = Key::of(&member);
        let files: Vec<String> = keys.iter().map(Key::file).collect();
        assert_eq!(files, ["n:web", "n:c1", "n:www", "s:db", "a:10.0.0.2", "a:fd00::2", "v"]);
        assert!(
            keys.iter().all(|key| key.matches(&member)
                && !key.matches(&Member { names: Names::Links, ..Member::default() }))
        );
    }
}
