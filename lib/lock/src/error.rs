//! What keeps a lock from being taken: somebody else has it, or a system call failed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use crate::holder::Holder;

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Somebody had it all the time.
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

/// The C library's text without capital and number.
fn describe(error: &io::Error) -> String {
    let text = error.raw_os_error().map(|number| Errno::from_raw(number).desc().to_owned());
    let text = text.unwrap_or_else(|| error.to_string());
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// A lock that was not given up while it was waited for. The same again succeeds once its holder has gone on, or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    /// What was to be locked.
    pub path: PathBuf,
    /// How long it was waited for.
    pub waited: Duration,
    /// Who has it, as far as /proc tells.
    pub holders: Vec<Holder>,
}

/// As many are named; of a lock that is shared there may be hundreds.
const NAMED: usize = 3;

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lock {}: ", self.path.display())?;
        if self.holders.is_empty() {
            // Also one that has ended and left the open file to another one that /proc does not show.
            write!(f, "a process that /proc does not show, as of another PID namespace, has held it")?;
        }
        for (place, holder) in self.holders.iter().take(NAMED).enumerate() {
            write!(f, "{}{holder}", if place == 0 { "" } else { ", " })?;
        }
        if self.holders.len() > NAMED {
            write!(f, " and {} more", self.holders.len() - NAMED)?;
        }
        if !self.holders.is_empty() {
            write!(f, " {} held it", if self.holders.len() == 1 { "has" } else { "have" })?;
        }
        write!(f, " for the {:.1} s that were waited", self.waited.as_secs_f64())
    }
}

impl std::error::Error for Busy {}

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
