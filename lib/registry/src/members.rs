//! A network's folder: reading members, all of them or those that matter, and changing them.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::path::PathBuf;

use folder::{Folder, LONGEST, PRIVATE};

use crate::error::{Error, is_of_content};
use crate::file_name::fitted;
use crate::index::{self, Key};
use crate::member::Member;
use crate::network::Network;

pub(crate) const MEMBERS: &str = "members";
pub(crate) const INDEX: &str = "index";

/// All members of a tenant in one file: what the files of the members say, read in one piece. Behind `:` the namespace.
const ALL: &str = "all";

/// The folders of a network that has members.
#[derive(Debug)]
pub(crate) struct Members {
    network: Folder,
    files: Folder,
    index: Folder,
}

impl Members {
    /// Opens them; `None` where there are none.
    pub(crate) fn open(network: Folder) -> Result<Option<Self>, Error> {
        match (network.child(MEMBERS)?, network.child(INDEX)?) {
            (Some(files), Some(index)) => Ok(Some(Self { network, files, index })),
            _ => Ok(None),
        }
    }

    /// Opens them, and makes them where there are none.
    pub(crate) fn create(network: Folder) -> Result<Self, Error> {
        let (files, index) = (network.child_or_create(MEMBERS)?, network.child_or_create(INDEX)?);
        Ok(Self { network, files, index })
    }

    /// All members of a tenant, in the order in which they joined.
    pub(crate) fn all_of(&self, tenant: &str) -> Result<Vec<Member>, Error> {
        if let Some(known) = self.seen(tenant)? {
            return Ok(known);
        }
        let mut members = if tenant.is_empty() {
            all(&self.files)?
        } else {
            self.find([Key::Namespace(tenant.to_owned())], &HashSet::new(), false)?
        };
        members.retain(|member| member.tenant() == tenant);
        members.sort_by(order);
        Ok(members)
    }

    /// The same, where they are kept in one piece: somebody sees them all.
    pub(crate) fn seen(&self, tenant: &str) -> Result<Option<Vec<Member>>, Error> {
        let text = read_usable(&self.network, &of_tenant(ALL, tenant))?;
        let known: Option<Vec<Member>> = text.and_then(|text| serde_json::from_slice(&text).ok());
        // Whatever it says of others, they have their own.
        Ok(known.map(|known| known.into_iter().filter(|member| member.tenant() == tenant).collect()))
    }

    /// Whether a member sees every other one of its tenant.
    pub(crate) fn has_viewers(&self, tenant: &str) -> Result<bool, Error> {
        Ok(!self.find([Key::Viewer(tenant.to_owned())], &HashSet::new(), true)?.is_empty())
    }

    /// The namespaces in which somebody sees every member.
    pub(crate) fn viewing_namespaces(&self) -> Result<Vec<String>, Error> {
        index::viewing_namespaces(&self.index)
    }

    /// The members that any of the keys leads to, but for those whose files are known; `first`: one will do.
    pub(crate) fn find(
        &self,
        keys: impl IntoIterator<Item = Key>,
        known: &HashSet<String>,
        first: bool,
    ) -> Result<Vec<Member>, Error> {
        let mut found: Vec<Member> = Vec::new();
        let mut files: HashSet<String> = HashSet::new();
        for key in keys {
            for file in index::read(&self.index, &key)? {
                // Half a line that a killed process left may be no file name at all.
                if files.contains(&file) || known.contains(&file) || !is_file_name(&file) {
                    continue;
                }
                if let Some(member) = read(&self.files, &file)?.filter(|member| key.matches(member)) {
                    files.insert(file);
                    found.push(member);
                    if first {
                        return Ok(found);
                    }
                }
            }
        }
        Ok(found)
    }

    /// The members of a container; `None` where the index has some whose files are damaged.
    pub(crate) fn of_container(&self, id: &str) -> Result<Option<Vec<Member>>, Error> {
        let mut found = Vec::new();
        for file in index::read(&self.index, &Key::Name(id.to_owned()))? {
            // The specification has no interface with a colon in its name.
            let is_its = file.rsplit_once(':').is_some_and(|(_, ifname)| file == file_of(id, ifname));
            if !is_its || !is_file_name(&file) {
                continue;
            }
            match read(&self.files, &file)? {
                Some(member) => found.push(member),
                None => return Ok(None),
            }
        }
        Ok(Some(found))
    }

    /// Whether somebody is what a member's link would mean.
    pub(crate) fn has(&self, asker: &Member, source: &str) -> Result<bool, Error> {
        let keys = asker.asked_keys(source).into_iter().map(Key::Name);
        Ok(self.find(keys, &HashSet::new(), false)?.iter().any(|known| known.fits(asker, source).is_some()))
    }

    /// Writes what has changed. Keys are written before the member that they lead to, and removed before it, except its
    /// container's ID, by which DEL finds it: a process that is killed can be followed by the same change. The file of all members
    /// of a tenant is removed first and written last.
    pub(crate) fn change(&self, before: &Network, after: &Network) -> Result<(), Error> {
        let mut changed = before.changed_tenants(after);
        if changed.is_empty() {
            // Somebody may have damaged what is there.
            changed = after.tenants();
        }
        for tenant in &changed {
            self.network.remove(&of_tenant(ALL, tenant))?;
        }
        self.change_members(before, after)?;
        for tenant in changed.into_iter().filter(|tenant| after.is_seen_whole(tenant)) {
            let own = after.members.iter().filter(|member| member.tenant() == tenant);
            let mut members: Vec<&Member> = own.collect();
            members.sort_by(|a, b| order(a, b));
            let file = of_tenant(ALL, tenant);
            let text = serde_json::to_vec(&members)
                .map_err(|source| Error::Decode { path: path(&self.network, &file), source })?;
            // One that is longer than is read is left out: then the members are read one by one.
            if text.len() as u64 <= LONGEST {
                self.network.replace(&file, &text, PRIVATE)?;
            }
        }
        Ok(())
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
                self.files.remove(&file)?;
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
            write(&self.files, &file, member)?;
            for key in old.iter().filter(|key| !remaining.contains(key)) {
                index::remove(&self.index, key, &file)?;
            }
        }
        Ok(())
    }

    /// Takes a member that is not there off the key that leads to it last. One whose file is damaged goes with it; other
    /// keys that lead to the file are skipped from then on.
    pub(crate) fn forget(&self, container_id: &str, ifname: &str) -> Result<(), Error> {
        let file = file_of(container_id, ifname);
        self.files.remove(&file)?;
        index::remove(&self.index, &Key::Name(container_id.to_owned()), &file)
    }

    /// Writes a member's file anew where it is damaged: what has all members in one piece may know better.
    pub(crate) fn mend(&self, member: &Member) -> Result<(), Error> {
        match self.examine(&member.container_id, &member.ifname) {
            Err(Error::Decode { .. }) => write(&self.files, &file_name(member), member),
            outcome => outcome.map(drop),
        }
    }

    /// Reads a member's file, which the others skip where it is damaged.
    pub(crate) fn examine(&self, container_id: &str, ifname: &str) -> Result<Option<Member>, Error> {
        let file = file_of(container_id, ifname);
        let Some(content) = self.files.read(&file)? else {
            return Ok(None);
        };
        let member = serde_json::from_slice(&content);
        member.map(Some).map_err(|source| Error::Decode { path: path(&self.files, &file), source })
    }
}

/// The order in which members joined.
pub(crate) fn order(a: &Member, b: &Member) -> Ordering {
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

pub(crate) fn file_name(member: &Member) -> String {
    file_of(&member.container_id, &member.ifname)
}

fn file_of(container_id: &str, ifname: &str) -> String {
    fitted(container_id, &format!(":{ifname}"))
}

/// The name of a file that each tenant has one of.
pub(crate) fn of_tenant(file: &str, tenant: &str) -> String {
    if tenant.is_empty() { file.to_owned() } else { format!("{file}:{tenant}") }
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
        Err(error) if is_of_content(&error) => Ok(None),
        outcome => Ok(outcome?),
    }
}

fn write(folder: &Folder, file: &str, member: &Member) -> Result<(), Error> {
    let mut text =
        serde_json::to_vec(member).map_err(|source| Error::Decode { path: path(folder, file), source })?;
    text.push(b'\n');
    Ok(folder.replace(file, &text, PRIVATE)?)
}

fn path(folder: &Folder, file: &str) -> PathBuf {
    folder.path().join(file)
}
