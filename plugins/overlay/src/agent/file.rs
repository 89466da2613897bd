//! Files that are there whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Whether a file has to survive a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasting {
    Yes,
    /// It is on a tmpfs.
    No,
}

/// Writes a file by a rename; a folder that is missing is made.
pub(super) fn replace(path: &Path, content: &[u8], mode: u32, lasting: Lasting) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    let new = path.with_extension("new");
    remove(&new)?;
    let written = write(&new, content, mode, lasting).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // What a full disk left of it is of no use.
        let _ = fs::remove_file(&new);
    }
    written?;
    if lasting == Lasting::Yes { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn write(path: &Path, content: &[u8], mode: u32, lasting: Lasting) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // Whatever the umask.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    if lasting == Lasting::Yes { file.sync_all() } else { Ok(()) }
}

/// Removes a file; one that is not there counts as removed.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
