//! The runtime's agent (`cleat-nri`): one at a time serves a state folder. It notes which containers it has served,
//! for the administrator.
//!
//! Its lock is flock(2) on a file in a folder beside the state folder, as that goes when it is empty. Only its owner can
//! enter it, so nobody else can take the lock; and it goes with the process, whatever ends that.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;

use folder::{Folder, PRIVATE};
use lock::Mode;
use nix::fcntl::OFlag;

use crate::error::Error;
use crate::locked::Locked;
use crate::notes;
use crate::store::Registry;

/// The process that has the lock writes its ID here.
const LOCK: &str = "lock";
/// In a container's folder: the agent was asked about it.
const SERVED: &str = "served";

/// The agent's lock, until this is dropped.
#[derive(Debug)]
pub struct Agent {
    _lock: File,
}

/// Whether there is an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// There has been none since the host was started.
    Never,
    /// There was one.
    Away,
    /// There is one, with this process ID, where it has written that by now.
    Here(Option<u32>),
}

impl Registry {
    /// Where the agent's lock is.
    #[must_use]
    pub fn agent_dir(&self) -> PathBuf {
        let mut path = self.state_dir.clone().into_os_string();
        path.push("-nri");
        path.into()
    }

    /// Takes the agent's lock; where another process has it, its ID as far as it is known.
    ///
    /// # Errors
    /// A folder that others may write to or that cannot be made, and what the system calls say.
    pub fn become_agent(&self) -> Result<Result<Agent, Option<u32>>, Error> {
        let path = self.agent_dir();
        let failed = |source| Error::io("lock", path.join(LOCK), source);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io("create folder", path, error));
            }
            _ => {}
        }
        let mut lock = self.agent_lock(true)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        if !lock::try_take(&lock, Mode::Exclusive).map_err(failed)? {
            return Ok(Err(process(&mut lock)));
        }
        lock.set_len(0).map_err(failed)?;
        lock.write_all(std::process::id().to_string().as_bytes()).map_err(failed)?;
        Ok(Ok(Agent { _lock: lock }))
    }

    /// Whether there is an agent now.
    pub fn agent(&self) -> Result<Presence, Error> {
        let Some(mut lock) = self.agent_lock(false)? else {
            return Ok(Presence::Never);
        };
        // Shared: two that ask at once do not take each other for the agent.
        let failed = |source| Error::io("lock", self.agent_dir().join(LOCK), source);
        let is_away = lock::try_take(&lock, Mode::Shared).map_err(failed)?;
        Ok(if is_away { Presence::Away } else { Presence::Here(process(&mut lock)) })
    }

    fn agent_lock(&self, create: bool) -> Result<Option<File>, Error> {
        let path = self.agent_dir();
        let Some(folder) = Folder::open(&path)? else {
            return Ok(None);
        };
        let failed = |source| Error::io("open folder", &path, source);
        let metadata = folder.file().metadata().map_err(failed)?;
        if metadata.uid() != nix::unistd::geteuid().as_raw() || metadata.mode() & 0o077 != 0 {
            let reason = "others may take the lock in it: remove it, or chmod it to 0700";
            return Err(Error::Untrusted { path, reason });
        }
        let flags = if create { OFlag::O_RDWR | OFlag::O_CREAT } else { OFlag::O_RDONLY };
        Ok(folder.open_file(LOCK, flags)?)
    }

    /// Whether the agent has been asked about a container; `false` where that has no files here.
    pub fn is_served(&self, container_id: &str) -> Result<bool, Error> {
        Ok(self
            .container_folder(container_id)?
            .map(|folder| folder.stat(SERVED))
            .transpose()?
            .flatten()
            .is_some())
    }
}

impl Locked {
    /// Notes that the agent was asked about a container that has files here.
    pub fn mark_served(&self, container_id: &str) -> Result<(), Error> {
        match self.container(container_id)? {
            Some(folder) if folder.stat(SERVED)?.is_none() => Ok(folder.append(SERVED, b"", PRIVATE)?),
            _ => Ok(()),
        }
    }

    /// Takes a note back, where there is such a one.
    pub fn take_note(&self, container_id: &str, text: &str) -> Result<(), Error> {
        self.container(container_id)?.map_or(Ok(()), |folder| notes::take(&folder, text))
    }
}

fn process(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(16).read_to_string(&mut text).ok()?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn there_is_one_agent_until_it_ends_and_strangers_cannot_be_it() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::at(folder.path().join("state"));
        assert_eq!(registry.agent().unwrap(), Presence::Never);
        let agent = registry.become_agent().unwrap().unwrap();
        let own = Some(std::process::id());
        assert_eq!(registry.become_agent().unwrap().unwrap_err(), own);
        assert_eq!(registry.agent().unwrap(), Presence::Here(own));
        drop(agent);
        assert_eq!(registry.agent().unwrap(), Presence::Away);
        assert!(registry.become_agent().unwrap().is_ok());
        // The registry's own folder is not concerned.
        assert!(!folder.path().join("state").exists());
        let mode =
            |mode| fs::set_permissions(registry.agent_dir(), fs::Permissions::from_mode(mode)).unwrap();
        mode(0o755);
        assert!(matches!(registry.become_agent(), Err(Error::Untrusted { .. })));
        mode(0o700);
        fs::remove_file(registry.agent_dir().join(LOCK)).unwrap();
        std::os::unix::fs::symlink("/dev/null", registry.agent_dir().join(LOCK)).unwrap();
        assert!(registry.become_agent().is_err());
    }

    #[test]
    fn who_was_served_is_known_as_long_as_it_is_a_member() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::at(folder.path().join("state"));
        let locked = registry.lock().unwrap();
        locked.mark_served("c").unwrap();
        assert!(!registry.is_served("c").unwrap());
        locked.join("c", "net").unwrap();
        assert!(!registry.is_served("c").unwrap());
        locked.mark_served("c").unwrap();
        assert!(registry.is_served("c").unwrap());
        for note in ["one", "two", "three"] {
            locked.note("c", note).unwrap();
        }
        locked.take_note("c", "two").unwrap();
        locked.take_note("c", "four").unwrap();
        assert_eq!(registry.notes("c").unwrap(), ["one", "three"]);
        locked.take_note("c", "one").unwrap();
        locked.take_note("c", "three").unwrap();
        assert!(!registry.container_dir("c").join("notes").exists());
        locked.leave("c", "net").unwrap();
        assert!(!registry.is_served("c").unwrap());
    }
}
