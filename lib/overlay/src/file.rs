//! Reading the file. It decides where a node's packets go, so whoever could write to it would be the node's master.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cni::NetworkName;
use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::error::{Error, Fault};
use crate::node::Node;

/// The folder of the files: it is empty after a boot, until the agent has written them again.
pub const FOLDER: &str = "/run/cleat/overlay";

/// More than any network needs, in bytes.
const LONGEST: u64 = 64 << 10;

/// Who may write on a file, besides its owner.
const OTHERS_WRITE: u32 = 0o022;

/// The file of a network.
#[must_use]
pub fn path(network: &NetworkName) -> PathBuf {
    Path::new(FOLDER).join(format!("{network}.json"))
}

/// What this node knows of a network; `None` where there is no file.
///
/// # Errors
/// A file that is not root's alone, no regular file, too long, or not as it should be in any respect.
pub fn read(network: &NetworkName) -> Result<Option<Node>, Error> {
    let path = path(network);
    read_at(&path, 0).map_err(|fault| Error { path, fault })
}

/// As [`read`]; of a file that has to be that user's.
pub(crate) fn read_at(path: &Path, owner: u32) -> Result<Option<Node>, Fault> {
    // Without O_NONBLOCK, opening a FIFO would wait for its other end.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => {
            return Err(io::Error::other("it is a symbolic link").into());
        }
        outcome => outcome?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file").into());
    }
    if metadata.uid() != owner {
        return Err(Fault::Owner(metadata.uid()));
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        return Err(Fault::Writable(metadata.mode() & 0o7777));
    }
    Node::from_slice(&folder::read_sized(&file, metadata.size(), LONGEST)?).map(Some)
}
