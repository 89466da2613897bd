//! What can go wrong, told as `doing what to which: cause`.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

/// A failed operation on the registry, with the object it was about and the cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call on a file or folder failed.
    #[error("{verb} {}: {}", .path.display(), describe(.source))]
    Io {
        /// What was being done, such as `write`.
        verb: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The failure of the system call.
        #[source]
        source: io::Error,
    },
    /// The registry's lock was not to be had.
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
    /// A name that would not stay within its folder: empty, with `/` or NUL, or with a leading dot.
    #[error("use {name:?} as a file name: it is empty, starts with a dot, or contains '/' or NUL")]
    FileName {
        /// The name.
        name: String,
    },
}

impl Error {
    /// Whether something stands in the place of a file that is none of the registry's: no regular file, or one without end.
    pub(crate) fn is_of_content(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        // The first is what is found of an open file.
        matches!(source.kind(), io::ErrorKind::Other | io::ErrorKind::FileTooLarge)
            || matches!(
                source.raw_os_error().map(Errno::from_raw),
                Some(Errno::ELOOP | Errno::ENXIO | Errno::EISDIR)
            )
    }
}

/// The C library's text without capital and number: `No such device (os error 19)` becomes `no such device`.
fn describe(error: &io::Error) -> String {
    let Some(number) = error.raw_os_error() else {
        return error.to_string();
    };
    let text = Errno::from_raw(number).desc();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => format!("error {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_file_and_the_cause() {
        let error = Error::Io {
            verb: "write",
            path: "/run/cleat/registry/web.json".into(),
            source: Errno::ENOSPC.into(),
        };
        assert_eq!(error.to_string(), "write /run/cleat/registry/web.json: no space left on device");
    }
}
