//! The netlink socket: sends a datagram, reads the answers.
//!
//! The kernel handles a netfilter request inside `sendmsg`, so every answer is queued when that returns, and nothing
//! here ever waits.

use std::io;
use std::os::fd::AsRawFd;

use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, setsockopt, sockopt};

use crate::error::is_errno;
use crate::message::{Message, NLMSG_ERROR, messages};
use crate::parting::Parting;
use crate::{Error, Result};

/// A netfilter socket, of the network namespace that the thread was in when it was opened.
#[derive(Debug)]
pub struct Socket {
    inner: netlink_sys::Socket,
    sequence: u32,
    buffer: Vec<u8>,
    /// What a datagram may have for certain; grows on demand.
    send_limit: usize,
    /// Something was deleted, which closing the socket would wait for.
    pub(crate) deleted: bool,
    /// Fields are dropped in their order: this one after the socket itself.
    parting: Option<Parting>,
}

/// The kernel fills up to this much per answer to a dump, where the reader offers it (`netlink_dump`).
const BUFFER: usize = 32 * 1024;
/// Below the least `net.core.wmem_default` in use, so that small batches need no socket option.
const SEND_LIMIT: usize = 128 * 1024;

impl Socket {
    /// Opens a socket; it stays with the network namespace of the calling thread.
    pub fn open() -> Result<Self> {
        let inner = netlink_sys::Socket::new(NETLINK_NETFILTER).map_err(|source| Error::Open { source })?;
        Ok(Self {
            inner,
            sequence: 0,
            buffer: Vec::with_capacity(BUFFER),
            send_limit: SEND_LIMIT,
            deleted: false,
            parting: None,
        })
    }

    /// Reserves `count` sequence numbers in a row and returns the first: answers to anything older are then told from
    /// those to come.
    pub(crate) fn take_sequences(&mut self, count: u32) -> u32 {
        // A range must not wrap: answers are matched by their distance from the first.
        let first = if self.sequence.checked_add(count).is_none() { 0 } else { self.sequence };
        self.sequence = first + count;
        first
    }

    pub(crate) fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        if datagram.len() > self.send_limit {
            self.raise_send_limit(datagram.len())?;
        }
        // An unconnected netlink socket sends to port 0: the kernel.
        self.inner.send(datagram, 0).map(|_| ())
    }

    /// `netlink_sendmsg` refuses datagrams that exceed the send buffer (`EMSGSIZE`).
    fn raise_send_limit(&mut self, length: usize) -> io::Result<()> {
        let wanted = length + 4096;
        // Forcing takes CAP_NET_ADMIN in the initial user namespace; elsewhere net.core.wmem_max is the bound.
        if setsockopt(&self.inner, sockopt::SndBufForce, &wanted).is_err() {
            setsockopt(&self.inner, sockopt::SndBuf, &wanted)?;
        }
        self.send_limit = length;
        Ok(())
    }

    /// Reads one datagram into the buffer; `WouldBlock` where none is queued.
    pub(crate) fn receive(&mut self) -> io::Result<&[u8]> {
        loop {
            self.buffer.clear();
            match self.inner.recv(&mut self.buffer, MsgFlags::MSG_DONTWAIT.bits()) {
                Ok(_) => return Ok(&self.buffer),
                // The answer is still queued. As an error it would pass for a dump that the kernel broke off, and a
                // transaction that was carried out for one that was not.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
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
            let datagram = match self.receive() {
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
                    Err(error) => failure = failure.or(Some((distance, error))),
                    // The acknowledgement comes last, also after errors of other operations.
                    Ok(()) if distance == count && failure.is_none() => return Ok(()),
                    Ok(()) => {}
                }
            }
        }
    }

    /// Sends `datagram`, whose message has the sequence `sequence`, and hands every answer to `each` until it returns
    /// `false`, the kernel says that it is done, or an error comes.
    pub(crate) fn ask(
        &mut self,
        datagram: &[u8],
        sequence: u32,
        mut each: impl FnMut(&Message) -> io::Result<bool>,
    ) -> io::Result<()> {
        self.send(datagram)?;
        while hear(self.receive()?, sequence, &mut each)? {}
        Ok(())
    }
}

/// Hands each answer in a datagram to `each`; whether there is more to come.
pub(crate) fn hear(
    datagram: &[u8],
    sequence: u32,
    each: &mut impl FnMut(&Message) -> io::Result<bool>,
) -> io::Result<bool> {
    for message in messages(datagram).filter(|message| message.sequence == sequence) {
        if message.kind == NLMSG_ERROR {
            return message.outcome().map(|()| false);
        }
        if !each(&message)? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.deleted {
            self.parting = Parting::from(self.inner.as_raw_fd());
        }
    }
}
