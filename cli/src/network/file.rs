//! The folder of configurations, as `network create` and `network rm` change it.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cni::NetworkList;
use lock::{LockFile, Mode};

use crate::error::Error;

/// Whether a network's file is one that `network create` wrote.
pub(crate) fn is_created(list: &NetworkList) -> bool {
    let name = list.file.as_deref().and_then(Path::file_name);
    name.is_some_and(|name| *name == *file_name(list.name.as_str()))
}

/// containerd and CRI-O take the first file of the folder, by name, as the network of all their containers: a network
/// that was created for something else must not become that.
fn file_name(network: &str) -> String {
    format!("zz-{network}.conflist")
}

/// The lock file's name, while it is there. No runtime reads a file with this ending.
const LOCK: &str = ".cleat.lock";

/// The folder, locked: two processes that create at once would choose the same subnet. The lock is a file, removed with it:
/// the folder itself can be opened, and so be locked, by any user.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    open: File,
    lock: Option<LockFile>,
}

impl Folder {
    /// Waits for the lock, and makes the folder where there is none.
    pub(crate) fn lock(path: &Path) -> Result<Self, Error> {
        let open = || {
            DirBuilder::new().recursive(true).mode(0o755).create(path)?;
            File::open(path)
        };
        let folder = open().map_err(|error| Error::io(format!("lock folder {}", path.display()), error))?;
        let lock = LockFile::take(&path.join(LOCK), Mode::Exclusive)?;
        Ok(Self { path: path.to_owned(), open: folder, lock: Some(lock) })
    }

    /// Writes the file of a new network: whole or not at all, and synced.
    pub(crate) fn create(&self, network: &str, text: &str) -> Result<PathBuf, Error> {
        let file = self.path.join(file_name(network));
        // Unlike a rename this refuses to replace another one's file.
        self.write(network, text, &file, |temporary| fs::hard_link(temporary, &file))?;
        Ok(file)
    }

    /// Writes a network's file in place of the one that it has.
    pub(crate) fn replace(&self, list: &NetworkList, text: &str) -> Result<(), Error> {
        let Some(file) = &list.file else { return Ok(()) };
        self.write(list.name.as_str(), text, file, |temporary| fs::rename(temporary, file))
    }

    /// Prepares a file that `put` puts into its place.
    fn write(
        &self,
        network: &str,
        text: &str,
        file: &Path,
        put: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<(), Error> {
        // No runtime reads a file with this ending.
        let temporary = self.path.join(format!(".{network}.new"));
        let write = || -> io::Result<()> {
            // What a killed process left is never written through: it may be a second name of a network's file.
            let _ = fs::remove_file(&temporary);
            let mut writing = File::options().write(true).create_new(true).mode(0o644).open(&temporary)?;
            writing.write_all(text.as_bytes())?;
            writing.sync_all()?;
            put(&temporary)
        };
        let written = write();
        let _ = fs::remove_file(&temporary);
        written
            .and_then(|()| self.open.sync_all())
            .map_err(|error| Error::io(format!("write {}", file.display()), error))
    }

    /// Removes a network's file.
    pub(crate) fn remove(&self, list: &NetworkList) -> Result<(), Error> {
        let Some(file) = &list.file else { return Ok(()) };
        fs::remove_file(file)
            .and_then(|()| self.open.sync_all())
            .map_err(|error| Error::io(format!("remove {}", file.display()), error))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // One that stays does no harm, and goes the next time.
        let _ = self.lock.take().map(LockFile::remove);
    }
}
