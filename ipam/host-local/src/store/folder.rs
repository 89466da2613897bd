//! File operations relative to one open folder, so that nothing is looked up twice and no symbolic link is followed.
//!
//! What is absent is told as a value; every other failure names the operation and the path.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, futimens, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use crate::error::Error;

/// More than any file of the store holds; the rest of a longer one is not read.
const MAX_CONTENT: u64 = 4096;

/// What stands under a name, symbolic links not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Nothing.
    Absent,
    /// A regular file without content.
    Empty,
    /// Anything else.
    Present,
}

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder; `None` where there is none. The folder itself may not be a symbolic link.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, Error> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match open(path, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { fd, path: path.to_owned() })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(Error::io("open folder", path, errno)),
        }
    }

    /// Where the folder is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn fail<'a>(&'a self, doing: &'static str, name: &'a str) -> impl FnOnce(Errno) -> Error + 'a {
        move |errno| Error::io(doing, self.path.join(name), errno)
    }

    /// The content of a regular file, trimmed; `None` where there is none, or something else in its place.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, Error> {
        // Without O_NONBLOCK a FIFO under the name would hold the plugin up for ever.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO) => return Ok(None),
            Err(errno) => return Err(self.fail("open", name)(errno)),
        };
        // One read for a lease: `Read::read_to_end` would ask for the size first and for the end afterwards.
        let mut buffer = [0; 512];
        let mut content = match (&file).read(&mut buffer) {
            Ok(length) => buffer[..length].to_vec(),
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => return Ok(None),
            Err(source) => return Err(Error::io("read", self.path.join(name), source)),
        };
        // A FIFO without a writer reads as if it were empty.
        if content.is_empty() && !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Ok(None);
        }
        if content.len() == buffer.len() {
            file.take(MAX_CONTENT)
                .read_to_end(&mut content)
                .map_err(|source| Error::io("read", self.path.join(name), source))?;
        }
        Ok(Some(String::from_utf8_lossy(&content).trim().to_owned()))
    }

    /// Opens a file to lock it; makes it where `create` says so, else answers `None` where there is none.
    pub(super) fn open_lock(&self, name: &str, create: bool) -> Result<Option<File>, Error> {
        let create = if create { OFlag::O_CREAT } else { OFlag::empty() };
        // As in `read`; a FIFO can be locked as well as a file.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | create;
        match openat(&self.fd, name, flags, Mode::S_IRUSR | Mode::S_IWUSR) {
            Ok(fd) => Ok(Some(fd.into())),
            Err(Errno::ENOENT) if create.is_empty() => Ok(None),
            Err(errno) => Err(self.fail("open", name)(errno)),
        }
    }

    /// Makes a file, readable by its owner only, with content. One that a killed process left is replaced, never
    /// written into: it may be a second name of a lease.
    pub(super) fn create(&self, name: &str, content: &str) -> Result<(), Error> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let attempt = || openat(&self.fd, name, flags, Mode::S_IRUSR | Mode::S_IWUSR);
        let opened = match attempt() {
            Err(Errno::EEXIST) => {
                self.unlink(name)?;
                attempt()
            }
            opened => opened,
        };
        let mut file = File::from(opened.map_err(self.fail("create", name))?);
        file.write_all(content.as_bytes()).map_err(|source| {
            // A full disk: what was begun is removed; if even that fails, the next ADD does it.
            let _ = self.unlink(name);
            Error::io("write", self.path.join(name), source)
        })
    }

    /// Gives a file a second name, which must be free.
    pub(super) fn link(&self, from: &str, to: &str) -> Result<(), Error> {
        linkat(&self.fd, from, &self.fd, to, AtFlags::empty()).map_err(self.fail("create lease", to))
    }

    /// Gives a file another name, replacing what had it.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        renameat(&self.fd, from, &self.fd, to).map_err(self.fail("replace", to))
    }

    /// Removes a file's name; whether it was there. A folder of that name is not of the store's making and stays.
    pub(super) fn unlink(&self, name: &str) -> Result<bool, Error> {
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT | Errno::EISDIR) => Ok(false),
            Err(errno) => Err(self.fail("remove", name)(errno)),
        }
    }

    /// What stands under a name.
    pub(super) fn entry(&self, name: &str) -> Result<Entry, Error> {
        match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let is_file = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits();
                Ok(if is_file && stat.st_size == 0 { Entry::Empty } else { Entry::Present })
            }
            Err(Errno::ENOENT) => Ok(Entry::Absent),
            Err(errno) => Err(self.fail("look at", name)(errno)),
        }
    }

    /// What the kernel says of the folder itself.
    pub(super) fn stat(&self) -> Result<FileStat, Error> {
        fstat(&self.fd).map_err(|errno| Error::io("look at", &self.path, errno))
    }

    /// Sees to it that nobody but root can open the lock of the folder, which looks like this: neither the reference nor a
    /// person need have made it so. Where that is not ours to do, it stays as it is.
    pub(super) fn close_to_others(&self, lock: &File, stat: &FileStat) {
        const OTHERS: u32 = 0o077;
        if stat.st_mode & OTHERS != 0 {
            let _ = fchmod(lock, Mode::S_IRUSR | Mode::S_IWUSR);
            let _ = fchmod(&self.fd, Mode::from_bits_truncate(stat.st_mode & 0o7700));
        }
    }

    /// Sets the folder's own modification time.
    pub(super) fn set_modified(&self, time: &TimeSpec) -> Result<(), Error> {
        futimens(&self.fd, &TimeSpec::UTIME_OMIT, time)
            .map_err(|errno| Error::io("set the time of", &self.path, errno))
    }

    /// Opens a folder in this one; `None` where there is none.
    pub(super) fn child(&self, name: &str) -> Result<Option<Self>, Error> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { fd, path: self.path.join(name) })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(self.fail("open folder", name)(errno)),
        }
    }

    /// Makes a folder in this one, for its owner alone.
    pub(super) fn make_child(&self, name: &str) -> Result<(), Error> {
        match mkdirat(&self.fd, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(errno) => Err(self.fail("create folder", name)(errno)),
        }
    }

    /// Makes a symbolic link.
    pub(super) fn symlink(&self, target: &str, name: &str) -> Result<(), Error> {
        symlinkat(target, &self.fd, name).map_err(self.fail("create", name))
    }

    /// Where a symbolic link points; `None` where there is none.
    pub(super) fn read_link(&self, name: &str) -> Result<Option<String>, Error> {
        match readlinkat(&self.fd, name) {
            Ok(target) => Ok(Some(target.to_string_lossy().into_owned())),
            Err(Errno::ENOENT | Errno::EINVAL) => Ok(None),
            Err(errno) => Err(self.fail("read link", name)(errno)),
        }
    }

    /// Hands every name of the folder to `visit`. Names that are not UTF-8 are none of the store's.
    pub(super) fn for_each_name(&self, mut visit: impl FnMut(&str)) -> Result<(), Error> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut folder =
            Dir::openat(&self.fd, ".", flags, Mode::empty()).map_err(self.fail("open folder", "."))?;
        for entry in folder.iter() {
            let entry = entry.map_err(self.fail("list folder", "."))?;
            if let Ok(name) = entry.file_name().to_str() {
                visit(name);
            }
        }
        Ok(())
    }
}
