//! What can go wrong with a program: it is not there, it does not start, it refuses.

use std::io;
use std::path::PathBuf;

/// The result of everything that starts a program.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure, with the program and what it was to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The host does not have the program.
    #[error("no program {name} in PATH, /usr/sbin or /sbin: install the package iptables")]
    Missing {
        /// The program's name.
        name: String,
    },
    /// The program could not be started.
    #[error("{}, to {doing}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What it was to do.
        doing: String,
        /// Why it did not start.
        source: io::Error,
    },
    /// The program ran and failed; nothing was changed.
    #[error("{}, to {doing}: {said}{}", program.display(), lack(said))]
    Failed {
        /// The program.
        program: PathBuf,
        /// What it was to do.
        doing: String,
        /// What it wrote on standard error, or how it ended.
        said: String,
    },
    /// Another process held the lock of the legacy variant all the time; nothing was changed.
    #[error(transparent)]
    Busy(#[from] lock::Busy),
    /// The programs' format has no way to say it; nothing was started.
    #[error("{text:?} cannot be handed to iptables: {reason}")]
    Unfit {
        /// What was to be said.
        text: String,
        /// What is in the way.
        reason: &'static str,
    },
}

/// Names the capabilities that are needed: the programs say that root is.
fn lack(said: &str) -> &'static str {
    let refusals = ["Permission denied", "Operation not permitted"];
    if refusals.iter().any(|refusal| said.contains(refusal)) {
        " (it takes CAP_NET_ADMIN, and the legacy variant CAP_NET_RAW as well)"
    } else {
        ""
    }
}

impl Error {
    /// Whether it is the program itself that is not there.
    #[must_use]
    pub fn is_missing_program(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}
