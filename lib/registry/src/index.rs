//! By what members are found without reading all of them.

use std::collections::HashSet;
use std::net::IpAddr;

use folder::{Folder, PRIVATE};

use crate::error::Error;
use crate::file_name::fitted;
use crate::member::{Member, Names};
use crate::rewrite::shorten;

/// How the names of the files of viewers begin, but of root's.
const VIEWERS: &str = "v:";

/// What members are looked up by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// The members that answer to a link's source of that name, with its namespace where it has one.
    Name(String),
    /// The members with a link to a source of that name.
    Source(String),
    /// The members with that address.
    Address(IpAddr),
    /// The members of that tenant that see all of it.
    Viewer(String),
    /// The members of that namespace.
    Namespace(String),
    /// The members that let that namespace, or everybody, know them.
    Allowing(String),
}

impl Key {
    /// All keys of a member.
    pub(crate) fn of(member: &Member) -> Vec<Self> {
        let mut keys: Vec<Self> = member.name_keys().into_iter().map(Self::Name).collect();
        let mut known = HashSet::new();
        let links = member.links.iter().flat_map(|link| member.link_keys(&link.source));
        keys.extend(links.filter(|key| known.insert(key.clone())).map(Self::Source));
        keys.extend(member.addresses.iter().copied().map(Self::Address));
        if member.names == Names::Network {
            keys.push(Self::Viewer(member.tenant().to_owned()));
        }
        if !member.tenant().is_empty() {
            keys.push(Self::Namespace(member.tenant().to_owned()));
            keys.extend(member.allow_from.iter().cloned().map(Self::Allowing));
        }
        keys
    }

    /// Whether a member is found by it.
    pub(crate) fn matches(&self, member: &Member) -> bool {
        match self {
            Self::Name(name) => member.name_keys().contains(name),
            Self::Source(name) => {
                member.links.iter().any(|link| member.link_keys(&link.source).contains(name))
            }
            Self::Address(address) => member.addresses.contains(address),
            Self::Viewer(tenant) => member.names == Names::Network && member.tenant() == tenant,
            Self::Namespace(namespace) => member.tenant() == namespace,
            Self::Allowing(namespace) => member.allow_from.contains(namespace),
        }
    }

    /// The name of its file.
    fn file(&self) -> String {
        match self {
            Self::Name(name) => fitted(&format!("n:{name}"), ""),
            Self::Source(name) => fitted(&format!("s:{name}"), ""),
            Self::Address(address) => format!("a:{address}"),
            Self::Viewer(tenant) if tenant.is_empty() => "v".to_owned(),
            Self::Viewer(tenant) => format!("{VIEWERS}{tenant}"),
            Self::Namespace(namespace) => format!("t:{namespace}"),
            Self::Allowing(namespace) => format!("f:{namespace}"),
        }
    }
}

/// The namespaces in which somebody sees every member.
pub(crate) fn viewing_namespaces(index: &Folder) -> Result<Vec<String>, Error> {
    let files = index.entries()?;
    Ok(files.iter().filter_map(|file| file.strip_prefix(VIEWERS)).map(str::to_owned).collect())
}

/// The files of the members that a key may lead to; some may have gone, match no more, or stand there twice.
pub(crate) fn read(index: &Folder, key: &Key) -> Result<Vec<String>, Error> {
    let content = index.read(&key.file())?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&content).lines().map(str::to_owned).collect())
}

/// Adds a member's file to a key. A process that is killed meanwhile leaves half a line, which leads nowhere.
pub(crate) fn add(index: &Folder, key: &Key, member: &str) -> Result<(), Error> {
    Ok(index.append(&key.file(), format!("{member}\n").as_bytes(), PRIVATE)?)
}

/// Takes a member's file out of a key.
pub(crate) fn remove(index: &Folder, key: &Key, member: &str) -> Result<(), Error> {
    let file = key.file();
    let content = index.read(&file)?.unwrap_or_default();
    let content = String::from_utf8_lossy(&content);
    let left: String = content.lines().filter(|line| *line != member).flat_map(|line| [line, "\n"]).collect();
    if left.is_empty() { Ok(index.remove(&file)?) } else { shorten(index, &file, left.as_bytes(), PRIVATE) }
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
        let member = Member {
            namespace: Some("prod".into()),
            allow_from: vec!["shop".into(), "*".into()],
            links: vec![
                Link { source: "db".into(), alias: "x".into() },
                Link { source: "db.infra".into(), alias: "y".into() },
            ],
            ..member
        };
        let keys = Key::of(&member);
        let files: Vec<String> = keys.iter().map(Key::file).collect();
        assert_eq!(
            files,
            [
                "n:web.prod",
                "n:c1.prod",
                "n:www.prod",
                "n:c1",
                "s:db.prod",
                "s:db.infra>prod",
                "s:db.infra>*",
                "a:10.0.0.2",
                "a:fd00::2",
                "v:prod",
                "t:prod",
                "f:shop",
                "f:*"
            ]
        );
        assert!(keys.iter().all(|key| key.matches(&member)));
    }
}
