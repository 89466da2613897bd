//! Locks between processes, by flock(2): the kernel releases a lock when its holder ends, in whatever way. Every wait has a
//! limit.
//!
//! A holder may be stopped, or hang on a disk. A process that waits for it fails before the runtime's own timeout, and names
//! the holder. What is locked are plain files and folders: this crate knows neither CNI nor cleat's layout.
//!
//! A process can lock any file that it can open, even if only for reading. So what is locked must be for its owner alone.

mod error;
mod file;
mod holder;
mod wait;

pub use error::{Busy, Error, describe};
pub use file::LockFile;
pub use holder::{Holder, holders};
pub use wait::{LIMIT, Mode, left, share_limit, spend, take, take_within, try_take};

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;

/// Removes the permissions of group and others from an open file or folder that has this mode: a user who can open it can
/// hold its lock.
pub fn close_to_others(file: &File, mode: u32) -> io::Result<()> {
    const OTHERS: u32 = 0o077;
    if mode & OTHERS == 0 { Ok(()) } else { file.set_permissions(Permissions::from_mode(mode & 0o700)) }
}
