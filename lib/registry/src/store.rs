//! The registry in its state folder: what can be asked without the lock, and taking the lock.

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use folder::Folder;
use nix::unistd::geteuid;

use crate::error::Error;
use crate::layout::{CONTAINERS, NETWORKS, read, read_all};
use crate::locked::Locked;
use crate::network::Network;
use crate::notes;

/// The state folder where a configuration names none.
pub const DEFAULT_STATE_DIR: &str = "/run/cleat";

/// The registry of one state folder. Nothing is touched before something is asked of it.
#[derive(Clone, Debug)]
pub struct Registry {
    pub(crate) state_dir: PathBuf,
}

impl Registry {
    /// The registry of that state folder, which need not exist.
    pub fn at(state_dir: impl Into<PathBuf>) -> Self {
        Self { state_dir: state_dir.into() }
    }

    /// Where a container's files are: `hosts`, `env`, `env.json`.
    #[must_use]
    pub fn container_dir(&self, container_id: &str) -> PathBuf {
        self.state_dir.join(CONTAINERS).join(container_id)
    }

    /// One network as it was at some moment, without waiting for the lock; `None` where it has no members.
    pub fn network(&self, name: &str) -> Result<Option<Network>, Error> {
        match self.trusted(NETWORKS)? {
            Some(folder) => read(&folder, name),
            None => Ok(None),
        }
    }

    /// All networks that have members, each as it was at some moment, by name.
    pub fn networks(&self) -> Result<Vec<Network>, Error> {
        match self.trusted(NETWORKS)? {
            Some(folder) => read_all(&folder),
            None => Ok(Vec::new()),
        }
    }

    /// Takes the lock, and makes the state folder where there is none; waits while another process has it, as long as
    /// [`lock::LIMIT`] says.
    ///
    /// # Errors
    /// A lock that somebody holds all the time; a state folder that others may write to, or that cannot be made: its parent
    /// must exist.
    pub fn lock(&self) -> Result<Locked, Error> {
        self.lock_within(lock::LIMIT)
    }

    /// As [`Registry::lock`], with another limit.
    ///
    /// # Errors
    /// As [`Registry::lock`].
    pub fn lock_within(&self, limit: Duration) -> Result<Locked, Error> {
        loop {
            if let Some(locked) = self.lock_existing_within(limit)? {
                return Ok(locked);
            }
            match fs::DirBuilder::new().mode(0o700).create(&self.state_dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(self.failed("create state folder", error));
                }
                _ => {}
            }
        }
    }

    /// Takes the lock where there is a state folder; `None` where there is none, and so nothing to change.
    ///
    /// # Errors
    /// As [`Registry::lock`].
    pub fn lock_existing(&self) -> Result<Option<Locked>, Error> {
        self.lock_existing_within(lock::LIMIT)
    }

    fn lock_existing_within(&self, limit: Duration) -> Result<Option<Locked>, Error> {
        loop {
            let Some(state) = Folder::open(&self.state_dir)? else {
                return Ok(None);
            };
            let mode = self.check_owner(&state)?;
            lock::close_to_others(state.file(), mode)
                .map_err(|error| self.failed("chmod state folder", error))?;
            lock::take_within(state.file(), &self.state_dir, lock::Mode::Exclusive, limit)?;
            // The process that had the lock before may have removed the folder: then this lock is on nothing.
            if self.is_current(&state)? {
                return Locked::new(state).map(Some);
            }
        }
    }

    fn is_current(&self, state: &Folder) -> Result<bool, Error> {
        let held = state.file().metadata().map_err(|error| self.failed("read state folder", error))?;
        match fs::symlink_metadata(&self.state_dir) {
            Ok(named) => Ok((named.dev(), named.ino()) == (held.dev(), held.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed("read state folder", error)),
        }
    }

    /// Names and environments are trusted because nobody else can write here. Returns the folder's mode.
    fn check_owner(&self, state: &Folder) -> Result<u32, Error> {
        let metadata = state.file().metadata().map_err(|error| self.failed("read state folder", error))?;
        let reason = if metadata.uid() != geteuid().as_raw() {
            "it belongs to another user: remove it, or choose another \"stateDir\""
        } else if metadata.mode() & 0o022 != 0 {
            "others may write to it: chmod it to 0700"
        } else {
            return Ok(metadata.mode());
        };
        Err(Error::Untrusted { path: self.state_dir.clone(), reason })
    }

    /// Adds a note about a container that has files here; one about any other container is dropped. Without the
    /// lock: the note may be that the lock could not be taken.
    pub fn note(&self, container_id: &str, text: &str) -> Result<(), Error> {
        self.container_folder(container_id)?.map_or(Ok(()), |folder| notes::add(&folder, text))
    }

    /// The notes about a container, oldest first, each once. They go with its files.
    pub fn notes(&self, container_id: &str) -> Result<Vec<String>, Error> {
        self.container_folder(container_id)?.map_or(Ok(Vec::new()), |folder| notes::all(&folder))
    }

    pub(crate) fn container_folder(&self, container_id: &str) -> Result<Option<Folder>, Error> {
        Ok(self.trusted(CONTAINERS)?.map(|containers| containers.child(container_id)).transpose()?.flatten())
    }

    /// A folder of the state folder, without the lock; `None` where there is none.
    pub(crate) fn trusted(&self, name: &str) -> Result<Option<Folder>, Error> {
        let Some(state) = Folder::open(&self.state_dir)? else {
            return Ok(None);
        };
        self.check_owner(&state)?;
        Ok(state.child(name)?)
    }

    fn failed(&self, verb: &'static str, source: io::Error) -> Error {
        Error::io(verb, &self.state_dir, source)
    }
}
