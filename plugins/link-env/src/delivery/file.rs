//! Files outside of the registry, which others may have removed.

use std::fs;
use std::io;
use std::path::Path;

use crate::error::Error;

/// Removes a file; one that is gone counts as removed.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(())
        }
        outcome => outcome.map_err(|source| failed("remove", path, source)),
    }
}

pub(super) fn failed(verb: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Registry(registry::Error::Io { verb, path: path.to_owned(), source })
}
