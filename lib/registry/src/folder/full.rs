//! Writing on a full disk, where there is room for what is shorter alone.

use std::io::{self, ErrorKind};

use super::Folder;
use crate::error::Error;

impl Folder {
    /// As [`Folder::replace`], for content that is not longer than the old one: on a full disk it is written in place, so that
    /// whoever goes can go. A process that is killed then leaves the new content with empty lines behind it.
    pub(crate) fn shorten(&self, name: &str, content: &[u8], mode: u32) -> Result<(), Error> {
        match self.replace(name, content, mode) {
            Err(Error::Io { source, .. }) if is_full(&source) => self.rewrite(name, content, mode),
            outcome => outcome,
        }
    }
}

/// Whether there is no room: no block, no inode, or no more for this user.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}
