//! The socket: requests go out one at a time, and each is answered in full before the next.
//!
//! The kernel handles a request inside `sendto`, and the next part of a dump inside `recvfrom`: an
//! answer is queued when the call before it returns, and nothing here ever waits.
//!
//! Nothing is guessed. A message that answers another request, or did not come from the kernel, is skipped; one with a
//! wrong length, or that did not fit into the buffer, is an error.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use netlink_sys::{Socket as RawSocket, protocols};
use nix::libc::{MSG_DONTWAIT, MSG_TRUNC};
use nix::sys::socket::{setsockopt, sockopt};

use crate::error::Error;
use crate::message::{self, Message, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN};

/// The kernel never makes a datagram of a dump larger than this (`netlink_recvmsg` in `af_netlink.c`).
const BUFFER: usize = 32 * 1024;
/// Below the least `net.core.wmem_default` in use, so that small requests need no socket option.
const SEND_LIMIT: usize = 128 * 1024;
/// How often a table is read again that changes while it is read.
const DUMP_ATTEMPTS: usize = 16;
/// The kernel's own port.
const KERNEL: u32 = 0;

/// Which part of the kernel a socket talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Links, addresses, routes.
    Route = protocols::NETLINK_ROUTE,
    /// `nf_tables`, connection tracking.
    Netfilter = protocols::NETLINK_NETFILTER,
}

/// A netlink socket. It stays in the network namespace it was opened in, no matter which thread uses it.
#[derive(Debug)]
pub struct Socket {
    raw: RawSocket,
    sequence: u32,
    buffer: Vec<u8>,
    /// The longest datagram that the send buffer is known to hold.
    send_limit: usize,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// What socket(2) says.
    pub fn open(protocol: Protocol) -> io::Result<Self> {
        Self::with_buffer(protocol, BUFFER)
    }

    /// As [`open`](Self::open), with room for datagrams of `capacity` bytes. With each part of a dump the kernel prepares as
    /// much of the next as the reader has room for.
    ///
    /// # Errors
    /// What socket(2) says.
    pub fn with_buffer(protocol: Protocol, capacity: usize) -> io::Result<Self> {
        // Not bound: the kernel gives it a port of its own with the first message.
        let raw = RawSocket::new(protocol as isize)?;
        Ok(Self { raw, sequence: 0, buffer: Vec::with_capacity(capacity), send_limit: SEND_LIMIT })
    }

    /// Asks the kernel to explain its errors (`NETLINK_EXT_ACK`, Linux 4.12).
    ///
    /// # Errors
    /// What setsockopt(2) says.
    pub fn explain_errors(&mut self) -> io::Result<()> {
        self.raw.set_ext_ack(true)
    }

    /// Asks the kernel to follow the filters in requests for dumps (`NETLINK_GET_STRICT_CHK`, Linux 4.20).
    ///
    /// # Errors
    /// What setsockopt(2) says.
    pub fn check_strictly(&mut self) -> io::Result<()> {
        self.raw.set_netlink_get_strict_chk(true)
    }

    /// Reserves `count` sequence numbers in a row and returns the first. Answers to earlier requests have lower ones.
    pub fn take_sequences(&mut self, count: u32) -> u32 {
        // A range must not wrap: answers are matched by their distance from the first.
        let first = if self.sequence.checked_add(count).is_none() { 0 } else { self.sequence };
        self.sequence = first + count;
        first
    }

    /// Sends a datagram to the kernel.
    ///
    /// # Errors
    /// What sendto(2) says; `EMSGSIZE` or `EPERM` where the send buffer cannot be made large enough.
    pub fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        if datagram.len() > self.send_limit {
            self.raise_send_limit(datagram.len())?;
        }
        // An unconnected netlink socket sends to port 0: the kernel.
        uninterrupted(|| self.raw.send(datagram, 0)).map(drop)
    }

    /// `netlink_sendmsg` refuses datagrams that exceed the send buffer (`EMSGSIZE`).
    fn raise_send_limit(&mut self, length: usize) -> io::Result<()> {
        let wanted = length + 4096;
        // Forcing takes CAP_NET_ADMIN in the initial user namespace; elsewhere net.core.wmem_max is the bound.
        if setsockopt(&self.raw, sockopt::SndBufForce, &wanted).is_err() {
            setsockopt(&self.raw, sockopt::SndBuf, &wanted)?;
        }
        self.send_limit = length;
        Ok(())
    }

    /// The next datagram from the kernel. Its end is missing where it did not fit into the buffer.
    ///
    /// # Errors
    /// `EAGAIN` where none is queued, `ENOBUFS` where the kernel could not queue one, and what else recvfrom(2) says.
    pub fn receive(&mut self) -> io::Result<&[u8]> {
        self.fill_buffer()?;
        Ok(&self.buffer)
    }

    /// Reads a datagram into the buffer, and says how long it was.
    fn fill_buffer(&mut self) -> io::Result<usize> {
        loop {
            // An interrupted call leaves the answer queued. As an error it would pass for a dump that the kernel broke
            // off, and a transaction that was carried out for one that was not.
            let (length, sender) = uninterrupted(|| {
                self.buffer.clear();
                self.raw.recv_from(&mut self.buffer, MSG_DONTWAIT | MSG_TRUNC)
            })?;
            // A privileged process may send to a netlink port that it guesses.
            if sender.port_number() == KERNEL {
                return Ok(length);
            }
        }
    }

    /// Numbers and sends `request`, and hands each message that answers it to `take` until that returns true, or until the
    /// kernel's acknowledgement or the end of the dump. False where the kernel says that a table changed while it was read.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn ask(
        &mut self,
        request: &mut [u8],
        mut take: impl FnMut(&Message<'_>) -> bool,
    ) -> Result<bool, Error> {
        let sequence = self.take_sequences(1);
        message::set_sequence(request, sequence);
        self.send(request).map_err(Error::Io)?;
        let mut is_whole = true;
        loop {
            if self.fill_buffer().map_err(Error::Io)? > self.buffer.len() {
                return Err(Error::Malformed("larger than the buffer"));
            }
            if answers(&self.buffer, sequence, &mut is_whole, &mut take)? {
                return Ok(is_whole);
            }
        }
    }

    /// Asks for all objects: what `read` adds for each message. All is read again where the kernel says that it changed
    /// in between, and where `read` does not return the same for all messages: the generation of the table, if it has one.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Interrupted`] after 16 attempts.
    pub fn dump<T>(
        &mut self,
        request: &mut [u8],
        mut read: impl FnMut(&Message<'_>, &mut Vec<T>) -> u16,
    ) -> Result<Vec<T>, Error> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut objects = Vec::new();
            let mut generation = None;
            let mut is_one_generation = true;
            let is_whole = self.ask(request, |message| {
                let found = read(message, &mut objects);
                is_one_generation &= *generation.get_or_insert(found) == found;
                false
            })?;
            if is_whole && is_one_generation {
                return Ok(objects);
            }
        }
        Err(Error::Interrupted)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.raw.as_raw_fd()
    }
}

/// Hands each message of a recorded datagram, which answers one request, to `take`.
///
/// # Errors
/// [`Error::Malformed`] where lengths do not fit, and the error that the kernel answered.
pub fn recorded(datagram: &[u8], mut take: impl FnMut(&Message<'_>)) -> Result<(), Error> {
    let sequence = Message::split(&mut { datagram }).map_or(0, |message| message.sequence);
    let take = |message: &Message<'_>| {
        take(message);
        false
    };
    answers(datagram, sequence, &mut true, take).map(drop)
}

/// Hands each message of a datagram that answers the request of this sequence to `take`. Says whether that was all.
fn answers(
    datagram: &[u8],
    sequence: u32,
    is_whole: &mut bool,
    mut take: impl FnMut(&Message<'_>) -> bool,
) -> Result<bool, Error> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = Message::split(&mut rest).filter(|message| !message.is_cut);
        let message = message.ok_or(Error::Malformed("wrong length"))?;
        if message.sequence != sequence {
            continue;
        }
        *is_whole &= message.flags & NLM_F_DUMP_INTR == 0;
        match message.kind {
            NLMSG_NOOP => {}
            NLMSG_OVERRUN => return Err(Error::Malformed("data lost")),
            NLMSG_ERROR | NLMSG_DONE => return message.outcome().map(|()| true),
            _ if take(&message) => return Ok(true),
            _ => {}
        }
    }
    Ok(false)
}

/// Repeats a system call that a signal interrupted.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
