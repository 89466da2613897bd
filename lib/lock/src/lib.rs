//! Locks between processes: flock(2), which the kernel gives up however its holder ends, and for which nobody waits without
//! end.
//!
//! A holder may be stopped, or hang on a disk. A process that waits for it then fails before the runtime loses patience, and
//! says which process it is. Plain files and folders: this crate knows neither CNI nor cleat's layout.
//!
//! Any process can lock what it can open, for reading even. So what is locked must be for its owner alone.

mod error;
mod file;
mod holder;
mod wait;

pub use error::{Busy, Error};
pub use file::LockFile;
pub use holder::{Holder, holders};
pub use wait::{LIMIT, Mode, left, share_limit, spend, take, take_within, try_take};

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;

/// Takes all access to an open file or folder from everybody but its owner, as far as that is ours to do: an ordinary user
/// who can open it can hold its lock.
pub fn close_to_others(file: &File, mode: u32) -> io::Result<()> {
    const OTHERS: u32 = 0o077;
    if mode & OTHERS == 0 { Ok(()) } else { file.set_permissions(Permissions::from_mode(mode & 0o700)) }
}
