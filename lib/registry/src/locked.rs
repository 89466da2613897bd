//! The registry under its lock: the one place that changes it.

use crate::error::Error;
use crate::folder::Folder;
use crate::network::Network;
use crate::store::{CONTAINERS, NETWORKS, file_name, read, read_all};

/// Which networks a container is on: a name a line, in the order of joining.
const INDEX: &str = "networks";
/// Environments may hold secrets.
const PRIVATE: u32 = 0o600;

/// The registry while this process has its lock. When it is dropped, what is empty goes, and the lock with it.
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

    /// One network, without members where nobody has joined it.
    pub fn network(&self, name: &str) -> Result<Network, Error> {
        Ok(read(&self.networks, name)?.unwrap_or_else(|| Network::new(name)))
    }

    /// All networks that have members, by name.
    pub fn networks(&self) -> Result<Vec<Network>, Error> {
        read_all(&self.networks)
    }

    /// Makes a network be what is given; without members its file goes. Whatever kills the process, the file holds
    /// the old network or the new one.
    pub fn save(&self, network: &Network) -> Result<(), Error> {
        let file = file_name(&network.name);
        if network.members.is_empty() {
            return self.networks.remove(&file);
        }
        let mut text = serde_json::to_vec(network)
            .map_err(|source| Error::Decode { path: self.networks.path().join(&file), source })?;
        text.push(b'\n');
        self.networks.replace(&file, &text, PRIVATE)
    }

    /// The networks that the container of an open folder is on, in the order in which it joined. The list may name one
    /// that it is not a member of, where a process was killed between [`Locked::join`] and [`Locked::save`].
    pub fn networks_of(&self, container: &Folder) -> Result<Vec<String>, Error> {
        index(container)
    }

    /// Notes that a container is about to be a member of a network, and makes its folder. It comes before
    /// [`Locked::save`], so that no member is ever without one.
    pub fn join(&self, container_id: &str, network: &str) -> Result<Folder, Error> {
        let folder = self.containers.child_or_create(container_id)?;
        let mut networks = index(&folder)?;
        if networks.iter().any(|known| known == network) {
            return Ok(folder);
        }
        networks.push(network.to_owned());
        write_index(&folder, &networks)?;
        Ok(folder)
    }

    /// Notes that a container is no member of a network any more; its folder goes with the last one.
    pub fn leave(&self, container_id: &str, network: &str) -> Result<(), Error> {
        let Some(folder) = self.container(container_id)? else {
            return Ok(());
        };
        let mut networks = index(&folder)?;
        let before = networks.len();
        networks.retain(|known| known != network);
        if networks.is_empty() {
            self.containers.remove_child(container_id)
        } else if networks.len() < before {
            write_index(&folder, &networks)
        } else {
            Ok(())
        }
    }

    /// A container's folder; `None` where it has none.
    pub fn container(&self, container_id: &str) -> Result<Option<Folder>, Error> {
        self.containers.child(container_id)
    }

    /// The IDs of all containers that have a folder, in no order.
    pub fn containers(&self) -> Result<Vec<String>, Error> {
        self.containers.entries()
    }

    /// Tries whether the registry can be written: there is room, and the file system is not read-only.
    pub fn probe(&self) -> Result<(), Error> {
        const PROBE: &str = "probe";
        self.networks.replace(PROBE, b"\n", PRIVATE)?;
        self.networks.remove(PROBE)
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

fn index(folder: &Folder) -> Result<Vec<String>, Error> {
    let content = folder.read(INDEX)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&content).lines().map(str::to_owned).collect())
}

fn write_index(folder: &Folder, networks: &[String]) -> Result<(), Error> {
    let text: String = networks.iter().flat_map(|name| [name.as_str(), "\n"]).collect();
    folder.replace(INDEX, text.as_bytes(), PRIVATE)
}
