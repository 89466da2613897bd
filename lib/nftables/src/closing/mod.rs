//! Closing a netfilter socket so that nobody waits for it.
//!
//! What a transaction deletes is freed after a grace period, some ten milliseconds later. A program that closes a netfilter
//! socket of the network namespace before that waits for it (`nft_rcv_nl_event` in `net/netfilter/nf_tables_api.c`), and
//! with the lock of all transactions in hand: so does everybody else who has one. All of it is out of the ruleset by then,
//! and nobody gains anything by that wait. Whether a deletion is pending cannot be asked.
//!
//! So a socket is closed where that takes no time: by a [`Keeper`], if one is there, once nothing has been deleted for long
//! enough; else, after a deletion, by the kernel a little later ([`deferred`]).

pub(crate) mod deferred;
pub(crate) mod keeper;

use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// Sends open files over a unix socket.
fn send_files(over: &OwnedFd, files: &[RawFd]) -> nix::Result<()> {
    let rights = [ControlMessage::ScmRights(files)];
    // Descriptors are sent with at least one byte (unix(7)).
    sendmsg::<()>(over.as_raw_fd(), &[IoSlice::new(&[0])], &rights, MsgFlags::MSG_NOSIGNAL, None).map(drop)
}
