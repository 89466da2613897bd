//! What an agent of the runtime does for the containers of a pod: hands them what their links give, and takes in what
//! only the runtime knows. All containers of a pod share its attachments, so the pod's ID is the container's ID here.

use std::cell::Cell;
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

    /// The environment that its links give it now: a container that is started again follows sources that moved. Sources
    /// whose variables have no room in it by now are left out, which is noted.
    pub fn environment(&self) -> Result<Vec<(String, String)>, Error> {
        let Some(network) = self.networks.first() else {
            return Ok(Vec::new());
        };
        let network = self.locked.around(network, &[self.container_id], None)?;
        let mut view = View::new(&self.locked, &network);
        let gift = view.environment(self.container_id, Some(&self.folder), |_, _| false)?;
        if let Some(note) = env::left_out(&gift.left_out) {
            self.locked.note(self.container_id, &note)?;
        }
        Ok(gift.environment.into_variables())
    }

    /// Adds names of its own for addresses to its hosts file, for as long as it is on the network. Names that cannot
    /// stand there are passed over. Returns how many more there are than a member may have: those are left out.
    pub fn add_extra_hosts(&self, hosts: &[ExtraHost]) -> Result<usize, Error> {
        let Some(network) = self.networks.first() else {
            return Ok(0);
        };
        let left_out = Cell::new(0);
        let change = |member: &mut Member| {
            let mut room = ENTRIES.most.saturating_sub(member.extra_hosts.iter().map(bounds::entry).sum());
            let known: HashSet<&ExtraHost> = member.extra_hosts.iter().collect();
            let (mut new, mut seen, mut beyond) = (Vec::new(), HashSet::new(), 0);
            for host in hosts.iter().filter(|host| name::is_valid(&host.name)) {
                if known.contains(host) || !seen.insert(host) {
                    continue;
                }
                match room.checked_sub(bounds::entry(host)) {
                    Some(left) => {
                        room = left;
                        new.push(host.clone());
                    }
                    None => beyond += 1,
                }
            }
            member.extra_hosts.extend(new);
            left_out.set(left_out.get().max(beyond));
        };
        if let Some(after) = self.change(network, change)? {
            View::new(&self.locked, &after).rewrite_hosts_of(self.container_id)?;
        }
        Ok(left_out.get())
    }

    /// Whether the networks that it is on let its containers' environment be offered, as their `annotations` say.
    pub fn may_offer_environment(&self) -> Result<bool, Error> {
        for network in &self.networks {
            let network = self.locked.around(network, &[self.container_id], None)?;
            if network.members_of(self.container_id).any(|member| member.keeps_env) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Offers an environment to those who link to it from now on. What it offers already under the same name stays;
    /// what cannot be a variable is passed over, and so is a network that does not let it be offered. Returns how many
    /// variables there are beyond what a member may offer: those are left out.
    pub fn offer_environment(&self, environment: &BTreeMap<String, String>) -> Result<usize, Error> {
        let left_out = Cell::new(0);
        for network in &self.networks {
            self.change(network, |member| {
                if member.keeps_env {
                    return;
                }
                let mut room = OFFERED.most.saturating_sub(bounds::variables(&member.env));
                let mut beyond = 0;
                for (key, value) in environment {
                    if member.env.contains_key(key) || name::check_variable(key, value).is_err() {
                        continue;
                    }
                    match room.checked_sub(bounds::variable(key, value)) {
                        Some(left) => {
                            room = left;
                            member.env.insert(key.clone(), value.clone());
                        }
                        None => beyond += 1,
                    }
                }
                left_out.set(left_out.get().max(beyond));
            })?;
        }
        Ok(left_out.get())
    }

    /// Notes that an agent was asked about it, so that `note`, which said that none was, is over.
    pub fn serve(&self, note: &str) -> Result<(), Error> {
        self.locked.mark_served(self.container_id)?;
        Ok(self.locked.take_note(self.container_id, note)?)
    }

    /// Changes its members on a network, and returns what the network is then where that is not what it was.
    fn change(&self, network: &str, change: impl Fn(&mut Member)) -> Result<Option<Network>, Error> {
        let before = self.locked.around(network, &[self.container_id], None)?;
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
