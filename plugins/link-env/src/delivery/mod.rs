//! Delivery: the container's files where `ip netns exec` and container runtimes look for them.
//!
//! The container's folder has a list of what was delivered, written first, so that DEL removes everything even where ADD was
//! killed. A boot empties that folder, but not the disk: files left there are found by their names.

mod cdi;
mod namespace;

use std::path::{Path, PathBuf};

use registry::{DEFAULT_STATE_DIR, Folder, Locked, Registry};
use serde_json::Value;

use crate::conf::{self, CDI_DIR, DEFAULT_NETNS_DIR, NETNS_DIR, STATE_DIR};
use crate::env::Environment;
use crate::error::Error;
use crate::files;

/// The file that lists what was delivered, one path a line.
const LIST: &str = "delivered";
const LIST_MODE: u32 = 0o600;

/// The folders that files are delivered to.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) registry: Registry,
    /// Where ip(8) looks for a namespace's own files.
    netns_dir: Option<PathBuf>,
    /// Where runtimes look for CDI specifications.
    cdi_dir: Option<PathBuf>,
    /// The operator lets containers write to their hosts files.
    pub(crate) is_writable: bool,
}

impl Delivery {
    /// Reads no more of the configuration than this.
    pub(crate) fn new(conf: &cni::Conf) -> Result<Self, Error> {
        Self::read(conf, false)
    }

    /// The same for a removal, without invalid folders: the container's list has what was delivered.
    pub(crate) fn for_removal(conf: &cni::Conf) -> Result<Self, Error> {
        Self::read(conf, true)
    }

    fn read(conf: &cni::Conf, is_removal: bool) -> Result<Self, Error> {
        let folder = |key, default| match conf::folder(conf, key, default) {
            Err(_) if is_removal => Ok(None),
            outcome => outcome,
        };
        Ok(Self {
            registry: Registry::at(folder(STATE_DIR, None)?.unwrap_or_else(|| DEFAULT_STATE_DIR.into())),
            netns_dir: folder(NETNS_DIR, Some(DEFAULT_NETNS_DIR))?,
            cdi_dir: folder(CDI_DIR, None)?,
            is_writable: conf.value(&["writableHosts"]).and_then(Value::as_bool).unwrap_or_default(),
        })
    }

    /// Delivers a container's files. `devices` gives the names by which CDI knows the container, where it may have any.
    pub(crate) fn deliver(
        &self,
        folder: &Folder,
        netns: &Path,
        devices: Option<impl FnOnce() -> Result<Vec<String>, Error>>,
        environment: &Environment,
    ) -> Result<(), Error> {
        let hosts = folder.path().join(files::HOSTS);
        let link = self.netns_dir.as_ref().and_then(|dir| namespace::link(dir, netns));
        let spec = self.cdi_dir.as_ref().zip(devices);
        let spec = spec.map(|(dir, devices)| (dir, cdi::file_name(id_of(folder)), devices));
        let spec_path = spec.as_ref().map(|(dir, file, _)| dir.join(file));
        if link.is_none() && spec_path.is_none() {
            return Ok(());
        }
        let known = listed(folder)?;
        let mut list = known.clone();
        list.extend(link.iter().chain(&spec_path).filter(|path| !known.contains(path)).cloned());
        write_list(folder, &list)?;
        if let Some(link) = &link
            && !namespace::make(link, &hosts, &self.registry)?
            && !known.contains(link)
        {
            // Somebody else's file, which DEL must not remove.
            list.retain(|path| path != link);
            write_list(folder, &list)?;
        }
        if let Some((dir, file, devices)) = spec {
            let spec = cdi::spec(&devices()?, &hosts, environment, self.is_writable);
            Folder::at_or_create(dir, 0o755)?.replace(&file, spec.as_bytes(), cdi::MODE)?;
        }
        Ok(())
    }

    /// Removes what was delivered for a container: what its list has, and what the configuration and this namespace lead to.
    pub(crate) fn withdraw(&self, locked: &Locked, id: &str, netns: Option<&Path>) -> Result<(), Error> {
        let mut paths: Vec<PathBuf> = self.places(id, netns).collect();
        if let Some(folder) = locked.container(id)? {
            paths.extend(listed(&folder)?);
        }
        Error::all(paths.iter().map(|path| self.remove(path, id)))
    }

    /// Whether there is anything where the configuration and this namespace lead to.
    pub(crate) fn has_any(&self, id: &str, netns: Option<&Path>) -> bool {
        self.places(id, netns).any(|path| path.symlink_metadata().is_ok())
    }

    fn places(&self, id: &str, netns: Option<&Path>) -> impl Iterator<Item = PathBuf> {
        let link = self.netns_dir.as_ref().zip(netns).and_then(|(dir, netns)| namespace::link(dir, netns));
        let spec = self.cdi_dir.as_ref().map(|dir| dir.join(cdi::file_name(id)));
        link.into_iter().chain(spec)
    }

    fn remove(&self, path: &Path, id: &str) -> Result<(), Error> {
        if path.ends_with(cdi::file_name(id)) {
            return files::remove(path);
        }
        namespace::remove(path, &self.registry.container_dir(id).join(files::HOSTS))
    }

    /// Removes what was delivered for containers that have no folder, as after a boot. Goes on past failures.
    pub(crate) fn sweep(&self, locked: &Locked) -> Result<(), Error> {
        Error::all(self.delivered()?.into_iter().map(|(path, id)| {
            if locked.container(&id)?.is_some() { Ok(()) } else { self.remove(&path, &id) }
        }))
    }

    /// What is where the configuration has things delivered for containers of this registry, with their IDs.
    pub(crate) fn delivered(&self) -> Result<Vec<(PathBuf, String)>, Error> {
        let mut found = Vec::new();
        if let Some(dir) = &self.netns_dir {
            found.extend(namespace::links(dir, &self.registry));
        }
        if let Some(dir) = &self.cdi_dir {
            found.extend(cdi::specs(dir, &self.registry)?);
        }
        Ok(found)
    }
}

/// Refuses where something that was delivered is gone.
pub(crate) fn check(folder: &Folder) -> Result<(), Error> {
    let hosts = folder.path().join(files::HOSTS);
    for path in listed(folder)? {
        let is_there = if path.ends_with(cdi::file_name(id_of(folder))) {
            path.is_file()
        } else {
            namespace::is_in_place(&path, &hosts)
        };
        if !is_there {
            return Err(Error::Differs(format!("file {} is gone or another one", path.display())));
        }
    }
    Ok(())
}

fn listed(folder: &Folder) -> Result<Vec<PathBuf>, Error> {
    let list = folder.read(LIST)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&list).lines().map(PathBuf::from).collect())
}

fn write_list(folder: &Folder, paths: &[PathBuf]) -> Result<(), Error> {
    let lines: Vec<String> = paths.iter().map(|path| format!("{}\n", path.display())).collect();
    Ok(folder.replace(LIST, lines.concat().as_bytes(), LIST_MODE)?)
}

/// The container's ID, which is the name of its folder.
fn id_of(folder: &Folder) -> &str {
    folder.path().file_name().and_then(|name| name.to_str()).unwrap_or_default()
}
