//! The interface for an agent of the runtime (cleat-nri), which gives the containers of a pod what their links give, and
//! registers what only the runtime knows. All containers of a pod share its attachments: the container ID is the pod's here.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use cni::file;
use registry::{ExtraHost, Folder, Locked, Member, Network, Registry};

use crate::bounds::{self, ENTRIES, OFFERED};
use crate::env;
use crate::error::Error;
use crate::files::{ENV_JSON, HOSTS, WRITABLE};
use crate::name;
use crate::view::View;

/// A pod that is on a network of link-env's, under the registry's lock.
#[derive(Debug)]
pub struct Pod<'a> {
    container_id: &'a str,
    locked: Locked,
    folder: Folder,
    networks: Vec<String>,
}

/// What a pod was given when it joined its network.
#[derive(Debug)]
pub struct Given {
    /// Its hosts file, which link-env keeps up to date in place.
    pub hosts: PathBuf,
    /// The environment that its links gave it then.
    pub environment: BTreeMap<String, String>,
}

/// Whether the operator lets a container write to the hosts file of that path (`writableHosts`). One that may can fill the
/// file system that all containers' files are on.
#[must_use]
pub fn is_writable(hosts: &Path) -> bool {
    hosts.with_file_name(WRITABLE).exists()
}

impl Given {
    /// Reads the pod's files, without the registry's lock; `None` where it has none.
    #[must_use]
    pub fn read(state_dir: &Path, container_id: &str) -> Option<Self> {
        let folder = Registry::at(state_dir).container_dir(container_id);
        let environment = file::read(&folder.join(ENV_JSON), file::LONGEST).ok()?;
        Some(Self { hosts: folder.join(HOSTS), environment: serde_json::from_slice(&environment).ok()? })
    }
}

impl<'a> Pod<'a> {
    /// Finds a pod by its ID; `None` where it is on no network of link-env's. Waits for the registry's lock.
    pub fn find(state_dir: &Path, container_id: &'a str) -> Result<Option<Self>, Error> {
        let Some(locked) = Registry::at(state_dir).lock_existing()? else {
            return Ok(None);
        };
        let Some(folder) = locked.container(container_id)? else {
            return Ok(None);
        };
        let networks = locked.networks_of(&folder)?;
        Ok(Some(Self { container_id, locked, folder, networks }))
    }

    /// Its hosts file, which link-env keeps up to date in place.
    #[must_use]
    pub fn hosts(&self) -> PathBuf {
        self.folder.path().join(HOSTS)
    }

    /// The variables that its links give it now: a container that is restarted follows sources with new addresses. Sources
    /// whose variables do not fit any more are left out, which is noted.
    pub fn environment(&self) -> Result<Vec<(String, String)>, Error> {
        let Some(network) = self.networks.first() else {
            return Ok(Vec::new());
        };
        let network = self.network(network)?;
        let mut view = View::new(&self.locked, &network);
        let given = view.environment(self.container_id, Some(&self.folder), |_, _| false)?;
        if let Some(note) = env::left_out(&given.left_out) {
            self.locked.note(self.container_id, &note)?;
        }
        Ok(given.environment.variables)
    }

    /// Adds names for addresses to its hosts file, for as long as it is on the network. Names that cannot stand there are
    /// skipped. Returns how many exceed what a member may have: those are left out.
    pub fn add_extra_hosts(&self, hosts: &[ExtraHost]) -> Result<usize, Error> {
        let Some(network) = self.networks.first() else {
            return Ok(0);
        };
        let mut left_out = 0;
        let after = self.change(network, |member| {
            let used = member.extra_hosts.iter().map(bounds::entry).sum();
            let mut known: HashSet<&ExtraHost> = member.extra_hosts.iter().collect();
            let new = hosts.iter().filter(|host| name::is_valid(&host.name) && known.insert(host));
            let (new, beyond) = ENTRIES.fill(used, new, |host| bounds::entry(host));
            member.extra_hosts.extend(new.into_iter().cloned());
            left_out = left_out.max(beyond);
        })?;
        if let Some(after) = after {
            View::new(&self.locked, &after).rewrite_hosts_of(self.container_id)?;
        }
        Ok(left_out)
    }

    /// Whether its networks let its containers' environment be offered, by the key `annotations`.
    pub fn may_offer_environment(&self) -> Result<bool, Error> {
        for network in &self.networks {
            let network = self.network(network)?;
            if network.members_of(self.container_id).any(|member| member.keeps_env) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Offers variables to the recipients of links to it from now on. A variable that it offers already stays. What cannot be
    /// a variable is skipped, and so is a network that does not let variables be offered. Returns how many exceed what a
    /// member may offer: those are left out.
    pub fn offer_environment(&self, environment: &BTreeMap<String, String>) -> Result<usize, Error> {
        let mut left_out = 0;
        for network in &self.networks {
            self.change(network, |member| {
                if member.keeps_env {
                    return;
                }
                let is_new = |(key, value): &(&String, &String)| {
                    !member.env.contains_key(*key) && name::check_variable(key, value).is_ok()
                };
                let size = |(key, value): &(&String, &String)| bounds::variable(key, value);
                let new = environment.iter().filter(is_new);
                let (new, beyond) = OFFERED.fill(bounds::variables(&member.env), new, size);
                member.env.extend(new.into_iter().map(|(key, value)| (key.clone(), value.clone())));
                left_out = left_out.max(beyond);
            })?;
        }
        Ok(left_out)
    }

    /// Records that an agent has served it, and removes the note `note`, which said that none had.
    pub fn serve(&self, note: &str) -> Result<(), Error> {
        self.locked.mark_served(self.container_id)?;
        Ok(self.locked.take_note(self.container_id, note)?)
    }

    fn network(&self, name: &str) -> Result<Network, Error> {
        Ok(self.locked.around(name, &[self.container_id], None)?)
    }

    /// Changes its members on a network. Returns the network after that, or `None` where nothing has changed.
    fn change(&self, network: &str, change: impl FnMut(&mut Member)) -> Result<Option<Network>, Error> {
        let before = self.network(network)?;
        let mut after = before.clone();
        let own = after.members.iter_mut().filter(|member| member.container_id == self.container_id);
        own.for_each(change);
        if after == before {
            return Ok(None);
        }
        self.locked.change(&before, &after)?;
        Ok(Some(after))
    }
}
