//! Lock files, which exist only to be locked, and are removed when no process needs them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

use crate::error::Error;
use crate::wait::{Mode, take, try_take};

/// A lock file whose lock this process has. Dropping it releases the lock and leaves the file.
#[derive(Debug)]
pub struct LockFile {
    file: File,
    path: PathBuf,
    mode: Mode,
}

impl LockFile {
    /// Waits for the lock. Where there is no file, it is created, for its owner alone.
    pub fn take(path: &Path, mode: Mode) -> Result<Self, Error> {
        let failed = |source| Error::io(path, source);
        loop {
            let file = open(path, true).map_err(failed)?;
            take(&file, path, mode)?;
            // The holder before may have removed the file: others then lock a new one.
            if file.metadata().map_err(failed)?.nlink() > 0 {
                return Ok(Self { file, path: path.to_owned(), mode });
            }
        }
    }

    /// Takes the lock without waiting, and creates the file if `create` says so. `None` where another process has the lock, or
    /// there is no file.
    pub fn try_take(path: &Path, mode: Mode, create: bool) -> io::Result<Option<Self>> {
        loop {
            let file = match open(path, create) {
                Err(error) if error.kind() == ErrorKind::NotFound && !create => return Ok(None),
                file => file?,
            };
            if !try_take(&file, mode)? {
                return Ok(None);
            }
            if file.metadata()?.nlink() > 0 {
                return Ok(Some(Self { file, path: path.to_owned(), mode }));
            }
        }
    }

    /// Releases the lock, and removes the file unless another process shares the lock.
    pub fn remove(self) -> io::Result<()> {
        // A process that waits then gets the lock of a file without a name, and creates another file.
        if self.mode == Mode::Shared && !try_take(&self.file, Mode::Exclusive)? {
            return Ok(());
        }
        // Where another program has removed the file, its path may lead to a new one by now.
        let remove = || match self.file.metadata()?.nlink() {
            0 => Ok(()),
            _ => fs::remove_file(&self.path),
        };
        // A second attempt may succeed where a disk failed for a moment.
        remove().or_else(|_| remove())
    }
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(create).truncate(false).mode(0o600);
    // In its place a FIFO must not block, and a symbolic link must not be followed.
    options.custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)
}
