//! Network namespaces: opening, comparing, entering and locking them.
//!
//! This is the only place that enters a namespace. Nothing that fails or panics inside can leave the caller somewhere
//! else.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{panic, process, thread};

use nix::errno::Errno;
use nix::libc::O_NONBLOCK;
use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

use crate::error::Error;
use crate::socket::Socket;

/// The calling thread's own namespace.
const CURRENT: &str = "/proc/thread-self/ns/net";
/// How long to wait before a lock, or the way back, is tried again.
const PAUSE: Duration = Duration::from_millis(1);
/// How often the way back into the caller's namespace is tried.
const RETURN_ATTEMPTS: usize = 100;

/// An open network namespace. It exists as long as this does, even if its name is removed.
#[derive(Debug)]
pub struct Namespace {
    file: File,
}

/// A lock on a network namespace, held until it is dropped or the process ends.
#[derive(Debug)]
#[must_use = "the lock is released at once unless it is kept"]
pub struct NamespaceLock {
    _file: File,
}

impl Namespace {
    /// Opens the namespace that a path such as `/run/netns/a` or `/proc/17/ns/net` leads to. Fails with
    /// [`Error::NotNamespace`] where that is any other file. Another kind of namespace is noticed when it is
    /// used.
    pub fn open(path: &Path) -> Result<Self, Error> {
        // The namespace of a process is refused to a caller with fewer capabilities (ptrace(2), PTRACE_MODE_READ).
        let failed = |source| {
            Error::privileged(
                format_args!("open network namespace {}", path.display()),
                "CAP_SYS_PTRACE",
                source,
            )
        };
        // The path may lead to a FIFO: opening it must not wait. std sets O_CLOEXEC.
        let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path).map_err(failed)?;
        let system = fstatfs(&file).map_err(|errno| failed(errno.into()))?;
        if system.filesystem_type() != NSFS_MAGIC {
            return Err(Error::NotNamespace { path: path.to_owned() });
        }
        Ok(Self { file })
    }

    /// As [`open`](Self::open), for a namespace that may have gone: `None` where the path leads to none, and a retry would
    /// not help. A lack of descriptors, memory or rights is an error.
    pub fn open_if_present(path: &Path) -> Result<Option<Self>, Error> {
        const REASONS: [Errno; 6] =
            [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::EIO, Errno::EACCES, Errno::EPERM];
        match Self::open(path) {
            Ok(namespace) => Ok(Some(namespace)),
            Err(error) if REASONS.iter().any(|&errno| error.is(errno)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// The calling thread's namespace.
    pub fn current() -> Result<Self, Error> {
        Self::open(Path::new(CURRENT))
    }

    /// Whether this is the calling thread's namespace.
    pub fn is_current(&self) -> Result<bool, Error> {
        Ok(self.identity()? == Self::current()?.identity()?)
    }

    /// Runs `f` inside the namespace; afterwards the caller is where it was, also if `f` panics. Needs `CAP_SYS_ADMIN`
    /// over the namespace.
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, Error> {
        // A thread costs a tenth of a millisecond, but needs no way back: who may enter a container's namespace need not
        // be allowed to enter the present one.
        match Self::current().and_then(|home| home.set().map(|()| home)) {
            Ok(home) => {
                let home = Home(home);
                self.set()?;
                let outcome = f();
                drop(home);
                Ok(outcome)
            }
            Err(_) => self.enter_by_thread(f),
        }
    }

    fn enter_by_thread<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, Error> {
        thread::scope(|scope| {
            let thread = thread::Builder::new()
                .spawn_scoped(scope, || self.set().map(|()| f()))
                .map_err(|source| Error::io(format_args!("start thread for network namespace"), source))?;
            thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
        })
    }

    /// Moves the calling thread.
    fn set(&self) -> Result<(), Error> {
        #[allow(
            clippy::disallowed_methods,
            reason = "the one place, from which every thread goes back or ends"
        )]
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(|errno| {
            Error::privileged(format_args!("enter network namespace"), "CAP_SYS_ADMIN", errno.into())
        })
    }

    /// Opens a route socket inside the namespace, for use from any thread.
    pub fn socket(&self) -> Result<Socket, Error> {
        self.enter(Socket::open)?
    }

    /// Takes the shared lock, if it can be had within `patience`; `None` if not.
    ///
    /// The lock is an flock(2) on the namespace itself, so it leaves no file behind, and it is kept apart
    /// from every other lock on the same `Namespace`. Any process in the namespace can take it, privileged or
    /// not: a caller must never wait for it without a limit.
    pub fn lock_shared(&self, patience: Duration) -> Result<Option<NamespaceLock>, Error> {
        let start = Instant::now();
        loop {
            let lock = self.try_lock(File::try_lock_shared)?;
            if lock.is_some() || start.elapsed() >= patience {
                return Ok(lock);
            }
            thread::sleep(PAUSE);
        }
    }

    /// Takes the exclusive lock; `None` where another process holds a lock of either kind.
    pub fn try_lock_exclusive(&self) -> Result<Option<NamespaceLock>, Error> {
        self.try_lock(File::try_lock)
    }

    fn try_lock(&self, lock: fn(&File) -> Result<(), TryLockError>) -> Result<Option<NamespaceLock>, Error> {
        let failed = |source| Error::io(format_args!("lock network namespace"), source);
        // Locks belong to the open file description: opened again, it has one of its own.
        let file = File::open(format!("/proc/self/fd/{}", self.file.as_raw_fd())).map_err(failed)?;
        match lock(&file) {
            Ok(()) => Ok(Some(NamespaceLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// What identifies a namespace (namespaces(7)): device and inode of its file.
    pub(crate) fn identity(&self) -> Result<(u64, u64), Error> {
        let status = self
            .file
            .metadata()
            .map_err(|source| Error::io(format_args!("inspect network namespace"), source))?;
        Ok((status.dev(), status.ino()))
    }
}

/// Moves the calling thread back when it is dropped.
struct Home(Namespace);

impl Drop for Home {
    fn drop(&mut self) {
        // It may be entered, so this fails for want of memory alone.
        for _ in 0..RETURN_ATTEMPTS {
            if self.0.set().is_ok() {
                return;
            }
            thread::sleep(PAUSE);
        }
        // Whatever went on would change the container instead of the host. As with a kill, DEL removes what there is.
        process::abort();
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
