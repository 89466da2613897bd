//! The errors of this plugin, and their codes in the CNI specification.

use std::io;

use cni::Code;

/// A failure of the link-env plugin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is invalid, asks for too much, or for a link to what is not there.
    #[error("{problem}")]
    Config {
        /// What is wrong, with the value.
        problem: String,
        /// The rule that it violates, or what to write instead.
        cure: String,
    },
    /// Another container of the network has the name.
    #[error("{0}")]
    NameTaken(String),
    /// CHECK found a difference.
    #[error("{0}")]
    Differs(String),
    /// The registry could not be read or written.
    #[error("{0}")]
    Registry(#[from] registry::Error),
    /// The state folder cannot be used now.
    #[error("{0}")]
    NotAvailable(#[source] registry::Error),
    /// Other processes changed the same elements at every attempt.
    #[error("{0}")]
    Contended(#[from] nftables::ledger::Contended),
    /// A transaction of packet filter elements failed.
    #[error("{0}")]
    Nftables(#[from] nftables::Error),
    /// An error of the library for the CNI contract.
    #[error("{0}")]
    Contract(#[from] cni::Error),
    /// An ADD failed, and so did undoing it.
    #[error("{0}; undo it: {1}")]
    Undo(#[source] Box<Self>, Box<Self>),
}

impl Error {
    /// [`Error::Config`].
    pub(crate) fn config(problem: String, cure: impl Into<String>) -> Self {
        Self::Config { problem, cure: cure.into() }
    }

    /// All failures of a removal, which goes on past each of them, as one.
    pub(crate) fn all(outcomes: impl IntoIterator<Item = Result<(), Self>>) -> Result<(), Self> {
        let failures = outcomes.into_iter().filter_map(Result::err).map(cni::Error::from);
        Ok(cni::Error::all(failures.collect())?)
    }

    /// Whether there was no room on a file system.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Registry(registry::Error::Io(error)) => error.source.kind() == io::ErrorKind::StorageFull,
            Self::Undo(failure, _) => failure.is_full(),
            _ => false,
        }
    }
}

impl From<registry::FolderError> for Error {
    fn from(error: registry::FolderError) -> Self {
        Self::Registry(error.into())
    }
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Contract(error) => error,
            Error::Config { cure, .. } => Self::new(Code::InvalidConfig, message).details(cure),
            Error::NameTaken(_) => {
                Self::new(Code::InUse, message).details("choose another name, or remove that container first")
            }
            Error::Differs(_) => Self::new(Code::CheckFailed, message),
            Error::Contended(_) => Self::new(Code::TryAgain, message).details("try again"),
            Error::Nftables(error) if error.is_restart() => {
                Self::new(Code::TryAgain, message).details("the ruleset kept changing: try again")
            }
            Error::Nftables(_) => Self::new(Code::Kernel, message),
            Error::Registry(error) => {
                let (code, cure) = code_and_cure(&error);
                Self::new(code, message).details(cure)
            }
            Error::NotAvailable(error) => {
                Self::new(Code::NotAvailable, message).details(code_and_cure(&error).1)
            }
            Error::Undo(failure, undo) => Self::from(*failure).undo_failed(&Self::from(*undo)),
        }
    }
}

/// The code of a failure of the registry, and what to do about it.
fn code_and_cure(error: &registry::Error) -> (Code, String) {
    use io::ErrorKind::{Interrupted, ResourceBusy, WouldBlock};
    let (code, cure) = match error {
        registry::Error::Lock(lock::Error::Busy(busy)) => return (Code::TryAgain, busy.cure()),
        registry::Error::Io(error)
            if matches!(error.source.kind(), Interrupted | ResourceBusy | WouldBlock) =>
        {
            (Code::TryAgain, "try again")
        }
        registry::Error::Decode { .. } => {
            (Code::Io, "the file is damaged: the same ADD again writes it anew, as cleat repair does")
        }
        registry::Error::Untrusted { .. } => (Code::InvalidConfig, ""),
        _ => (Code::Io, ""),
    };
    (code, cure.to_owned())
}
