//! The containers of `cleat run` that run, and those in the background that have ended: a folder for each, which only root may
//! enter.
//!
//! ```text
//! /run/cleat/runs/<container ID>/      locked (flock) by the container's supervisor, while that runs
//!     run.json                         how it was started (`spec`), and how it ended
//!     volumes/                         its volumes without a name
//!     networks.json                    its networks, once they are others than it was started with
//! ```
//!
//! Its output is in its log: see `log`. The supervisor is `cleat run` itself, or `cleat supervise` in the background.
//!
//! The kernel releases the lock however its holder ends, so that it shows more reliably than a process number what runs.

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
use serde::Serialize;

pub(crate) use log::{Log, Part, Writer};
pub(crate) use record::{Record, Start};

use crate::container_id;
use crate::error::Error;
use crate::spec::Networks;

const RUNS: &str = "runs";
const RECORD: &str = "run.json";
const VOLUMES: &str = "volumes";
const NETWORKS: &str = "networks.json";
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// One container's folder.
#[derive(Debug)]
pub(crate) struct Run {
    /// What is kept of it.
    pub(crate) record: Record,
    folder: PathBuf,
}

fn runs() -> PathBuf {
    Path::new(DEFAULT_STATE_DIR).join(RUNS)
}

/// All containers, in the order in which they were made.
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
        // Without a record it is just being made or removed.
        if let Ok(record) = record::read_json(&folder.join(RECORD)) {
            all.push(Run { record, folder });
        }
    }
    all.sort_by_key(|run| run.record.created);
    Ok(all)
}

/// Removes the containers of which nothing is kept and whose supervisor was killed. The caller keeps others from being started
/// (`Runtime::lock_exclusive`).
pub(crate) fn sweep() -> Result<(), Error> {
    for run in all()? {
        if run.record.vanishes && !run.is_alive()? {
            run.forget()?;
        }
    }
    Ok(())
}

/// The container of this name, or of this ID in full or short.
pub(crate) fn called(container: &str) -> Result<Option<Run>, Error> {
    Ok(all()?.into_iter().find(|run| run.record.is_called(container)))
}

/// The container of a name, an ID, or the beginning of an ID.
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

/// As [`find`], but `None` where no such container runs.
pub(crate) fn running(container: &str) -> Result<Option<Run>, Error> {
    match find(container) {
        Ok(run) => Ok(if run.is_alive()? { Some(run) } else { None }),
        Err(Error::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Run {
    /// Makes the folder of a new container, and takes its lock, which is held until the file is closed. Refuses the name of
    /// another container, unless nothing is kept of that one and its supervisor was killed. The caller keeps GC away
    /// (`Runtime::lock_shared`).
    pub(crate) fn create(record: Record) -> Result<(Self, File), Error> {
        if let Some(name) = &record.name
            && let Some(other) = all()?.into_iter().find(|other| other.record.name.as_ref() == Some(name))
        {
            if !other.record.vanishes || other.is_alive()? {
                return Err(Error::refused(
                    format!("name container {name}"),
                    format!("container {} has that name", registry::short_id(&other.record.container_id)),
                    format!("`cleat stop {name}` ends it, `cleat rm {name}` forgets it"),
                ));
            }
            other.forget()?;
        }
        let folder = runs().join(&record.container_id);
        let make = || DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        // Another process may have removed the folders above it, as they were empty.
        make()
            .or_else(|_| make())
            .map_err(|error| Error::io(format!("create folder {}", folder.display()), error))?;
        log::sweep(&runs());
        let run = Self { record, folder };
        let locked = run.lock().and_then(|lock| run.write().map(|()| lock));
        let lock = locked.inspect_err(|_| {
            let _ = run.forget();
        })?;
        Ok((run, lock))
    }

    /// The container's ID.
    pub(crate) fn container_id(&self) -> Result<ContainerId, Error> {
        container_id::new(self.record.container_id.as_str())
    }

    /// Waits for the folder's lock. Closing the file gives it up.
    pub(crate) fn lock(&self) -> Result<File, Error> {
        let folder = File::open(&self.folder).map_err(|error| self.failed("open", error))?;
        lock::take(&folder, &self.folder, lock::Mode::Exclusive)?;
        Ok(folder)
    }

    /// Whether the container has a supervisor.
    pub(crate) fn is_alive(&self) -> Result<bool, Error> {
        Ok(!self.ends_within(Duration::ZERO)?)
    }

    /// Waits until the container's supervisor has ended, but no longer than `patience`. Returns whether it has.
    pub(crate) fn ends_within(&self, patience: Duration) -> Result<bool, Error> {
        let deadline = Instant::now() + patience;
        loop {
            let locked =
                File::open(&self.folder).and_then(|folder| lock::try_take(&folder, lock::Mode::Shared));
            let has_ended = match locked {
                // The supervisor removes the folder of a container of which nothing is kept.
                Err(error) if error.kind() == io::ErrorKind::NotFound => true,
                locked => locked.map_err(|error| self.failed("lock", error))?,
            };
            if has_ended || Instant::now() >= deadline {
                return Ok(has_ended);
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Writes the record.
    pub(crate) fn write(&self) -> Result<(), Error> {
        self.replace(RECORD, &self.record)
    }

    /// The container's network namespace, while it runs; `None` while it is being started.
    pub(crate) fn netns(&self) -> Option<PathBuf> {
        self.record.process.map(|process| PathBuf::from(format!("/proc/{process}/ns/net")))
    }

    /// Its networks, where they are others than it was started with.
    pub(crate) fn networks(&self) -> Result<Option<Networks>, Error> {
        match record::read_json(&self.folder.join(NETWORKS)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some).map_err(|error| self.failed("read the networks in", error)),
        }
    }

    /// Writes its networks. The caller has the container's lock.
    pub(crate) fn write_networks(&self, networks: &Networks) -> Result<(), Error> {
        self.replace(NETWORKS, networks)
    }

    /// A reader sees the old file or the new one.
    fn replace(&self, file: &str, content: &impl Serialize) -> Result<(), Error> {
        let write = || -> io::Result<()> {
            let folder =
                Folder::open(&self.folder).map_err(io::Error::other)?.ok_or(io::ErrorKind::NotFound)?;
            folder.replace(file, &serde_json::to_vec(content)?, 0o600).map_err(io::Error::other)
        };
        write().map_err(|error| self.failed(&format!("write {file} in"), error))
    }

    /// The folder of its volumes without a name, which go with it.
    pub(crate) fn own_volumes(&self) -> PathBuf {
        self.folder.join(VOLUMES)
    }

    /// Its output, where it runs in the background.
    pub(crate) fn log(&self) -> Log {
        Log::of(&self.record.container_id, &self.folder)
    }

    /// Removes the log and then the folder, and those above it once they are empty.
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

    fn failed(&self, verb: &str, error: impl Into<io::Error>) -> Error {
        Error::io(format!("{verb} {}", self.folder.display()), error)
    }
}
