//! The `NETLINK_ROUTE` socket: a request that changes something, a question for one object, and one for many.

use std::fmt::Arguments;
use std::thread::{self, ThreadId};

use wire::message::{NLM_F_ACK, NLM_F_DUMP};
use wire::{Protocol, Writer};

use crate::error::Error;

/// The first datagram of a dump is never larger than this (`NLMSG_GOODSIZE`). With each read the kernel
/// prepares as much of the rest as the reader has room for: a reader that wants no more than the first
/// should have no more room.
const FIRST: usize = 8 * 1024;

/// A `NETLINK_ROUTE` socket. It stays in the network namespace it was opened in, no matter which thread uses it.
pub struct Socket {
    pub(crate) wire: wire::Socket,
    opener: ThreadId,
    is_strict: bool,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, Error> {
        Self::of(wire::Socket::open(Protocol::Route))
    }

    fn of(opened: std::io::Result<wire::Socket>) -> Result<Self, Error> {
        let explained = opened.and_then(|mut wire| wire.explain_errors().map(|()| wire));
        let wire = explained.map_err(|source| Error::io(format_args!("open route socket"), source))?;
        Ok(Self { wire, opener: thread::current().id(), is_strict: false })
    }

    /// Sends a request that changes something, and waits for the acknowledgement.
    pub(crate) fn change(
        &mut self,
        operation: Arguments<'_>,
        kind: u16,
        flags: u16,
        fill: impl FnOnce(&mut Writer),
    ) -> Result<(), Error> {
        self.ask(operation, kind, NLM_F_ACK | flags, fill, |_| false)
    }

    /// Asks for one object.
    pub(crate) fn get<T>(
        &mut self,
        operation: Arguments<'_>,
        kind: u16,
        fill: impl FnOnce(&mut Writer),
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, Error> {
        let mut object = None;
        self.ask(operation, kind, 0, fill, |body| {
            object = parse(body);
            true
        })?;
        object.ok_or_else(|| Error::answered(operation, wire::Error::Malformed("too short")))
    }

    /// Asks for all objects that match the request: what `parse` makes of each message. A table that changed
    /// while it was read is read again.
    pub(crate) fn dump<T, I: IntoIterator<Item = T>>(
        &mut self,
        operation: Arguments<'_>,
        kind: u16,
        fill: impl FnOnce(&mut Writer),
        parse: impl Fn(&[u8]) -> I,
    ) -> Result<Vec<T>, Error> {
        if !self.is_strict {
            self.is_strict = true;
            // Kernels before the option send the whole table, which is why every parser filters again.
            let _ = self.wire.check_strictly();
        }
        let objects = wire::request(kind, NLM_F_DUMP, fill).and_then(|mut request| {
            self.wire.dump(&mut request, |message, objects: &mut Vec<T>| {
                objects.extend(parse(message.payload));
                0
            })
        });
        objects.map_err(|error| Error::answered(operation, error))
    }

    /// Whether a dump has any object that `is_it` accepts.
    ///
    /// Reads no further than the first such object. The rest of the dump stays queued, which makes a socket useless: another
    /// one is opened for it. It is in the same namespace where the thread is the one that opened this socket, as
    /// [`Namespace::enter`](crate::Namespace::enter) never moves its caller. In other threads everything is read instead.
    pub(crate) fn has_any(
        &mut self,
        operation: Arguments<'_>,
        kind: u16,
        fill: impl FnOnce(&mut Writer),
        is_it: impl Fn(&[u8]) -> bool,
    ) -> Result<bool, Error> {
        if self.opener != thread::current().id() {
            let found = self.dump(operation, kind, fill, |body| is_it(body).then_some(()))?;
            return Ok(!found.is_empty());
        }
        let mut other = Self::of(wire::Socket::with_buffer(Protocol::Route, FIRST))?;
        let mut found = false;
        other.ask(operation, kind, NLM_F_DUMP, fill, |body| {
            found = is_it(body);
            found
        })?;
        Ok(found)
    }

    /// Sends one request, and hands the body of each answer to `take` until that returns true.
    pub(crate) fn ask(
        &mut self,
        operation: Arguments<'_>,
        kind: u16,
        flags: u16,
        fill: impl FnOnce(&mut Writer),
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), Error> {
        wire::request(kind, flags, fill)
            .and_then(|mut request| self.wire.ask(&mut request, |message| take(message.payload)))
            .map(drop)
            .map_err(|error| Error::answered(operation, error))
    }
}
