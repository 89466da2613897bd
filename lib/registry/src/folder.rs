//! A folder held open by descriptor. Whatever happens in it happens relative to that descriptor and never through a
//! symbolic link, so that nothing put in the way of a file leads a write elsewhere.

mod full;
mod rewrite;

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, fchmod, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::content::{self, LONGEST, read_sized};
use crate::error::Error;

const FOLDER: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// Without `O_NONBLOCK`, opening a FIFO that stands in a file's place would wait for its other end.
pub(crate) const FILE: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_CLOEXEC).union(OFlag::O_NONBLOCK);
/// The bit of its mode by which a file is known to have lines of others. The kernel gives it no meaning for files (`S_ISVTX`).
pub(crate) const MIXED: u32 = 0o1000;
/// Where a file is prepared before it is renamed. No file name of the registry starts with a dot.
const TEMPORARY: &str = ".new";

/// An open folder.
#[derive(Debug)]
pub struct Folder {
    file: File,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder anywhere, and makes it with those above it where there is none.
    pub fn at_or_create(path: &Path) -> Result<Self, Error> {
        if let Some(folder) = Self::open(path)? {
            return Ok(folder);
        }
        // Whatever the umask: where others could write, they could hand containers mounts and environments.
        let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
        made.map_err(|source| Error::Io { verb: "create folder", path: path.to_owned(), source })?;
        Self::open(path)?.ok_or_else(|| failed("open folder", path, Errno::ENOENT))
    }

    /// Opens a folder; `None` where there is none.
    pub fn open(path: &Path) -> Result<Option<Self>, Error> {
        match open(path, FOLDER, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { file: fd.into(), path: path.to_owned() })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(failed("open folder", path, errno)),
        }
    }

    /// Opens a folder in this one; `None` where there is none.
    pub fn child(&self, name: &str) -> Result<Option<Self>, Error> {
        let path = self.path_of(name)?;
        match openat(&self.file, name, FOLDER, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { file: fd.into(), path })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(failed("open folder", &path, errno)),
        }
    }

    /// Opens a folder in this one and makes it, for its owner alone, where there is none.
    pub fn child_or_create(&self, name: &str) -> Result<Self, Error> {
        if let Some(folder) = self.child(name)? {
            return Ok(folder);
        }
        let path = self.path.join(name);
        match mkdirat(&self.file, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(failed("create folder", &path, errno)),
        }
        self.child(name)?.ok_or_else(|| failed("open folder", &path, Errno::ENOENT))
    }

    /// Where the folder was when it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole content of a regular file; `None` where there is none.
    ///
    /// # Errors
    /// A file that is not a regular one or longer than any of the registry, and what the system calls say.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.read_up_to(name, LONGEST)
    }

    /// As [`Folder::read`], for a file that has no reason to be longer than that many bytes.
    ///
    /// # Errors
    /// As [`Folder::read`], and a longer file.
    pub fn read_up_to(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path_of(name)?;
        let file = match openat(&self.file, name, FILE, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(failed("read", &path, errno)),
        };
        let read = || -> io::Result<Vec<u8>> {
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Err(io::Error::other("not a regular file"));
            }
            read_sized(&file, metadata.size(), most)
        };
        read().map(Some).map_err(|source| Error::Io { verb: "read", path, source })
    }

    /// Writes a file that appears complete or not at all: a temporary one, renamed. Who holds the old file open, or
    /// has it mounted, keeps the old content; [`Folder::rewrite`] is for those.
    ///
    /// # Errors
    /// What the system calls say; the old file is then still there.
    pub fn replace(&self, name: &str, content: &[u8], mode: u32) -> Result<(), Error> {
        let path = self.path_of(name)?;
        let write = || -> io::Result<()> {
            self.create(TEMPORARY, mode)?.write_all(content)?;
            Ok(renameat(&self.file, TEMPORARY, &self.file, name)?)
        };
        write().map_err(|source| {
            // What a full disk left of it must not keep the folder from being removed.
            let _ = self.unlink(TEMPORARY);
            Error::Io { verb: "write", path, source }
        })
    }

    /// Adds to the end of a file, and makes it where there is none.
    pub(crate) fn append(&self, name: &str, content: &[u8], mode: u32) -> Result<(), Error> {
        let path = self.path_of(name)?;
        let flags = FILE | OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND;
        let write = || -> io::Result<()> {
            let fd = openat(&self.file, name, flags, Mode::from_bits_truncate(mode))?;
            if content.is_empty() { Ok(()) } else { File::from(fd).write_all(content) }
        };
        write().map_err(|source| Error::Io { verb: "write", path, source })
    }

    /// When a file was last written to, and whether there is anything in it; `None` where there is none.
    pub(crate) fn modified(&self, name: &str) -> Result<Option<(SystemTime, bool)>, Error> {
        let path = self.path_of(name)?;
        match fstatat(&self.file, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some((content::time(stat.st_mtime, stat.st_mtime_nsec), stat.st_size > 0))),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(failed("read", &path, errno)),
        }
    }

    /// Removes a file; one that is not there counts as removed.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.path_of(name)?;
        self.unlink(name).map_err(|errno| failed("remove", &path, errno))
    }

    /// Removes a folder in this one with all the files in it; one that is not there counts as removed.
    pub fn remove_child(&self, name: &str) -> Result<(), Error> {
        let Some(child) = self.child(name)? else {
            return Ok(());
        };
        for entry in child.entries()? {
            child.unlink(&entry).map_err(|errno| failed("remove", &child.path.join(&entry), errno))?;
        }
        match unlinkat(&self.file, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(failed("remove folder", &child.path, errno)),
        }
    }

    /// Removes a folder in this one where nothing is in it but an unfinished file, and says whether it is gone.
    pub(crate) fn remove_child_if_empty(&self, child: &Self, name: &str) -> bool {
        let rmdir = || unlinkat(&self.file, name, UnlinkatFlags::RemoveDir);
        match rmdir() {
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => {
                let unfinished = unlinkat(&child.file, TEMPORARY, UnlinkatFlags::NoRemoveDir).is_ok();
                unfinished && rmdir().is_ok()
            }
            outcome => matches!(outcome, Ok(()) | Err(Errno::ENOENT)),
        }
    }

    /// The names of what is in the folder, in no order, without `.` and `..`. Names that are not UTF-8 are left out:
    /// the registry makes none.
    pub fn entries(&self) -> Result<Vec<String>, Error> {
        let list = || -> nix::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in Dir::openat(&self.file, ".", FOLDER, Mode::empty())? {
                if let Ok(name) = entry?.file_name().to_str()
                    && name != "."
                    && name != ".."
                {
                    names.push(name.to_owned());
                }
            }
            Ok(names)
        };
        list().map_err(|errno| failed("list folder", &self.path, errno))
    }

    /// The open folder as a file, for its metadata and its lock.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// A new file in the place of whatever has the name. The mode is set apart from the process's umask: a hosts file
    /// must be readable to everybody in the container.
    fn create(&self, name: &str, mode: u32) -> io::Result<File> {
        let flags = FILE | OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let mode = Mode::from_bits_truncate(mode);
        let fd = match openat(&self.file, name, flags, mode) {
            Err(Errno::EEXIST) => {
                self.unlink(name)?;
                openat(&self.file, name, flags, mode)?
            }
            outcome => outcome?,
        };
        fchmod(&fd, mode)?;
        Ok(fd.into())
    }

    /// Refuses names that lead out of the folder, or to an unfinished file.
    pub(crate) fn path_of(&self, name: &str) -> Result<PathBuf, Error> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return Err(Error::FileName { name: name.to_owned() });
        }
        Ok(self.path.join(name))
    }
}

fn failed(verb: &'static str, path: &Path, errno: Errno) -> Error {
    Error::Io { verb, path: path.to_owned(), source: errno.into() }
}

#[cfg(test)]
mod tests;
