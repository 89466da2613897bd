//! What is put elsewhere for a container, where `ip netns exec` and container runtimes look by themselves.
//!
//! The container's folder has the list, written first: whatever kills the process, DEL finds by it what there is to
//! remove. After a boot the folder is gone, and what was put on a disk is not: then the names tell.

mod cdi;
mod namespace;

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use registry::{DEFAULT_STATE_DIR, Folder, Locked, Registry};
use serde::Deserialize;

use crate::conf;
use crate::env::Environment;
use crate::error::Error;
use crate::files;

/// The paths of what was put elsewhere, one a line.
const LIST: &str = "delivered";
const LIST_MODE: u32 = 0o600;

/// Where things are put for containers.
#[derive(Debug)]
pub(crate) struct Delivery {
    registry: Registry,
    /// Where ip(8) looks for a namespace's own files.
    netns_dir: Option<PathBuf>,
    /// Where runtimes look for CDI specifications.
    cdi_dir: Option<PathBuf>,
    /// Containers may write to their hosts files.
    is_writable: bool,
}

impl Delivery {
    /// Reads no more of the configuration than the places.
    pub(crate) fn new(conf: &cni::Conf) -> Result<Self, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Keys {
            #[serde(default = "netns_dir")]
            netns_dir: String,
            #[serde(default)]
            cdi_dir: String,
            #[serde(default)]
            writable_hosts: bool,
        }
        fn netns_dir() -> String {
            namespace::DEFAULT_DIR.to_owned()
        }
        let keys: Keys = conf.parse()?;
        Ok(Self {
            registry: Registry::at(conf::state_dir(conf)?),
            netns_dir: conf::folder("netnsDir", keys.netns_dir)?,
            cdi_dir: conf::folder("cdiDir", keys.cdi_dir)?,
            is_writable: keys.writable_hosts,
        })
    }

    /// As much of the places as can be read: what was put elsewhere, the container's own list tells as well.
    pub(crate) fn for_removal(conf: &cni::Conf) -> Self {
        let folder = |key: &str| conf.text(&[key]).filter(|path| path.starts_with('/')).map(PathBuf::from);
        let has_netns_dir = conf.value(&["netnsDir"]).is_some();
        Self {
            registry: Registry::at(folder("stateDir").unwrap_or_else(|| DEFAULT_STATE_DIR.into())),
            netns_dir: if has_netns_dir { folder("netnsDir") } else { Some(namespace::DEFAULT_DIR.into()) },
            cdi_dir: folder("cdiDir"),
            is_writable: false,
        }
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Whether the operator lets containers write to their hosts files.
    pub(crate) fn is_writable(&self) -> bool {
        self.is_writable
    }

    /// Puts a container's files where they are looked for. `devices` gives the names by which CDI knows it, where it may.
    pub(crate) fn deliver(
        &self,
        folder: &Folder,
        netns: &Path,
        devices: Option<impl FnOnce() -> Result<Vec<String>, Error>>,
        environment: &Environment,
    ) -> Result<(), Error> {
        let id = id_of(folder);
        let hosts = folder.path().join(files::HOSTS);
        let link = self.netns_dir.as_ref().and_then(|dir| namespace::link(dir, netns));
        let spec =
            self.cdi_dir.as_ref().zip(devices).map(|(dir, devices)| (dir, cdi::file_name(id), devices));
        let spec_path = spec.as_ref().map(|(dir, file, _)| dir.join(file));
        let paths: Vec<&Path> = link.iter().chain(&spec_path).map(PathBuf::as_path).collect();
        if paths.is_empty() {
            return Ok(());
        }
        let mut list: Vec<u8> = folder.read(LIST)?.unwrap_or_default();
        let known = String::from_utf8_lossy(&list).into_owned();
        for path in &paths {
            if !known.lines().any(|line| Path::new(line) == *path) {
                list.extend_from_slice(format!("{}\n", path.display()).as_bytes());
            }
        }
        folder.replace(LIST, &list, LIST_MODE)?;
        if let Some(link) = &link
            && !namespace::make(link, &hosts, &self.registry)?
            && !known.lines().any(|line| Path::new(line) == link)
        {
            // It is not ours to look after, nor to remove.
            let others = list.split_inclusive(|byte| *byte == b'\n');
            let others: Vec<u8> = others
                .filter(|line| line.trim_ascii_end() != link.as_os_str().as_bytes())
                .flatten()
                .copied()
                .collect();
            folder.replace(LIST, &others, LIST_MODE)?;
        }
        if let Some((dir, file, devices)) = spec {
            let spec = cdi::spec(&devices()?, &hosts, environment, self.is_writable);
            Folder::at_or_create(dir)?.replace(&file, spec.as_bytes(), cdi::MODE)?;
        }
        Ok(())
    }

    /// Removes what was put elsewhere for a container, by its list and by what the configuration and this namespace
    /// lead to.
    pub(crate) fn withdraw(
        &self,
        locked: Option<&Locked>,
        id: &str,
        netns: Option<&Path>,
    ) -> Result<(), Error> {
        let mut paths: Vec<PathBuf> = Vec::new();
        if let Some(folder) = locked.map(|locked| locked.container(id)).transpose()?.flatten() {
            paths.extend(listed(&folder)?);
        }
        let link = self.netns_dir.as_ref().zip(netns).and_then(|(dir, netns)| namespace::link(dir, netns));
        let spec = self.cdi_dir.as_ref().map(|dir| dir.join(cdi::file_name(id)));
        paths.extend(link.into_iter().chain(spec));
        let failures = paths.iter().filter_map(|path| self.remove(path, id).err());
        Ok(cni::Error::all(failures.map(cni::Error::from).collect())?)
    }

    fn remove(&self, path: &Path, id: &str) -> Result<(), Error> {
        if path.ends_with(cdi::file_name(id)) {
            return gone(std::fs::remove_file(path)).map_err(|source| failed("remove", path, source));
        }
        namespace::remove(path, &self.registry.container_dir(id).join(files::HOSTS))
    }

    /// Removes what is there for containers that have no folder, as after a boot. Without a registry, nobody has one. Goes on
    /// past failures.
    pub(crate) fn sweep(&self, locked: Option<&Locked>) -> Result<(), Error> {
        let mut left = Vec::new();
        if let Some(dir) = &self.netns_dir {
            left.extend(namespace::links(dir, &self.registry));
        }
        if let Some(dir) = &self.cdi_dir {
            left.extend(cdi::specs(dir, &self.registry)?);
        }
        let mut failures: Vec<cni::Error> = Vec::new();
        for (path, id) in left {
            let is_there = locked.map(|locked| locked.container(&id)).transpose();
            let removed = match is_there {
                Ok(Some(Some(_))) => Ok(()),
                Ok(_) => self.remove(&path, &id),
                Err(error) => Err(error.into()),
            };
            failures.extend(removed.err().map(cni::Error::from));
        }
        Ok(cni::Error::all(failures)?)
    }
}

/// Whether everything that was put elsewhere is there.
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

/// A container's folder has the container's ID as its name.
fn id_of(folder: &Folder) -> &str {
    folder.path().file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn gone(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(())
        }
        outcome => outcome,
    }
}

fn failed(verb: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Registry(registry::Error::Io { verb, path: path.to_owned(), source })
}
