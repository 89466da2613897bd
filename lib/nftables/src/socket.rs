//! The netfilter socket, and what became of a batch that was sent on it.

use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use wire::message::{NLMSG_ERROR, messages};
use wire::{Protocol, is_errno};

use crate::closing::{deferred::DeferredClose, keeper};
use crate::{Error, Result};

/// A netfilter socket, of the network namespace that the thread was in when it was opened.
#[derive(Debug)]
pub struct Socket {
    pub(crate) wire: wire::Socket,
    /// Something was deleted, which closing the socket would wait for.
    pub(crate) deleted: bool,
    /// The generation of the ruleset before any question was asked by this socket, until it has been used.
    pub(crate) opened_at: Option<u32>,
    /// Fields are dropped in their order: this one after the socket itself.
    deferred: Option<DeferredClose>,
}

impl Socket {
    /// Opens a socket; it stays with the network namespace of the calling thread.
    pub fn open() -> Result<Self> {
        let wire = wire::Socket::open(Protocol::Netfilter).map_err(|source| Error::Open { source })?;
        Ok(Self { wire, deleted: false, opened_at: None, deferred: None })
    }

    /// What became of the batch whose `count` operations have the sequences after `first`. An error comes with the
    /// distance of its operation from `first`, where 0 stands for the batch itself.
    pub(crate) fn batch_outcome(
        &mut self,
        first: u32,
        count: u32,
    ) -> std::result::Result<(), (u32, io::Error)> {
        let mut failure = None;
        loop {
            let datagram = match self.wire.receive() {
                Ok(datagram) => datagram,
                Err(error) if is_errno(&error, Errno::EAGAIN) => {
                    // All answers are read. Success has one, which ends the loop below.
                    return Err(failure.unwrap_or((0, error)));
                }
                // More errors than the receive buffer holds: the first of them is still queued.
                Err(error) if is_errno(&error, Errno::ENOBUFS) => continue,
                Err(error) => return Err((0, error)),
            };
            for message in messages(datagram).filter(|message| message.kind == NLMSG_ERROR) {
                let distance = message.sequence.wrapping_sub(first);
                match message.outcome() {
                    _ if distance > count => {}
                    Err(error) => failure = failure.or(Some((distance, error.into()))),
                    // The acknowledgement comes last, also after errors of other operations.
                    Ok(()) if distance == count && failure.is_none() => return Ok(()),
                    Ok(()) => {}
                }
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if !keeper::hand_over(self.wire.as_raw_fd()) && self.deleted {
            self.deferred = DeferredClose::of(self.wire.as_raw_fd());
        }
    }
}
