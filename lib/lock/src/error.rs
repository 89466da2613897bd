//! Why a lock was not taken: another process has it, or a system call failed.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use crate::holder::Holder;

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process had it all the time.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// A system call failed.
    #[error("lock {}: {}", .path.display(), describe(.source))]
    Io {
        /// What was to be locked.
        path: PathBuf,
        /// The failure of the system call.
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

/// The C library's text without its capital and number: `No such device (os error 19)` becomes `no such device`. Other text
/// stays as it is.
#[must_use]
pub fn describe(error: &io::Error) -> String {
    let Some(number) = error.raw_os_error() else {
        return error.to_string();
    };
    let text = Errno::from_raw(number).desc();
    match text.as_bytes() {
        // Not of `I/O error`.
        [_, second, ..] if second.is_ascii_lowercase() => text[..1].to_ascii_lowercase() + &text[1..],
        _ => text.to_owned(),
    }
}

/// A lock that was not released while it was waited for. Another attempt succeeds once its holder goes on, or has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("lock {}: {} for the {:.1} s that were waited", .path.display(), held(.holders), .waited.as_secs_f64())]
pub struct Busy {
    /// What was to be locked.
    pub path: PathBuf,
    /// How long it was waited for.
    pub waited: Duration,
    /// The processes that have it, as far as /proc shows them.
    pub holders: Vec<Holder>,
}

/// How many holders are named: a shared lock may have hundreds.
const NAMED: usize = 3;

fn held(holders: &[Holder]) -> String {
    let named: Vec<String> = holders.iter().take(NAMED).map(Holder::to_string).collect();
    let named = named.join(", ");
    match holders.len() {
        // Also a process that has ended, from which another one has inherited the file that /proc does not show.
        0 => "a process that /proc does not show, as of another PID namespace, has held it".to_owned(),
        1 => format!("{named} has held it"),
        count if count > NAMED => format!("{named} and {} more have held it", count - NAMED),
        _ => format!("{named} have held it"),
    }
}

impl Busy {
    /// What to do about it.
    #[must_use]
    pub fn cure(&self) -> String {
        match self.holders.first() {
            None => "find the holder with lslocks or fuser, end it where it hangs, and try again".to_owned(),
            Some(Holder { pid, is_stopped: true, .. }) => {
                format!("it is stopped: let it go on with kill -CONT {pid}, or end it, and try again")
            }
            Some(Holder { pid, .. }) => {
                format!("try again; where process {pid} hangs, end it first")
            }
        }
    }
}
