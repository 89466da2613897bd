//! New content for a file that somebody else may write to as well, and may do anything with that a file lets its owner do.
//!
//! Nothing here waits for them: a lease (`F_SETLEASE`) fails an open that does not block. A file that cannot be written gets
//! another one in its place, and who has the old one mounted is left with what it has.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{UnlinkatFlags, unlinkat};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use super::{FILE, Folder, MIXED};
use crate::content::{self, Change, TAIL};
use crate::error::Error;

/// What keeps root from writing a file, and from removing it (`chattr +i`, `+a`).
const LOCKED: IFlags = IFlags::IMMUTABLE.union(IFlags::APPEND);

impl Folder {
    /// Gives a file new content without changing its inode, so that the change is seen where the file is bind-mounted.
    /// Readers meet the old text or the new one, never an empty file. A file that has the content already is left
    /// alone; what is not a regular file with a single name, or may not be written, is replaced by one and never written
    /// through.
    ///
    /// # Errors
    /// What the system calls say. Where there is no room for longer content, the file is unchanged.
    pub fn rewrite(&self, name: &str, content: &[u8], mode: u32) -> Result<(), Error> {
        let change = |_: &[u8]| Change::Whole { bytes: content.to_vec(), is_mixed: false };
        self.rewrite_with(name, content.len() + TAIL, mode, change).map(drop)
    }

    /// As [`Folder::rewrite`], where what becomes of the file follows from what it has: `most` bytes of that are read, none
    /// where there is no regular file or it cannot be written. Returns whether one was replaced for that.
    ///
    /// # Errors
    /// As [`Folder::rewrite`].
    pub fn rewrite_with(
        &self,
        name: &str,
        most: usize,
        mode: u32,
        mut change: impl FnMut(&[u8]) -> Change,
    ) -> Result<bool, Error> {
        let path = self.path_of(name)?;
        let mut write = || -> io::Result<bool> {
            let is_replaced = match self.in_place(name, most, &mut change) {
                Ok(true) => return Ok(false),
                Err(error) if error.kind() == ErrorKind::NotFound => false,
                // Another file would fare no better.
                Err(error) if is_of_the_host(&error) => return Err(error),
                // A lease, the text of a running program or a swap file, a file without rights for root (which the kernel
                // gives none without CAP_DAC_OVERRIDE), a symbolic link, a socket, a directory, whatever comes next.
                Ok(false) | Err(_) => true,
            };
            let (Change::Whole { bytes, .. } | Change::Lines { more: bytes, .. }) = change(&[]);
            self.create(name, mode)?.write_all(&bytes)?;
            Ok(is_replaced)
        };
        write().map_err(|source| Error::Io { verb: "write", path, source })
    }

    /// Changes a regular file with a single name, and says whether it is one.
    fn in_place(
        &self,
        name: &str,
        most: usize,
        change: &mut impl FnMut(&[u8]) -> Change,
    ) -> io::Result<bool> {
        let open = || openat(self.file(), name, FILE | OFlag::O_RDWR, Mode::empty());
        let file = File::from(match open() {
            Err(Errno::EPERM) if self.release(name) => open()?,
            outcome => outcome?,
        });
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
    }

    /// Takes the flags off a regular file that keep everybody from changing it, and says whether there were any.
    fn release(&self, name: &str) -> bool {
        let Ok(fd) = openat(self.file(), name, FILE | OFlag::O_RDONLY, Mode::empty()) else {
            return false;
        };
        let file = File::from(fd);
        // What is asked of a device or a socket is for its driver to understand.
        file.metadata().is_ok_and(|metadata| metadata.is_file())
            && ioctl_getflags(&file).is_ok_and(|flags| {
                flags.intersects(LOCKED) && ioctl_setflags(&file, flags.difference(LOCKED)).is_ok()
            })
    }

    /// An empty folder in a file's place goes as well: runtimes make one where they are to mount a file that is not there.
    pub(super) fn unlink(&self, name: &str) -> nix::Result<()> {
        let unlink = || unlinkat(self.file(), name, UnlinkatFlags::NoRemoveDir);
        match unlink() {
            Err(Errno::ENOENT) => Ok(()),
            Err(Errno::EISDIR) => unlinkat(self.file(), name, UnlinkatFlags::RemoveDir),
            Err(Errno::EPERM) if self.release(name) => unlink(),
            outcome => outcome,
        }
    }

    /// Cuts a regular file that takes more than that many bytes of the file system.
    pub(crate) fn cut(&self, name: &str, most: u64) -> io::Result<()> {
        const BLOCK: u64 = 512;
        let file = File::from(openat(self.file(), name, FILE | OFlag::O_WRONLY, Mode::empty())?);
        let metadata = file.metadata()?;
        if metadata.is_file() && metadata.blocks() * BLOCK > most { file.set_len(most) } else { Ok(()) }
    }
}

/// Whether the trouble is not with the file, but with the host: no room, no memory, no descriptors, a broken disk.
fn is_of_the_host(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::OutOfMemory)
        || matches!(
            error.raw_os_error().map(Errno::from_raw),
            Some(Errno::EIO | Errno::EMFILE | Errno::ENFILE)
        )
}
