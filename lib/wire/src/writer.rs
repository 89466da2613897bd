//! Writing messages and attributes into a growing buffer.
//!
//! The writer refuses what the format cannot hold. A length is 16 bits wide and a string ends at its first NUL, so
//! both could otherwise change the meaning of a message without an error. The first such fault is kept until the
//! message is complete.

use std::io;
use std::net::IpAddr;

use crate::attribute::NESTED;
use crate::error::Error;
use crate::message::{self, NLM_F_REQUEST};

/// A request as a datagram of its own, to be numbered as it is sent.
///
/// # Errors
/// [`Error::Io`] where `fill` appends what the format cannot hold.
pub fn request(kind: u16, flags: u16, fill: impl FnOnce(&mut Writer)) -> Result<Vec<u8>, Error> {
    let mut writer = Writer::default();
    writer.message(kind, flags, fill);
    match writer.fault {
        Some(reason) => Err(Error::Io(io::Error::new(io::ErrorKind::InvalidInput, reason))),
        None => Ok(writer.buffer),
    }
}

/// A buffer of messages that are being written.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    /// What was written so far.
    pub buffer: Vec<u8>,
    /// The first thing that could not be written as it was meant.
    pub fault: Option<&'static str>,
}

impl Writer {
    /// Notes `reason` as the fault of the current message, unless it has one already.
    pub fn refuse(&mut self, reason: &'static str) {
        self.fault.get_or_insert(reason);
    }

    /// Appends a whole request: `struct nlmsghdr` with `NLM_F_REQUEST`, and what `fill` appends.
    pub fn message(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.buffer.len();
        self.raw(&message::header(0, kind, flags | NLM_F_REQUEST, 0));
        fill(self);
        match u32::try_from(self.buffer.len() - start) {
            Ok(length) => self.buffer[start..start + 4].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => self.refuse("message is longer than 4 GiB"),
        }
    }

    /// Appends bytes that are no attribute: headers.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Appends one attribute, padded to four bytes.
    pub fn bytes(&mut self, kind: u16, payload: &[u8]) {
        self.attribute(kind, |inner| inner.raw(payload));
    }

    /// Appends a string with its terminating NUL (`NLA_STRING`).
    pub fn string(&mut self, kind: u16, text: &str) {
        if text.as_bytes().contains(&0) {
            self.refuse("name contains a NUL character");
        }
        self.attribute(kind, |inner| {
            inner.raw(text.as_bytes());
            inner.raw(&[0]);
        });
    }

    /// Appends a number in network byte order, as every `nf_tables` attribute has it.
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// Appends a number in the host's byte order, as rtnetlink has it.
    pub fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    /// The same, where there is a number.
    pub fn optional_u32(&mut self, kind: u16, value: Option<u32>) {
        if let Some(value) = value {
            self.u32(kind, value);
        }
    }

    /// Appends an address: four bytes for IPv4, sixteen for IPv6.
    pub fn address(&mut self, kind: u16, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.bytes(kind, &address.octets()),
            IpAddr::V6(address) => self.bytes(kind, &address.octets()),
        }
    }

    /// Appends attributes within one that is marked as a nest (`NLA_F_NESTED`): what `fill` appends.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        self.attribute(kind | NESTED, fill);
    }

    /// Appends an attribute whose payload is what `fill` appends, without the mark of a nest.
    pub fn attribute(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.buffer.len();
        self.raw(&[0; 2]);
        self.raw(&kind.to_ne_bytes());
        fill(self);
        match u16::try_from(self.buffer.len() - start) {
            Ok(length) => self.buffer[start..start + 2].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => self.refuse("attribute is longer than 65535 bytes"),
        }
        self.buffer.resize(self.buffer.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::{find, find_be32, find_string, find_u32};

    #[test]
    fn a_request_comes_back() {
        let mut bytes = request(0x0a00, message::NLM_F_CREATE, |writer| writer.string(1, "cleat")).unwrap();
        message::set_sequence(&mut bytes, 9);
        let read: Vec<_> = message::messages(&bytes).collect();
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].kind, read[0].flags, read[0].sequence), (0x0a00, 0x401, 9));
        assert_eq!(find(read[0].payload, 1), Some(&b"cleat\0"[..]));
        let error = request(0, 0, |writer| writer.string(1, "a\0b")).unwrap_err();
        assert_eq!(io::Error::from(error).to_string(), "name contains a NUL character");
    }

    #[test]
    fn writes_length_type_and_padding() {
        let mut writer = Writer::default();
        writer.string(1, "lo");
        writer.nest(2, |inner| inner.be32(3, 0x0102_0304));
        let mut expected = Vec::new();
        for (length, kind) in [(7u16, 1u16), (12, 2 | NESTED), (8, 3)] {
            expected.extend_from_slice(&length.to_ne_bytes());
            expected.extend_from_slice(&kind.to_ne_bytes());
            match kind {
                1 => expected.extend_from_slice(b"lo\0\0"),
                3 => expected.extend_from_slice(&[1, 2, 3, 4]),
                _ => {}
            }
        }
        assert_eq!(writer.buffer, expected);
        assert_eq!(writer.fault.take(), None);
    }

    #[test]
    fn reads_what_it_wrote() {
        let mut writer = Writer::default();
        writer.nest(2, |inner| {
            inner.be32(3, 7);
            inner.string(4, "port4");
            inner.u32(6, 9);
        });
        let nest = find(&writer.buffer, 2).unwrap();
        assert_eq!(find_be32(nest, 3), Some(7));
        assert_eq!(find_string(nest, 4), Some("port4"));
        assert_eq!(find(nest, 5), None);
        assert_eq!(find_u32(nest, 6), Some(9));
    }

    #[test]
    fn refuses_what_the_format_cannot_hold() {
        let mut writer = Writer::default();
        writer.bytes(1, &vec![0; 65_532]);
        assert_eq!(writer.fault.take(), Some("attribute is longer than 65535 bytes"));
        writer.string(1, "a\0b");
        assert_eq!(writer.fault.take(), Some("name contains a NUL character"));
        writer.bytes(1, &vec![0; 65_531]);
        assert_eq!(writer.fault.take(), None);
    }
}
