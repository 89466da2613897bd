//! The process that keeps sockets open until closing them takes no time.
//!
//! One at a time has the name in a network namespace. Any program that is about to close a netfilter socket connects to
//! it and sends the socket (unix(7), `SCM_RIGHTS`); the connection is the place where it is kept. Names of that kind
//! (abstract) belong to the namespace, as the pending deletions do, and go with the process.
//!
//! Any process of the namespace may take the name before, or connect. Sockets are sent to root alone, who could do nothing
//! with them that it cannot do without: netfilter asks what the sender of each message may do, not only who opened the
//! socket. Connections of others count as those of everybody; they keep the process there for longer, up to [`MOST`].

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, getsockopt, listen, socket,
};

use super::send_files;

/// The name in the network namespace.
const NAME: &[u8] = b"cleat/netfilter-sockets";

/// A deletion is over after some ten milliseconds, on a busy machine after twenty. So nothing is pending when no socket has
/// come for as long as this.
const QUIET: Duration = Duration::from_millis(30);

/// How many sockets are kept at most. They come without a pause for as long as containers do.
const MOST: usize = 4096;

/// Has the name.
#[derive(Debug)]
pub struct Keeper {
    listener: UnixListener,
}

impl Keeper {
    /// Takes the name; `None` where another process has it.
    #[must_use]
    pub fn claim() -> Option<Self> {
        let listener = new_socket().ok()?;
        bind(listener.as_raw_fd(), &UnixAddr::new_abstract(NAME).ok()?).ok()?;
        listen(&listener, Backlog::MAXALLOWABLE).ok()?;
        Some(Self { listener: listener.into() })
    }

    /// Keeps what is sent open, and returns when nothing has been sent for a while.
    pub fn keep(self) {
        let mut kept = Vec::new();
        let mut before = None;
        // Taking in fails where this process can have no more files open.
        while self.take_in(&mut kept).is_ok() && kept.len() < MOST && before != Some(kept.len()) {
            before = Some(kept.len());
            thread::sleep(QUIET);
        }
        // Before the sockets, so that nobody sends one meanwhile.
        drop(self.listener);
    }

    /// Takes in what has been sent so far.
    fn take_in(&self, kept: &mut Vec<UnixStream>) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((connection, _)) => kept.push(connection),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Sends an open file to the keeper. Returns whether there is one: then closing the file here does not close it.
pub(crate) fn hand_over(file: RawFd) -> bool {
    send(file).is_some()
}

fn send(file: RawFd) -> Option<()> {
    let near = new_socket().ok()?;
    connect(near.as_raw_fd(), &UnixAddr::new_abstract(NAME).ok()?).ok()?;
    if getsockopt(&near, PeerCredentials).ok()?.uid() != 0 {
        return None;
    }
    send_files(&near, &[file]).ok()
}

/// A socket that waits for nobody: neither for who listens, nor for who connects.
fn new_socket() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(AddressFamily::Unix, SockType::Stream, flags, None)
}
