//! The connection to the runtime: dialled, or inherited from the runtime that started the plugin.

use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use crate::error::Error;

/// Dials the runtime's socket.
pub(crate) fn to(socket: &Path) -> Result<UnixStream, Error> {
    UnixStream::connect(socket).map_err(|source| Error::Connect { path: socket.to_owned(), source })
}

/// Takes over an open descriptor by its number. A number alone proves nothing to Rust, so the kernel is asked for a
/// duplicate of this process's own descriptor (`pidfd_getfd(2)`, Linux 5.6).
pub(crate) fn inherited(descriptor: i32) -> Result<UnixStream, Error> {
    let duplicate = || {
        let own = pidfd_open(getpid(), PidfdFlags::empty())?;
        pidfd_getfd(own, descriptor, PidfdGetfdFlags::empty())
    };
    match duplicate() {
        Ok(socket) => Ok(UnixStream::from(socket)),
        Err(errno) => Err(Error::Inherit { descriptor, source: errno.into() }),
    }
}
