//! Leaves the closing of a socket to the kernel's garbage collector for files in flight: the socket goes into the queue of
//! a socket pair to which nothing but its own queue refers. The process does not wait then; who sends a transaction some
//! milliseconds later may.
//!
//! Since Linux 6.10 that collector has a thread of its own (`net/unix/garbage.c`); before, it closes at once, and the wait
//! is as long as without this.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::send_files;

/// Keeps a socket open until this is dropped. The kernel closes it later.
#[derive(Debug)]
pub(crate) struct DeferredClose {
    /// Its queue has the socket, and itself.
    _far: OwnedFd,
    /// Dropped last: closing it is what calls the collector, for which the other must be in flight only.
    _near: OwnedFd,
}

impl DeferredClose {
    /// Refers to an open file. `None` where the kernel lets no more files be in flight (`RLIMIT_NOFILE` bounds
    /// them): then closing it waits.
    pub(crate) fn of(file: RawFd) -> Option<Self> {
        let (near, far) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).ok()?;
        send_files(&near, &[file, far.as_raw_fd()]).ok()?;
        Some(Self { _far: far, _near: near })
    }
}
