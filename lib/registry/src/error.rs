//! What can go wrong, as `doing what to which: cause`.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

/// A failed operation on the registry, with the object it was about and the cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation on a file or folder failed.
    #[error(transparent)]
    Io(#[from] folder::Error),
    /// The registry's lock could not be taken.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// A file of the registry is not what this crate writes.
    #[error("read {}: {source}", .path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        #[source]
        source: serde_json::Error,
    },
    /// The state folder is somebody else's, or others may write to it.
    #[error("use state folder {}: {reason}", .path.display())]
    Untrusted {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Error {
    /// A failed operation on a file or folder.
    pub fn io(verb: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        folder::Error::new(verb, path, source).into()
    }
}

/// Whether something stands in the place of a file that is none of the registry's: no regular file, or one without end.
pub(crate) fn is_of_content(error: &folder::Error) -> bool {
    // The first is what is found of an open file.
    matches!(error.source.kind(), io::ErrorKind::Other | io::ErrorKind::FileTooLarge)
        || matches!(error.errno(), Some(Errno::ELOOP | Errno::ENXIO | Errno::EISDIR))
}
