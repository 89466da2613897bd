//! What can go wrong, as `doing what to which: cause`.

use std::io;
use std::path::PathBuf;

use lock::describe;
use nix::errno::Errno;

/// A failed operation on a file or folder.
#[derive(Debug, thiserror::Error)]
#[error("{verb} {}: {}", .path.display(), describe(.source))]
pub struct Error {
    /// What was being done, such as `write`.
    pub verb: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The failure of the system call.
    #[source]
    pub source: io::Error,
}

impl Error {
    /// A failed operation.
    pub fn new(verb: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self { verb, path: path.into(), source: source.into() }
    }

    /// The number of the failed system call's error.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        self.source.raw_os_error().map(Errno::from_raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_file_and_the_cause() {
        let error = Error::new("write", "/run/cleat/registry/web.json", Errno::ENOSPC);
        assert_eq!(error.to_string(), "write /run/cleat/registry/web.json: no space left on device");
        assert_eq!(Error::new("read", "/run/a", Errno::EIO).to_string(), "read /run/a: I/O error");
    }
}
