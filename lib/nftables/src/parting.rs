//! Letting go of a socket without waiting for the kernel to forget what was deleted.
//!
//! Closing a netfilter socket of a namespace in which something has just been deleted takes a grace period, some ten
//! milliseconds: the kernel makes sure that nothing is left on its list (`nft_rcv_nl_event` in
//! `net/netfilter/nf_tables_api.c`), though by then all of it is out of the ruleset. What asked for the deletion has
//! nothing to gain from that, so it leaves the closing to the kernel's collector of files in flight: the socket goes
//! into the queue of a socket pair that nothing but its own queue refers to. Since Linux 6.10 that collector has a
//! thread of its own (`net/unix/garbage.c`); before, it closes at once and the wait is what it was.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};

/// Holds a socket back from being closed until this is dropped, and from then on for as long as the kernel likes.
#[derive(Debug)]
pub(crate) struct Parting {
    /// Its queue has the socket, and itself.
    _far: OwnedFd,
    /// Dropped last: closing it is what calls the collector, for which the other must be in flight only.
    _near: OwnedFd,
}

impl Parting {
    /// Takes a reference to an open file. `None` where the kernel hands over no more files (`RLIMIT_NOFILE` bounds
    /// those in flight): then closing it waits.
    pub(crate) fn from(file: RawFd) -> Option<Self> {
        let (near, far) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).ok()?;
        let files = [file, far.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&files)];
        // Files travel with one byte at least (unix(7)).
        sendmsg::<()>(near.as_raw_fd(), &[IoSlice::new(&[0])], &rights, MsgFlags::MSG_NOSIGNAL, None).ok()?;
        Some(Self { _far: far, _near: near })
    }
}
