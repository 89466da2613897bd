//! What `cleat run` has running, and what it ran in the background: a folder each, that only root may enter.
//!
//! ```text
//! /run/cleat/runs/<container ID>/      locked (flock) by the process that looks after the container while it does
//!     run.json                         what it is to be (`spec`), and how it ended
//!     networks.json                    its networks, once they are others than it was started with
//! ```
//!
//! What it wrote is elsewhere: see `log`.
//!
//! The kernel releases the lock however its holder ends: unlike a process number, it shows reliably what is alive.

mod log;
mod record;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use cni::ContainerId;
use registry::{DEFAULT_STATE_DIR, Folder};

pub(crate) use log::{Log, Part, Writer};
pub(crate) use record::{Record, Start};

use crate::container_id;
use crate::error::Error;
use crate::spec::Networks;

const RUNS: &str = "runs";
const RECORD: &str = "run.json";
const NETWORKS: &str = "networks.json";
const PAUSE: Duration = Duration::from_millis(10);

/// One container's folder.
#[derive(Debug)]
pub(crate) struct Run {
    /// What is kept of it.
    pub(crate) record: Record,
    folder: PathBuf,
}

/// The folder's lock; closing it gives it up.
#[derive(Debug)]
pub(crate) struct Guard(#[expect(dead_code, reason = "held until it is dropped")] File);

fn runs() -> PathBuf {
    Path::new(DEFAULT_STATE_DIR).join(RUNS)
}

/// All of them, in the order in which they were made.
pub(crate) fn all() -> Result<Vec<Run>, Error> {
    let runs = runs();
    let failed = |error| Error::io(format!("read folder {}", runs.display()), error);
    let listing = match fs::read_dir(&runs) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(failed)?,
    };
    let mut all = Vec::new();
    for entry in listing {
        let folder = entry.map_err(failed)?.path();
        // One that is being made, or goes meanwhile, is none.
        if let Ok(record) = Record::read(&folder.join(RECORD)) {
            all.push(Run { record, folder });
        }
    }
    all.sort_by_key(|run| run.record.created);
    Ok(all)
}

/// Removes what was to leave nothing, and is looked after by nobody any more: its keeper was killed. The caller has kept
/// others from starting (`Runtime::lock_exclusive`).
pub(crate) fn sweep() -> Result<(), Error> {
    for run in all()? {
        if run.record.vanishes && !run.is_alive()? {
            run.forget()?;
        }
    }
    Ok(())
}

/// The one that has this name, or this ID in full.
pub(crate) fn called(container: &str) -> Result<Option<Run>, Error> {
    Ok(all()?.into_iter().find(|run| run.record.is_called(container)))
}

/// The one of a name, an ID, or the beginning of an ID.
pub(crate) fn find(container: &str) -> Result<Run, Error> {
    let mut all = all()?;
    let is_called = |run: &Run| run.record.is_called(container);
    if all.iter().any(is_called) {
        all.retain(is_called);
    } else {
        all.retain(|run| run.record.container_id.starts_with(container));
    }
    match all.len() {
        1 => Ok(all.remove(0)),
        0 => Err(Error::refused(
            format!("find container {container}"),
            "`cleat run` has none of this name or ID",
            "`cleat ps` lists all attachments; those of other runtimes are theirs to stop",
        )),
        _ => Err(Error::SeveralContainers {
            container: container.to_owned(),
            ids: all.into_iter().map(|run| run.record.container_id).collect(),
        }),
    }
}

/// The one of a name, an ID, or the beginning of an ID, where it runs; `None` where there is none that does.
pub(crate) fn running(container: &str) -> Result<Option<Run>, Error> {
    match find(container) {
        Ok(run) => Ok(if run.is_alive()? { Some(run) } else { None }),
        Err(Error::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Run {
    /// Makes the folder of a new container, and takes its lock. Refuses a name that another one has, but for one that was
    /// to leave nothing and whose keeper was killed. The caller keeps GC away (`Runtime::lock_shared`).
    pub(crate) fn create(record: Record) -> Result<(Self, Guard), Error> {
        let namesake = match &record.name {
            Some(name) => all()?.into_iter().find(|other| other.record.name.as_ref() == Some(name)),
            None => None,
        };
        if let Some(dead) = &namesake
            && dead.record.vanishes
            && !dead.is_alive()?
        {
            dead.forget()?;
        } else if let (Some(name), Some(other)) = (&record.name, namesake) {
            let other_id = other.record.container_id.get(..12).unwrap_or_default().to_owned();
            return Err(Error::refused(
                format!("name container {name}"),
                format!("container {other_id} has that name"),
                format!("`cleat stop {name}` ends it, `cleat rm {name}` forgets it"),
            ));
        }
        let folder = runs().join(&record.container_id);
        let make = || DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        // Another process may have removed the folders above it, as they were empty.
        make()
            .or_else(|_| make())
            .map_err(|error| Error::io(format!("create folder {}", folder.display()), error))?;
        log::sweep(&runs());
        let run = Self { record, folder };
        let locked = run.lock().and_then(|guard| run.write().map(|()| guard));
        match locked {
            Ok(guard) => Ok((run, guard)),
            Err(error) => {
                let _ = run.forget();
                Err(error)
            }
        }
    }

    /// The container's ID.
    pub(crate) fn container_id(&self) -> Result<ContainerId, Error> {
        container_id::new(self.record.container_id.as_str())
    }

    /// Waits for the lock.
    pub(crate) fn lock(&self) -> Result<Guard, Error> {
        let folder = self.open()?;
        lock::take(&folder, &self.folder, lock::Mode::Exclusive)?;
        Ok(Guard(folder))
    }

    /// Whether somebody looks after the container.
    pub(crate) fn is_alive(&self) -> Result<bool, Error> {
        Ok(!self.ends_within(Duration::ZERO)?)
    }

    /// Waits until nobody looks after the container any more, but no longer than that. Says whether it came so far.
    pub(crate) fn ends_within(&self, patience: Duration) -> Result<bool, Error> {
        let deadline = Instant::now() + patience;
        loop {
            // The folder goes with a container that is to leave nothing.
            let folder = match File::open(&self.folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
                folder => folder.map_err(|error| self.failed("open", error))?,
            };
            match folder.try_lock_shared() {
                Ok(()) => return Ok(true),
                Err(fs::TryLockError::WouldBlock) => {}
                Err(fs::TryLockError::Error(error)) => return Err(self.failed("lock", error)),
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            thread::sleep(PAUSE);
        }
    }

    /// Writes the record.
    pub(crate) fn write(&self) -> Result<(), Error> {
        self.record.write(&self.folder, RECORD).map_err(|error| self.failed("write", error))
    }

    /// The container's network namespace, while it runs; of one that is just starting nothing is known yet.
    pub(crate) fn netns(&self) -> Option<PathBuf> {
        self.record.process.map(|process| PathBuf::from(format!("/proc/{process}/ns/net")))
    }

    /// Its networks, where they are others than it was started with.
    pub(crate) fn networks(&self) -> Result<Option<Networks>, Error> {
        match cni::file::read(&self.folder.join(NETWORKS), cni::file::LONGEST) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read
                .and_then(|text| Ok(Some(serde_json::from_slice(&text)?)))
                .map_err(|error| self.failed("read the networks in", error)),
        }
    }

    /// Keeps its networks. The container is held.
    pub(crate) fn write_networks(&self, networks: &Networks) -> Result<(), Error> {
        let write = || -> io::Result<()> {
            let text = serde_json::to_vec(networks)?;
            let folder = Folder::open(&self.folder).map_err(io::Error::other)?;
            let folder = folder.ok_or(io::ErrorKind::NotFound)?;
            folder.replace(NETWORKS, &text, 0o600).map_err(io::Error::other)
        };
        write().map_err(|error| self.failed("write the networks in", error))
    }

    /// What it wrote, where it runs in the background.
    pub(crate) fn log(&self) -> Log {
        Log::of(&self.record.container_id, &self.folder)
    }

    /// Removes the folder, after the log; the last one takes those above it along.
    pub(crate) fn forget(&self) -> Result<(), Error> {
        self.log().remove().map_err(|error| self.failed("remove the log of", error))?;
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.failed("remove", error)),
            _ => {}
        }
        // They stay where they are not empty.
        let runs = runs();
        if fs::remove_dir(&runs).is_ok() {
            let _ = fs::remove_dir(DEFAULT_STATE_DIR);
        }
        Ok(())
    }

    fn open(&self) -> Result<File, Error> {
        File::open(&self.folder).map_err(|error| self.failed("open", error))
    }

    fn failed(&self, verb: &str, error: impl Into<io::Error>) -> Error {
        Error::io(format!("{verb} {}", self.folder.display()), error)
    }
}
