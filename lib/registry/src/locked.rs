//! The registry under its lock: the one place that changes it.

use std::collections::HashSet;
use std::time::SystemTime;

use folder::{Folder, PRIVATE};

use crate::around;
use crate::content;
use crate::error::{Error, is_of_content};
use crate::hosts_patch::Patch;
use crate::layout::{CONTAINERS, NETWORKS, read};
use crate::member::Member;
use crate::members::{INDEX, MEMBERS, Members, of_tenant};
use crate::network::Network;
use crate::notes;
use crate::rewrite::{cut, remove_child, shorten};

/// Which networks a container is on: a name a line, in the order of joining.
const LIST: &str = "networks";
/// Its date is that of the last change which reached every hosts file, but for those of containers that it names, one a line.
/// Behind `:` the namespace.
const SETTLED: &str = "settled";

/// When every hosts file of a network was as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The date; what has a later one was written by somebody else.
    pub since: SystemTime,
    /// The containers whose files could not be written, and so may be any way.
    pub passed_over: HashSet<String>,
}

/// The registry while this process has its lock. When it is dropped, what is empty is removed, and the lock given up.
#[derive(Debug)]
pub struct Locked {
    state: Folder,
    networks: Folder,
    containers: Folder,
}

impl Locked {
    pub(crate) fn new(state: Folder) -> Result<Self, Error> {
        Ok(Self {
            networks: state.child_or_create(NETWORKS)?,
            containers: state.child_or_create(CONTAINERS)?,
            state,
        })
    }

    /// One network with all its members, without any where nobody has joined it.
    pub fn network(&self, name: &str) -> Result<Network, Error> {
        Ok(read(&self.networks, name)?.unwrap_or_else(|| Network::new(name)))
    }

    /// As much of a network as matters to these containers and to the member that is about to join it. Of a tenant
    /// where somebody sees every member, that is all of it. Otherwise it is they themselves, the members with the name or an
    /// address of the one that joins, those with links to any of these, and all members that their links may mean: then it costs the same however
    /// many members there are.
    pub fn around(
        &self,
        name: &str,
        containers: &[&str],
        joining: Option<&Member>,
    ) -> Result<Network, Error> {
        match self.members(name)? {
            Some(members) => around::read(&members, name, containers, joining),
            None => Ok(Network::new(name)),
        }
    }

    /// The networks on which somebody is what a link of that member to `source` would mean, by name.
    pub fn networks_with(&self, asker: &Member, source: &str) -> Result<Vec<String>, Error> {
        let mut networks = Vec::new();
        for name in self.networks.entries()? {
            if !name.starts_with('.')
                && self.members(&name)?.map(|members| members.has(asker, source)).transpose()? == Some(true)
            {
                networks.push(name);
            }
        }
        networks.sort_unstable();
        Ok(networks)
    }

    /// Makes a network, or the part of it that was read, be another; without members it goes. Whatever kills the
    /// process, each member is its old self or its new one.
    pub fn change(&self, before: &Network, after: &Network) -> Result<(), Error> {
        Members::create(self.networks.child_or_create(&after.name)?)?.change(before, after)?;
        self.remove_if_empty(&after.name)
    }

    /// When a change of a tenant of the network last reached every hosts file that it had to reach, but for those passed
    /// over; `None` where one was begun and not finished, or there was none.
    pub fn settled(&self, network: &str, tenant: &str) -> Result<Option<Settled>, Error> {
        let Some(folder) = self.networks.child(network)? else {
            return Ok(None);
        };
        let file = of_tenant(SETTLED, tenant);
        let Some(stat) = folder.stat(&file)? else {
            return Ok(None);
        };
        let passed_over = if stat.st_size > 0 { folder.read(&file)?.unwrap_or_default() } else { Vec::new() };
        let passed_over = String::from_utf8_lossy(&passed_over).lines().map(str::to_owned).collect();
        Ok(Some(Settled { since: content::time(stat.st_mtime, stat.st_mtime_nsec), passed_over }))
    }

    /// Notes that hosts files of a tenant are about to change.
    pub fn unsettle(&self, network: &str, tenant: &str) -> Result<(), Error> {
        if let Some(folder) = self.networks.child(network)? {
            folder.remove(&of_tenant(SETTLED, tenant))?;
        }
        Ok(())
    }

    /// Notes that every hosts file of a tenant is as it should be by now, but for those of these containers.
    pub fn settle(&self, network: &str, tenant: &str, passed_over: &[String]) -> Result<(), Error> {
        let file = of_tenant(SETTLED, tenant);
        match self.networks.child(network)? {
            Some(folder) if passed_over.is_empty() => folder.append(&file, b"", PRIVATE)?,
            Some(folder) => folder.replace(&file, lines(passed_over).as_bytes(), PRIVATE)?,
            None => {}
        }
        Ok(())
    }

    /// Makes room on a full file system: cuts files of that name in containers' folders that take more than `most` bytes,
    /// as a container can make its own.
    pub fn cut(&self, file: &str, most: u64) -> Result<(), Error> {
        for container_id in self.containers()? {
            if let Ok(Some(folder)) = self.container(&container_id) {
                // What cannot be cut takes its room; the next one may give some.
                let _ = cut(&folder, file, most);
            }
        }
        Ok(())
    }

    fn members(&self, network: &str) -> Result<Option<Members>, Error> {
        match self.networks.child(network)? {
            Some(folder) => Members::open(folder),
            None => Ok(None),
        }
    }

    /// Reads one member on its own.
    ///
    /// # Errors
    /// [`Error::Decode`] where its file is damaged: to all else it then is no member.
    pub fn examine(&self, network: &str, container_id: &str, ifname: &str) -> Result<Option<Member>, Error> {
        self.members(network)?.map_or(Ok(None), |members| members.examine(container_id, ifname))
    }

    /// Writes the file of a member of the network anew where somebody has damaged it, which [`Locked::change`] does not
    /// see where nothing else has changed.
    pub fn mend(&self, network: &str, member: &Member) -> Result<(), Error> {
        self.members(network)?.map_or(Ok(()), |members| members.mend(member))
    }

    /// Removes what a process that was killed left of a member that is not there, or somebody of its file.
    pub fn forget(&self, network: &str, container_id: &str, ifname: &str) -> Result<(), Error> {
        if let Some(members) = self.members(network)? {
            members.forget(container_id, ifname)?;
        }
        self.remove_if_empty(network)
    }

    /// Removes a network's folder where it has no member. What is left in the index then is of a killed process.
    pub fn remove_if_empty(&self, network: &str) -> Result<(), Error> {
        let Some(folder) = self.networks.child(network)? else {
            return Ok(());
        };
        if let Some(members) = folder.child(MEMBERS)?
            && !folder.remove_child_if_empty(&members, MEMBERS)
        {
            return Ok(());
        }
        folder.remove_child(INDEX)?;
        Ok(self.networks.remove_child(network)?)
    }

    /// The networks that the container of an open folder is on, in the order in which it joined. The list may name one
    /// that it is not a member of, where a process was killed between [`Locked::join`] and [`Locked::change`].
    pub fn networks_of(&self, container: &Folder) -> Result<Vec<String>, Error> {
        Ok(networks(container)?)
    }

    /// Notes that a container is about to be a member of a network, and makes its folder. It comes before
    /// [`Locked::change`], so that no member is ever without one.
    pub fn join(&self, container_id: &str, network: &str) -> Result<Folder, Error> {
        let folder = self.containers.child_or_create(container_id)?;
        let mut networks = networks(&folder)?;
        if networks.iter().any(|known| known == network) {
            return Ok(folder);
        }
        networks.push(network.to_owned());
        folder.replace(LIST, lines(&networks).as_bytes(), PRIVATE)?;
        Ok(folder)
    }

    /// The networks that the container of an open folder is on besides that one. What the list names and nobody is on is
    /// none: somebody may have damaged it.
    pub fn other_networks_of(&self, container: &Folder, network: &str) -> Result<Vec<String>, Error> {
        let mut networks = networks_or_nothing(container)?;
        networks.retain(|known| {
            known != network && self.networks.child(known).is_ok_and(|known| known.is_some())
        });
        Ok(networks)
    }

    /// Notes that a container is no member of a network any more; its folder goes with the last one.
    pub fn leave(&self, container_id: &str, network: &str) -> Result<(), Error> {
        let Some(folder) = self.container(container_id)? else {
            return Ok(());
        };
        let networks = self.other_networks_of(&folder, network)?;
        if networks.is_empty() {
            remove_child(&self.containers, container_id)
        } else if networks != networks_or_nothing(&folder)? {
            shorten(&folder, LIST, lines(&networks).as_bytes(), PRIVATE)
        } else {
            Ok(())
        }
    }

    /// A container's folder; `None` where it has none.
    pub fn container(&self, container_id: &str) -> Result<Option<Folder>, Error> {
        Ok(self.containers.child(container_id)?)
    }

    /// The IDs of all containers that have a folder, in no order.
    pub fn containers(&self) -> Result<Vec<String>, Error> {
        Ok(self.containers.entries()?)
    }

    /// Applies a patch to the end of a file of a container, whose part starts after `start` bytes, and says whether it
    /// did: it does not where the file is missing or not as long as it should be, or was written to after `since`.
    ///
    /// # Errors
    /// What the system calls say; the file may then be in any state.
    pub fn patch(
        &self,
        container_id: &str,
        file: &str,
        start: usize,
        patch: &Patch,
        since: SystemTime,
    ) -> Result<bool, Error> {
        patch.apply_in_child(&self.containers, container_id, file, start, since)
    }

    /// As [`crate::Registry::note`], under the lock.
    pub fn note(&self, container_id: &str, text: &str) -> Result<(), Error> {
        self.container(container_id)?.map_or(Ok(()), |folder| notes::add(&folder, text))
    }

    /// Tries whether the registry can be written: there is room, and the file system is not read-only.
    pub fn probe(&self) -> Result<(), Error> {
        const PROBE: &str = "probe";
        self.networks.replace(PROBE, b"\n", PRIVATE)?;
        Ok(self.networks.remove(PROBE)?)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Still under the lock: it goes when the descriptor is closed, after this. What cannot be removed is not
        // empty, or is found by the next process that tries.
        if self.state.remove_child_if_empty(&self.networks, NETWORKS)
            && self.state.remove_child_if_empty(&self.containers, CONTAINERS)
        {
            let _ = std::fs::remove_dir(self.state.path());
        }
    }
}

fn networks(container: &Folder) -> Result<Vec<String>, folder::Error> {
    let content = container.read(LIST)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&content).lines().filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

/// A list that cannot be read names nothing: it must not keep its container from leaving.
fn networks_or_nothing(container: &Folder) -> Result<Vec<String>, Error> {
    match networks(container) {
        Err(error) if is_of_content(&error) => Ok(Vec::new()),
        outcome => Ok(outcome?),
    }
}

fn lines(names: &[String]) -> String {
    names.iter().flat_map(|name| [name.as_str(), "\n"]).collect()
}
