//! Opening a folder, and what can be done with the files in it, but for reading them.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, fchmod, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use crate::error::Error;

const FOLDER: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// How every file is opened. Without `O_NONBLOCK`, opening a FIFO that stands in a file's place would wait for its other end.
pub const FILE: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_CLOEXEC).union(OFlag::O_NONBLOCK);
/// The mode of files for their owner alone: environments may hold secrets, and a lock is held by any process that can open it.
pub const PRIVATE: u32 = 0o600;
/// Where [`Folder::replace`] prepares a file.
const TEMPORARY: &str = ".new";

/// An open folder.
#[derive(Debug)]
pub struct Folder {
    file: File,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder, which may be no symbolic link; `None` where there is none.
    pub fn open(path: &Path) -> Result<Option<Self>, Error> {
        match open(path, FOLDER, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { file: fd.into(), path: path.to_owned() })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(Error::new("open folder", path, errno)),
        }
    }

    /// Opens a folder. Where there is none it is made with that mode, and those above it for others to read.
    pub fn at_or_create(path: &Path, mode: u32) -> Result<Self, Error> {
        if let Some(folder) = Self::open(path)? {
            return Ok(folder);
        }
        // Whatever the umask: where others could write, they could hand containers mounts and environments.
        let make = |path: &Path, mode| DirBuilder::new().recursive(true).mode(mode).create(path);
        let parents = path.parent().map_or(Ok(()), |parent| make(parent, 0o755));
        parents
            .and_then(|()| make(path, mode))
            .map_err(|source| Error::new("create folder", path, source))?;
        Self::open(path)?.ok_or_else(|| Error::new("open folder", path, Errno::ENOENT))
    }

    /// Opens a folder in this one; `None` where there is none.
    pub fn child(&self, name: &str) -> Result<Option<Self>, Error> {
        let opened = self.find("open folder", name, || openat(&self.file, name, FOLDER, Mode::empty()));
        Ok(opened?.map(|fd| Self { file: fd.into(), path: self.path.join(name) }))
    }

    /// Opens a folder in this one and makes it, for its owner alone, where there is none.
    pub fn child_or_create(&self, name: &str) -> Result<Self, Error> {
        if let Some(folder) = self.child(name)? {
            return Ok(folder);
        }
        match mkdirat(&self.file, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(self.failed("create folder", name, errno)),
        }
        self.child(name)?.ok_or_else(|| self.failed("open folder", name, Errno::ENOENT))
    }

    /// Where the folder was when it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open folder as a file, for its metadata and its lock.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The path of a file in the folder. Names that lead out of it, or to an unfinished file, are refused.
    pub fn path_of(&self, name: &str) -> Result<PathBuf, Error> {
        if ["", ".", "..", TEMPORARY].contains(&name) || name.contains(['/', '\0']) {
            let reason = "it is empty, ., .. or .new, or contains '/' or NUL";
            let source = io::Error::new(io::ErrorKind::InvalidFilename, reason);
            return Err(Error::new("use the file name", name, source));
        }
        Ok(self.path.join(name))
    }

    pub(crate) fn failed(&self, verb: &'static str, name: &str, cause: impl Into<io::Error>) -> Error {
        Error::new(verb, self.path.join(name), cause)
    }

    /// A system call on a file in the folder.
    fn call<T>(
        &self,
        verb: &'static str,
        name: &str,
        call: impl FnOnce() -> nix::Result<T>,
    ) -> Result<T, Error> {
        let path = self.path_of(name)?;
        call().map_err(|errno| Error::new(verb, path, errno))
    }

    /// The same; `None` where there is no such file.
    fn find<T>(
        &self,
        verb: &'static str,
        name: &str,
        call: impl FnOnce() -> nix::Result<T>,
    ) -> Result<Option<T>, Error> {
        match self.call(verb, name, call) {
            Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Opens a file; `None` where there is none. One that `O_CREAT` makes is for its owner alone.
    pub fn open_file(&self, name: &str, flags: OFlag) -> Result<Option<File>, Error> {
        let open = || openat(&self.file, name, FILE | flags, Mode::S_IRUSR | Mode::S_IWUSR);
        let opened = if flags.contains(OFlag::O_CREAT) {
            self.call("open", name, open).map(Some)
        } else {
            self.find("open", name, open)
        };
        Ok(opened?.map(File::from))
    }

    /// Makes a file with content. What a killed process left under the name is replaced, never written into: it may be a
    /// second name of another file. Where the content cannot be written, the file goes again.
    ///
    /// Mode bits for others are set whatever the process's umask: a hosts file must be readable to everybody in the container.
    pub fn create(&self, name: &str, content: &[u8], mode: u32) -> Result<(), Error> {
        let flags = FILE | OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let bits = Mode::from_bits_truncate(mode);
        let open = || openat(&self.file, name, flags, bits);
        let opened = match open() {
            Err(Errno::EEXIST) => self.unlink_or_rmdir(name).and_then(|()| open()),
            outcome => outcome,
        };
        let mut file = File::from(opened.map_err(|errno| self.failed("create", name, errno))?);
        let is_private = !bits.intersects(Mode::S_IRWXG | Mode::S_IRWXO);
        let for_others = if is_private { Ok(()) } else { fchmod(&file, bits) };
        for_others.map_err(io::Error::from).and_then(|()| file.write_all(content)).map_err(|source| {
            // What a full disk left of it must not keep the folder from being removed.
            let _ = self.unlink_or_rmdir(name);
            self.failed("write", name, source)
        })
    }

    /// Writes a file that appears complete or not at all: a temporary one, renamed. Who holds the old file open, or has it
    /// mounted, keeps the old content.
    ///
    /// # Errors
    /// What the system calls say; the old file is then still there.
    pub fn replace(&self, name: &str, content: &[u8], mode: u32) -> Result<(), Error> {
        self.replace_by(TEMPORARY, name, content, mode)
    }

    /// As [`Folder::replace`], with the name of the temporary file.
    pub fn replace_by(&self, temporary: &str, name: &str, content: &[u8], mode: u32) -> Result<(), Error> {
        let path = self.path_of(name)?;
        let written = self.create(temporary, content, mode).map_err(|error| error.source);
        let renamed = written.and_then(|()| Ok(renameat(&self.file, temporary, &self.file, name)?));
        renamed.map_err(|source| {
            let _ = self.unlink_or_rmdir(temporary);
            Error::new("write", path, source)
        })
    }

    /// Adds to the end of a file, and makes it where there is none.
    pub fn append(&self, name: &str, content: &[u8], mode: u32) -> Result<(), Error> {
        let path = self.path_of(name)?;
        let flags = FILE | OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND;
        let opened = openat(&self.file, name, flags, Mode::from_bits_truncate(mode));
        let write = opened.map_err(io::Error::from).and_then(|fd| File::from(fd).write_all(content));
        write.map_err(|source| Error::new("write", path, source))
    }

    /// What the kernel says of a file; `None` where there is none.
    pub fn stat(&self, name: &str) -> Result<Option<FileStat>, Error> {
        self.find("look at", name, || fstatat(&self.file, name, AtFlags::AT_SYMLINK_NOFOLLOW))
    }

    /// Gives a file a second name, which must be free.
    pub fn link(&self, from: &str, to: &str) -> Result<(), Error> {
        self.call("create", to, || linkat(&self.file, from, &self.file, to, AtFlags::empty()))
    }

    /// Makes a symbolic link.
    pub fn symlink(&self, target: &str, name: &str) -> Result<(), Error> {
        self.call("create", name, || symlinkat(target, &self.file, name))
    }

    /// Where a symbolic link points; `None` where there is none.
    pub fn read_link(&self, name: &str) -> Result<Option<String>, Error> {
        let target = || match readlinkat(&self.file, name) {
            Err(Errno::EINVAL) => Err(Errno::ENOENT),
            target => target,
        };
        Ok(self.find("read link", name, target)?.map(|target| target.to_string_lossy().into_owned()))
    }

    /// Removes a file, and says whether it was there. A folder of that name stays.
    pub fn unlink(&self, name: &str) -> Result<bool, Error> {
        self.call("remove", name, || match unlinkat(&self.file, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::ENOENT | Errno::EISDIR) => Ok(false),
            outcome => outcome.map(|()| true),
        })
    }

    /// Removes a file, or an empty folder in its place; what is not there counts as removed.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.call("remove", name, || self.unlink_or_rmdir(name))
    }

    /// Runtimes make an empty folder where they are to mount a file that is not there.
    fn unlink_or_rmdir(&self, name: &str) -> nix::Result<()> {
        match unlinkat(&self.file, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::ENOENT) => Ok(()),
            Err(Errno::EISDIR) => unlinkat(&self.file, name, UnlinkatFlags::RemoveDir),
            outcome => outcome,
        }
    }

    /// Removes a folder in this one with all the files in it; one that is not there counts as removed.
    pub fn remove_child(&self, name: &str) -> Result<(), Error> {
        let Some(child) = self.child(name)? else {
            return Ok(());
        };
        for entry in child.entries()? {
            child.unlink_or_rmdir(&entry).map_err(|errno| child.failed("remove", &entry, errno))?;
        }
        match unlinkat(&self.file, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(self.failed("remove folder", name, errno)),
        }
    }

    /// Removes a folder in this one where nothing is in it but an unfinished file, and says whether it is gone.
    #[must_use]
    pub fn remove_child_if_empty(&self, child: &Self, name: &str) -> bool {
        let rmdir = || unlinkat(&self.file, name, UnlinkatFlags::RemoveDir);
        match rmdir() {
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => {
                unlinkat(&child.file, TEMPORARY, UnlinkatFlags::NoRemoveDir).is_ok() && rmdir().is_ok()
            }
            outcome => matches!(outcome, Ok(()) | Err(Errno::ENOENT)),
        }
    }

    /// Hands every name of the folder but `.` and `..` to `visit`, in no order. Names that are not UTF-8 are left out: nothing
    /// here makes any.
    pub fn for_each_name(&self, mut visit: impl FnMut(&str)) -> Result<(), Error> {
        let failed = |errno| Error::new("list folder", &self.path, errno);
        for entry in Dir::openat(&self.file, ".", FOLDER, Mode::empty()).map_err(failed)?.iter() {
            match entry.map_err(failed)?.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => visit(name),
            }
        }
        Ok(())
    }

    /// The names of what is in the folder, as [`Folder::for_each_name`] hands them out.
    pub fn entries(&self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        self.for_each_name(|name| names.push(name.to_owned()))?;
        Ok(names)
    }
}

#[cfg(test)]
mod tests;
