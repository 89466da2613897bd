//! A network's folder: reading members, all of them or those that matter, and changing them.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::io;
use std::path::PathBuf;

use crate::content::LONGEST;
use crate::error::Error;
use crate::file_name::fitted;
use crate::folder::Folder;
use crate::index::{self, Key};
use crate::member::Member;
use crate::network::Network;

pub(crate) const MEMBERS: &str = "members";
pub(crate) const INDEX: &str = "index";
const PRIVATE: u32 = 0o600;

/// All members in one file: what the files of the members say, read in one piece.
const ALL: &str = "all";

/// The folders of a network that has members.
#[derive(Debug)]
pub(crate) struct Roll {
    network: Folder,
    members: Folder,
    index: Folder,
}

impl Roll {
    /// Opens them; `None` where there are none.
    pub(crate) fn open(network: Folder) -> Result<Option<Self>, Error> {
        match (network.child(MEMBERS)?, network.child(INDEX)?) {
            (Some(members), Some(index)) => Ok(Some(Self { network, members, index })),
            _ => Ok(None),
        }
    }

    /// Opens them, and makes them where there are none.
    pub(crate) fn create(network: Folder) -> Result<Self, Error> {
        let (members, index) = (network.child_or_create(MEMBERS)?, network.child_or_create(INDEX)?);
        Ok(Self { network, members, index })
    }

    /// All members, in the order in which they joined.
    pub(crate) fn all(&self) -> Result<Vec<Member>, Error> {
        let known = read_usable(&self.network, ALL)?.and_then(|text| serde_json::from_slice(&text).ok());
        known.map_or_else(|| all(&self.members), Ok)
    }

    /// Whether a member sees every other one.
    pub(crate) fn has_viewers(&self) -> Result<bool, Error> {
        Ok(!self.find([Key::Viewer], true)?.is_empty())
    }

    /// The members that any of the keys leads to; `first`: one will do.
    fn find(&self, keys: impl IntoIterator<Item = Key>, first: bool) -> Result<Vec<Member>, Error> {
        let mut found: Vec<Member> = Vec::new();
        let mut known: HashSet<String> = HashSet::new();
        for key in keys {
            for file in index::read(&self.index, &key)? {
                if known.contains(&file) {
                    continue;
                }
                // Half a line that a killed process left may be no file name at all.
                let member = if is_file_name(&file) { read(&self.members, &file)? } else { None };
                if let Some(member) = member.filter(|member| key.matches(member)) {
                    found.push(member);
                    known.insert(file);
                    if first {
                        return Ok(found);
                    }
                }
            }
        }
        Ok(found)
    }

    /// The members that matter to these containers and to who is about to join: themselves; who has the name or an
    /// address of who joins; who has links to any of these; and all that these links may mean.
    pub(crate) fn around(&self, containers: &[&str], joining: Option<&Member>) -> Result<Vec<Member>, Error> {
        let own = containers.iter().map(|id| Key::Name((*id).to_owned()));
        let in_the_way = joining.into_iter().flat_map(|member| {
            let addresses = member.addresses.iter().copied().map(Key::Address);
            member.sources().into_iter().map(Key::Name).chain(addresses)
        });
        let mut members = self.find(own.chain(in_the_way), false)?;
        let sources = members.iter().chain(joining).flat_map(Member::sources).map(Key::Source);
        let recipients = self.find(sources.collect::<Vec<_>>(), false)?;
        add_new(&mut members, recipients);
        let links = members.iter().chain(joining).flat_map(|member| &member.links);
        let meant = self.find(links.map(|link| Key::Name(link.source.clone())).collect::<Vec<_>>(), false)?;
        add_new(&mut members, meant);
        members.sort_by(order);
        Ok(members)
    }

    /// Whether anybody answers to a link's source.
    pub(crate) fn has(&self, source: &str) -> Result<bool, Error> {
        Ok(!self.find([Key::Name(source.to_owned())], true)?.is_empty())
    }

    /// Writes what has changed. Keys come before the member that they lead to, and go before it, but for its container's
    /// ID, by which whoever removes it looks for it: whatever kills the process, that can be done again. What has all
    /// members in one piece goes first and comes last.
    pub(crate) fn change(&self, before: &Network, after: &Network) -> Result<(), Error> {
        self.network.remove(ALL)?;
        self.change_members(before, after)?;
        if !after.is_seen_whole() {
            return Ok(());
        }
        let mut members: Vec<&Member> = after.members.iter().collect();
        members.sort_by(|a, b| order(a, b));
        let mut text = Bounded(Vec::new());
        match serde_json::to_writer(&mut text, &members) {
            Ok(()) => self.network.replace(ALL, &text.0, PRIVATE),
            // Longer than is read: then the members are read one by one, as without it.
            Err(error) if error.is_io() => Ok(()),
            Err(source) => Err(Error::Decode { path: path(&self.network, ALL), source }),
        }
    }

    fn change_members(&self, before: &Network, after: &Network) -> Result<(), Error> {
        let (known, remaining) = (before.by_attachment(), after.by_attachment());
        for member in &before.members {
            if !remaining.contains_key(&member.attachment()) {
                let file = file_name(member);
                let id = Key::Name(member.container_id.clone());
                for key in Key::of(member).iter().filter(|key| **key != id) {
                    index::remove(&self.index, key, &file)?;
                }
                self.members.remove(&file)?;
                index::remove(&self.index, &id, &file)?;
            }
        }
        for member in &after.members {
            let old = known.get(&member.attachment());
            if old == Some(&member) {
                continue;
            }
            let file = file_name(member);
            let (keys, old) = (Key::of(member), old.map(|old| Key::of(old)).unwrap_or_default());
            let [known, remaining] = [&old, &keys].map(|keys| keys.iter().collect::<HashSet<_>>());
            for key in keys.iter().filter(|key| !known.contains(key)) {
                index::add(&self.index, key, &file)?;
            }
            write(&self.members, &file, member)?;
            for key in old.iter().filter(|key| !remaining.contains(key)) {
                index::remove(&self.index, key, &file)?;
            }
        }
        Ok(())
    }

    /// Takes a member that is not there off the key that leads to it last. One whose file is damaged goes with it; whatever
    /// other keys lead to the file is passed over from then on.
    pub(crate) fn forget(&self, container_id: &str, ifname: &str) -> Result<(), Error> {
        let file = file_of(container_id, ifname);
        self.members.remove(&file)?;
        index::remove(&self.index, &Key::Name(container_id.to_owned()), &file)
    }

    /// Writes a member's file anew where it is damaged: what has all members in one piece may know better.
    pub(crate) fn mend(&self, member: &Member) -> Result<(), Error> {
        match self.examine(&member.container_id, &member.ifname) {
            Err(Error::Decode { .. }) => write(&self.members, &file_name(member), member),
            outcome => outcome.map(drop),
        }
    }

    /// Reads a member's file, which [`Roll::around`] and the others pass over where it is damaged.
    pub(crate) fn examine(&self, container_id: &str, ifname: &str) -> Result<Option<Member>, Error> {
        let file = file_of(container_id, ifname);
        let Some(content) = self.members.read(&file)? else {
            return Ok(None);
        };
        let member = serde_json::from_slice(&content);
        member.map(Some).map_err(|source| Error::Decode { path: path(&self.members, &file), source })
    }
}

/// A text that is no longer than what is read.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.0.len() + bytes.len()) as u64 > LONGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn add_new(members: &mut Vec<Member>, more: Vec<Member>) {
    let mut known: HashSet<String> = members.iter().map(file_name).collect();
    members.extend(more.into_iter().filter(|member| known.insert(file_name(member))));
}

/// The order in which members joined.
fn order(a: &Member, b: &Member) -> Ordering {
    (a.joined, &a.container_id, &a.ifname).cmp(&(b.joined, &b.container_id, &b.ifname))
}

/// All members of a folder of members. One that goes meanwhile is left out.
pub(crate) fn all(folder: &Folder) -> Result<Vec<Member>, Error> {
    let mut members = Vec::new();
    for file in folder.entries()? {
        if is_file_name(&file)
            && let Some(member) = read(folder, &file)?
        {
            members.push(member);
        }
    }
    members.sort_by(order);
    Ok(members)
}

fn file_name(member: &Member) -> String {
    file_of(&member.container_id, &member.ifname)
}

fn file_of(container_id: &str, ifname: &str) -> String {
    fitted(container_id, &format!(":{ifname}"))
}

fn is_file_name(text: &str) -> bool {
    text.contains(':') && !text.starts_with('.') && !text.contains(['/', '\0'])
}

/// A file that somebody has damaged is as good as none: it must not keep everybody else from coming and going. CHECK tells
/// of it, an ADD writes it anew and a DEL removes it.
fn read(folder: &Folder, file: &str) -> Result<Option<Member>, Error> {
    Ok(read_usable(folder, file)?.and_then(|content| serde_json::from_slice(&content).ok()))
}

/// Reads a file; `None` as well where something else stands in its place.
fn read_usable(folder: &Folder, file: &str) -> Result<Option<Vec<u8>>, Error> {
    match folder.read(file) {
        Err(error) if error.is_of_content() => Ok(None),
        outcome => outcome,
    }
}

fn write(folder: &Folder, file: &str, member: &Member) -> Result<(), Error> {
    let mut text =
        serde_json::to_vec(member).map_err(|source| Error::Decode { path: path(folder, file), source })?;
    text.push(b'\n');
    folder.replace(file, &text, PRIVATE)
}

fn path(folder: &Folder, file: &str) -> PathBuf {
    folder.path().join(file)
}
