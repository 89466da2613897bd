//! New content for a file that somebody else may write to as well, and may do anything with that a file lets its owner do.
//!
//! Nothing here waits for them: a lease (`F_SETLEASE`) fails an open that does not block. A file that cannot be written gets
//! another one in its place, and who has the old one mounted is left with what it has.

use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;

use folder::Folder;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fchmod};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use crate::content::{self, Change, MIXED, TAIL};
use crate::error::Error;

/// What keeps root from writing a file, and from removing it (`chattr +i`, `+a`).
const LOCKED: IFlags = IFlags::IMMUTABLE.union(IFlags::APPEND);

/// Gives a file new content without changing its inode, so that the change is seen where the file is bind-mounted.
/// Readers meet the old text or the new one, never an empty file. A file that has the content already is left
/// alone; what is not a regular file with a single name, or may not be written, is replaced by one and never written
/// through.
///
/// # Errors
/// What the system calls say. Where there is no room for longer content, the file is unchanged.
fn rewrite(folder: &Folder, name: &str, content: &[u8], mode: u32) -> Result<(), Error> {
    let change = |_: &[u8]| Change::Whole { bytes: content.to_vec(), is_mixed: false };
    rewrite_with(folder, name, content.len() + TAIL, mode, change).map(drop)
}

/// Gives a file new content in place, where that follows from what it has: `most` bytes of that are read, none where there is
/// no regular file with a single name or it cannot be written. Returns whether one was replaced for that.
///
/// # Errors
/// What the system calls say. Where there is no room for longer content, the file is unchanged.
pub fn rewrite_with(
    folder: &Folder,
    name: &str,
    most: usize,
    mode: u32,
    mut change: impl FnMut(&[u8]) -> Change,
) -> Result<bool, Error> {
    let is_replaced = match in_place(folder, name, most, &mut change) {
        Ok(Some(true)) => return Ok(false),
        Ok(None) => false,
        // Another file would fare no better.
        Err(error) if is_of_the_host(&error.source) => return Err(error.into()),
        // A lease, the text of a running program or a swap file, a file without rights for root (which the kernel
        // gives none without CAP_DAC_OVERRIDE), a symbolic link, a socket, a directory, whatever comes next.
        Ok(Some(false)) | Err(_) => true,
    };
    let (Change::Whole { bytes, .. } | Change::Lines { more: bytes, .. }) = change(&[]);
    folder.create(name, &bytes, mode)?;
    Ok(is_replaced)
}

/// As [`Folder::replace`], for content that is not longer than the old one: on a full disk it is written in place, so that a
/// member can leave. A process that is killed then leaves the new content with empty lines behind it.
pub(crate) fn shorten(folder: &Folder, name: &str, content: &[u8], mode: u32) -> Result<(), Error> {
    match folder.replace(name, content, mode) {
        Err(error) if is_full(&error.source) => rewrite(folder, name, content, mode),
        outcome => Ok(outcome?),
    }
}

/// Changes a regular file with a single name, and says whether it is one; `None` where there is none.
fn in_place(
    folder: &Folder,
    name: &str,
    most: usize,
    change: &mut impl FnMut(&[u8]) -> Change,
) -> Result<Option<bool>, folder::Error> {
    let open = || folder.open_file(name, OFlag::O_RDWR);
    let opened = match open() {
        Err(error) if error.errno() == Some(Errno::EPERM) && release(folder, name) => open()?,
        outcome => outcome?,
    };
    let Some(file) = opened else { return Ok(None) };
    let mut write = || -> io::Result<bool> {
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.nlink() != 1 {
            return Ok(false);
        }
        let old = content::read_start(&file, metadata.size(), most)?;
        let change = change(&old);
        content::change(&file, metadata.size(), &old, &change)?;
        if change.is_mixed() != (metadata.mode() & MIXED != 0) {
            fchmod(&file, Mode::from_bits_truncate(metadata.mode() ^ MIXED))?;
        }
        Ok(true)
    };
    write().map(Some).map_err(|source| folder::Error::new("write", folder.path().join(name), source))
}

/// Takes the flags off a regular file that keep everybody from changing it, and says whether there were any.
fn release(folder: &Folder, name: &str) -> bool {
    let Ok(Some(file)) = folder.open_file(name, OFlag::O_RDONLY) else {
        return false;
    };
    // What is asked of a device or a socket is for its driver to understand.
    file.metadata().is_ok_and(|metadata| metadata.is_file())
        && ioctl_getflags(&file).is_ok_and(|flags| {
            flags.intersects(LOCKED) && ioctl_setflags(&file, flags.difference(LOCKED)).is_ok()
        })
}

/// Removes a folder with all the files in it, also those with flags that keep everybody from removing them.
pub(crate) fn remove_child(parent: &Folder, name: &str) -> Result<(), Error> {
    match parent.remove_child(name) {
        Err(error) if error.errno() == Some(Errno::EPERM) => {
            if let Some(child) = parent.child(name)? {
                for file in child.entries()? {
                    release(&child, &file);
                }
            }
            Ok(parent.remove_child(name)?)
        }
        outcome => Ok(outcome?),
    }
}

/// Cuts a regular file that takes more than that many bytes of the file system.
pub(crate) fn cut(folder: &Folder, name: &str, most: u64) -> io::Result<()> {
    const BLOCK: u64 = 512;
    let Ok(Some(file)) = folder.open_file(name, OFlag::O_WRONLY) else { return Ok(()) };
    let metadata = file.metadata()?;
    if metadata.is_file() && metadata.blocks() * BLOCK > most { file.set_len(most) } else { Ok(()) }
}

/// Whether the trouble is not with the file, but with the host: no room, no memory, no descriptors, a broken disk.
fn is_of_the_host(error: &io::Error) -> bool {
    is_full(error)
        || error.kind() == ErrorKind::OutOfMemory
        || matches!(
            error.raw_os_error().map(Errno::from_raw),
            Some(Errno::EIO | Errno::EMFILE | Errno::ENFILE)
        )
}

/// Whether there is no room: no block, no inode, or no more for this user.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests;
