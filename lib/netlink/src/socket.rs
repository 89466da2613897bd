//! The `NETLINK_ROUTE` socket: requests go out one at a time, and each is answered in full before the next.
//!
//! It refuses to guess: an answer to another request, or one that did not come from the kernel, is passed
//! over; one that lies about its length, or that did not fit, is an error.

use std::fmt::Arguments;
use std::io;
use std::thread::{self, ThreadId};

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_ECHO, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NLMSG_NOOP, NLMSG_OVERRUN,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket as RawSocket, SocketAddr};
use nix::errno::Errno;
use nix::libc::MSG_TRUNC;

use crate::error::Error;
use crate::message::{self, Message};

/// The kernel never makes a datagram of a dump larger than this (`netlink_recvmsg` in `af_netlink.c`).
const BUFFER: usize = 32 * 1024;
/// The first datagram of a dump is never larger than this (`NLMSG_GOODSIZE`). With each read the kernel
/// prepares as much of the rest as the reader has room for, so that who wants no more than the first should
/// not have more room.
const FIRST: usize = 8 * 1024;
/// A table that changes this often while it is read is given up.
const DUMP_ATTEMPTS: usize = 16;
/// The kernel's own port.
const KERNEL: u32 = 0;

/// A `NETLINK_ROUTE` socket. It stays in the network namespace it was opened in, whichever thread uses it.
pub struct Socket {
    raw: RawSocket,
    opener: ThreadId,
    sequence: u32,
    strict: bool,
    buffer: Vec<u8>,
}

/// What is done with each message of an answer. True ends the answer, which otherwise goes on until the
/// kernel's acknowledgement or the end of the dump.
pub(crate) type Take<'a> = &'a mut dyn FnMut(&[u8]) -> bool;

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, Error> {
        Self::with_buffer(BUFFER)
    }

    fn with_buffer(capacity: usize) -> Result<Self, Error> {
        let open = || {
            // Not bound: the kernel gives it a port of its own with the first message.
            let raw = RawSocket::new(NETLINK_ROUTE)?;
            raw.set_ext_ack(true)?;
            Ok(raw)
        };
        let raw = open().map_err(|source| Error::io(format_args!("open route socket"), source))?;
        Ok(Self {
            raw,
            opener: thread::current().id(),
            sequence: 0,
            strict: false,
            buffer: Vec::with_capacity(capacity),
        })
    }

    /// Another socket in the same namespace, for [`any`](Self::any), if that can be had without entering it:
    /// the thread that opened this one is still where it was then, as
    /// [`Namespace::enter`](crate::Namespace::enter) never moves its caller.
    pub(crate) fn sibling(&self) -> Result<Option<Self>, Error> {
        if self.opener == thread::current().id() { Self::with_buffer(FIRST).map(Some) } else { Ok(None) }
    }

    /// Sends a request that changes something, and waits for the acknowledgement.
    pub(crate) fn change(
        &mut self,
        operation: Arguments<'_>,
        kind: u16,
        flags: u16,
        body: &impl Emitable,
    ) -> Result<(), Error> {
        self.send(operation, kind, NLM_F_ACK | flags, body)?;
        self.replies(operation, &mut |_| false).map(drop)
    }

    /// As [`change`](Self::change), for a request whose outcome the kernel is asked to echo (`NLM_F_ECHO`):
    /// what `parse` makes of the echo, or `None` from a kernel that does not do this.
    pub(crate) fn change_echoed<T>(
        &mut self,
        operation: Arguments<'_>,
        kind: u16,
        flags: u16,
        body: &impl Emitable,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        self.send(operation, kind, NLM_F_ACK | NLM_F_ECHO | flags, body)?;
        let mut echo = None;
        self.replies(operation, &mut |body| {
            echo = echo.take().or_else(|| parse(body));
            false
        })?;
        Ok(echo)
    }

    /// Asks for one object.
    pub(crate) fn get<T>(
        &mut self,
        operation: Arguments<'_>,
        kind: u16,
        body: &impl Emitable,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, Error> {
        self.send(operation, kind, 0, body)?;
        let mut object = None;
        self.replies(operation, &mut |body| {
            object = parse(body);
            true
        })?;
        object.ok_or_else(|| malformed(operation, "too short"))
    }

    /// Asks for all objects that match the request: whatever `parse` makes of each message, if anything. A
    /// table that changed while it was read is read again.
    pub(crate) fn dump<T, I: IntoIterator<Item = T>>(
        &mut self,
        operation: Arguments<'_>,
        kind: u16,
        body: &impl Emitable,
        parse: impl Fn(&[u8]) -> I,
    ) -> Result<Vec<T>, Error> {
        self.check_strictly();
        for _ in 0..DUMP_ATTEMPTS {
            self.send(operation, kind, NLM_F_DUMP, body)?;
            let mut objects = Vec::new();
            let whole = self.replies(operation, &mut |body| {
                objects.extend(parse(body));
                false
            })?;
            if whole {
                return Ok(objects);
            }
        }
        Err(Error::Interrupted { operation: operation.to_string() })
    }

    /// Whether a dump has any object that `parse` accepts, reading no further than the first such object. The
    /// socket is used up, because the rest of the dump is still queued on it.
    pub(crate) fn any<T>(
        mut self,
        operation: Arguments<'_>,
        kind: u16,
        body: &impl Emitable,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<bool, Error> {
        self.send(operation, kind, NLM_F_DUMP, body)?;
        let mut found = false;
        self.replies(operation, &mut |body| {
            found = parse(body).is_some();
            found
        })?;
        Ok(found)
    }

    /// Makes the kernel heed the filters in the requests for dumps (`NETLINK_GET_STRICT_CHK`, Linux 4.20).
    /// Before that it sends the whole table, which is why every parser filters again.
    fn check_strictly(&mut self) {
        if !self.strict {
            self.strict = true;
            let _ = self.raw.set_netlink_get_strict_chk(true);
        }
    }

    fn send(
        &mut self,
        operation: Arguments<'_>,
        kind: u16,
        flags: u16,
        body: &impl Emitable,
    ) -> Result<(), Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = message::request(kind, NLM_F_REQUEST | flags, self.sequence, body);
        let address = SocketAddr::new(KERNEL, 0);
        uninterrupted(|| self.raw.send_to(&request, &address, 0))
            .map(drop)
            .map_err(|source| Error::io(operation, source))
    }

    /// Hands each message that answers the last request to `take`. False where the kernel says that the table
    /// changed in the meantime.
    fn replies(&mut self, operation: Arguments<'_>, take: Take<'_>) -> Result<bool, Error> {
        let mut whole = true;
        loop {
            self.receive(operation)?;
            if hear(operation, &self.buffer, self.sequence, &mut whole, take)? {
                return Ok(whole);
            }
        }
    }

    /// Fills the buffer with the next datagram from the kernel.
    fn receive(&mut self, operation: Arguments<'_>) -> Result<(), Error> {
        loop {
            self.buffer.clear();
            let (length, sender) = uninterrupted(|| self.raw.recv_from(&mut self.buffer, MSG_TRUNC))
                .map_err(|source| Error::io(operation, source))?;
            // Any process may send to a netlink port that it guesses.
            if sender.port_number() != KERNEL {
                continue;
            }
            if length > self.buffer.len() {
                return Err(malformed(operation, "larger than the buffer"));
            }
            return Ok(());
        }
    }
}

/// Hands each message of a datagram that answers the request of this sequence to `take`; whether that was all.
pub(crate) fn hear(
    operation: Arguments<'_>,
    datagram: &[u8],
    sequence: u32,
    whole: &mut bool,
    take: Take<'_>,
) -> Result<bool, Error> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = Message::split(&mut rest).ok_or_else(|| malformed(operation, "wrong length"))?;
        if message.sequence != sequence {
            continue;
        }
        *whole &= message.flags & NLM_F_DUMP_INTR == 0;
        match message.kind {
            NLMSG_NOOP => {}
            NLMSG_OVERRUN => return Err(malformed(operation, "data lost")),
            NLMSG_ERROR | NLMSG_DONE => return end(operation, &message).map(|()| true),
            _ => {
                if take(message.body) {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

/// What the last message of an exchange says.
fn end(operation: Arguments<'_>, message: &Message<'_>) -> Result<(), Error> {
    match message.errno() {
        Some(0) => Ok(()),
        Some(number) => {
            let (source, reason) = (io::Error::from_raw_os_error(number), message.reason());
            // The check of the capability comes before all others and says no word.
            if number == Errno::EPERM as i32 && reason.is_none() {
                return Err(Error::privileged(operation, "CAP_NET_ADMIN", source));
            }
            Err(Error::Kernel { operation: operation.to_string(), source, reason })
        }
        None => Err(malformed(operation, "no error number")),
    }
}

fn malformed(operation: Arguments<'_>, reason: &'static str) -> Error {
    Error::Reply { operation: operation.to_string(), reason }
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
