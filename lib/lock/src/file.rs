//! Files that are there to be locked and for nothing else, and go when nobody needs them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

use crate::error::Error;
use crate::wait::{Mode, take, try_take};

/// A lock file while this process has its lock. Dropping it gives the lock up and leaves the file.
#[derive(Debug)]
pub struct LockFile {
    file: File,
    path: PathBuf,
    mode: Mode,
}

impl LockFile {
    /// Waits for the lock, and makes the file, for its owner alone, where there is none.
    pub fn take(path: &Path, mode: Mode) -> Result<Self, Error> {
        let failed = |source| Error::io(path, source);
        loop {
            let file = open(path, true).map_err(failed)?;
            take(&file, path, mode)?;
            // The holder before may have removed the file: then this lock keeps nobody away.
            if file.metadata().map_err(failed)?.nlink() > 0 {
                return Ok(Self { file, path: path.to_owned(), mode });
            }
        }
    }

    /// Takes the lock where nobody has it, and makes the file where `create` says so. `None` where somebody has the lock, or
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

    /// Gives the lock up, and removes the file unless somebody else has the lock, or is about to.
    pub fn remove(self) -> io::Result<()> {
        // Who waits finds the file without a name afterwards, and makes another one.
        if self.mode == Mode::Shared && !try_take(&self.file, Mode::Exclusive)? {
            return Ok(());
        }
        // Somebody may have removed the name, and another process made a file of its own.
        let remove = || match self.file.metadata()?.nlink() {
            0 => Ok(()),
            _ => fs::remove_file(&self.path),
        };
        // What a disk refuses once, it may do the next time.
        remove().or_else(|_| remove())
    }
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(create).truncate(false).mode(0o600);
    // A FIFO in its place must not hold anybody up, and a link lead nowhere.
    options.custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)
}
