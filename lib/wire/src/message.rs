//! The message header (`struct nlmsghdr`), and the messages that end an exchange.

use crate::attribute::{find, text, u16_at, u32_at};
use crate::error::Error;

/// `NLMSG_NOOP`: to be ignored.
pub(crate) const NLMSG_NOOP: u16 = 1;
/// `NLMSG_ERROR`: an error, or with the number zero an acknowledgement.
pub const NLMSG_ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
pub const NLMSG_DONE: u16 = 3;
/// `NLMSG_OVERRUN`: data were lost.
pub(crate) const NLMSG_OVERRUN: u16 = 4;

pub(crate) const NLM_F_REQUEST: u16 = 0x1;
/// The kernel is to acknowledge the request.
pub const NLM_F_ACK: u16 = 0x4;
/// The kernel is to send what came of the request.
pub const NLM_F_ECHO: u16 = 0x8;
pub(crate) const NLM_F_DUMP_INTR: u16 = 0x10;
/// All objects that match.
pub const NLM_F_DUMP: u16 = 0x300;
/// Fail where the object exists.
pub const NLM_F_EXCL: u16 = 0x200;
/// Create the object where it does not exist.
pub const NLM_F_CREATE: u16 = 0x400;
/// Put the object after the existing ones.
pub const NLM_F_APPEND: u16 = 0x800;
/// Of an acknowledgement: the request is not repeated in it.
const NLM_F_CAPPED: u16 = 0x100;
/// Of an acknowledgement: it has attributes (`NETLINK_EXT_ACK`).
const NLM_F_ACK_TLVS: u16 = 0x200;

/// `NLMSG_HDRLEN`.
pub const HEADER: usize = 16;
/// `NLMSGERR_ATTR_MSG`: the kernel's explanation.
const NLMSGERR_ATTR_MSG: u16 = 1;

/// The header of a message that will be `length` bytes long. The port is left to the kernel.
#[must_use]
pub fn header(length: u32, kind: u16, flags: u16, sequence: u32) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
    bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
    set_sequence(&mut bytes, sequence);
    bytes
}

/// Numbers the message that `bytes` begin with.
pub fn set_sequence(bytes: &mut [u8], sequence: u32) {
    bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
}

/// A message as it lies in the receive buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`: the request it answers.
    pub sequence: u32,
    /// What follows the header.
    pub payload: &'a [u8],
    /// Its length exceeds the buffer: the end is missing.
    pub is_cut: bool,
}

impl<'a> Message<'a> {
    /// Takes the first message off `rest`; `None` where there is no whole header, or the length is less than that.
    pub fn split(rest: &mut &'a [u8]) -> Option<Self> {
        let bytes = *rest;
        let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
        let message = Self {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            payload: bytes.get(HEADER..length.min(bytes.len()))?,
            is_cut: length > bytes.len(),
        };
        *rest = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }

    /// What an `NLMSG_ERROR` or `NLMSG_DONE` message says.
    ///
    /// # Errors
    /// [`Error::Refused`], or [`Error::Malformed`] where the message has no error number.
    pub fn outcome(&self) -> Result<(), Error> {
        match u32_at(self.payload, 0).map(|number| number.cast_signed().wrapping_neg()) {
            None => Err(Error::Malformed("no error number")),
            Some(0) => Ok(()),
            Some(number) => {
                let source = std::io::Error::from_raw_os_error(number);
                Err(Error::Refused { source, reason: self.reason() })
            }
        }
    }

    /// The extended acknowledgement's text of an `NLMSG_ERROR` message (`NETLINK_EXT_ACK`).
    fn reason(&self) -> Option<String> {
        if self.kind != NLMSG_ERROR || self.flags & NLM_F_ACK_TLVS == 0 {
            return None;
        }
        // struct nlmsgerr: the error, the request's header, and, unless capped, the request itself.
        let request = match self.flags & NLM_F_CAPPED {
            0 => usize::try_from(u32_at(self.payload, 4)?).ok()?,
            _ => HEADER,
        };
        let extra = self.payload.get(request.checked_add(4)?.checked_next_multiple_of(4)?..)?;
        find(extra, NLMSGERR_ATTR_MSG).map(text)
    }
}

/// The messages in a datagram. The last may be cut short by the buffer, which leaves its header readable.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || Message::split(&mut bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = header(u32::try_from(HEADER + body.len()).unwrap(), kind, flags, 7).to_vec();
        bytes.extend(body);
        bytes
    }

    #[test]
    fn splits_messages() {
        let mut bytes = message(16, 2, &[1, 2, 3, 4]);
        bytes.extend(message(3, 0, &[0; 4]));
        let mut rest = &bytes[..];
        let first = Message::split(&mut rest).unwrap();
        let payload = &[1, 2, 3, 4];
        assert_eq!(first, Message { kind: 16, flags: 2, sequence: 7, payload, is_cut: false });
        assert_eq!(Message::split(&mut rest).unwrap().kind, 3);
        assert!(rest.is_empty());
    }

    #[test]
    fn lengths_that_lie_are_seen() {
        for length in [0u32, 15] {
            let mut bytes = message(16, 0, &[0; 4]);
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(Message::split(&mut &bytes[..]), None, "{length}");
        }
        for length in [21, u32::MAX] {
            let mut bytes = message(16, 0, &[0; 4]);
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert!(Message::split(&mut &bytes[..]).unwrap().is_cut, "{length}");
        }
        assert_eq!(Message::split(&mut &[20, 0, 0][..]), None);
    }

    #[test]
    fn a_cut_message_keeps_its_header() {
        let bytes = header(4000, 16, 0, 9);
        let message = messages(&bytes).next().unwrap();
        assert!(message.is_cut && message.sequence == 9);
        assert!(messages(&bytes[..15]).next().is_none());
    }

    fn outcome(bytes: &[u8]) -> Result<(), (Option<i32>, Option<String>)> {
        messages(bytes).next().unwrap().outcome().map_err(|error| match error {
            Error::Refused { source, reason } => (source.raw_os_error(), reason),
            _ => (None, None),
        })
    }

    #[test]
    fn reads_the_kernels_explanation() {
        let mut body = (-22i32).to_ne_bytes().to_vec();
        body.extend(&message(16, 0, &[0; 8])); // the request, echoed
        body.extend([11, 0, 1, 0]);
        body.extend(b"bad mtu\0");
        let bytes = message(NLMSG_ERROR, NLM_F_ACK_TLVS, &body);
        assert_eq!(outcome(&bytes), Err((Some(22), Some("bad mtu".into()))));
        assert_eq!(outcome(&message(NLMSG_ERROR, 0, &body)), Err((Some(22), None)));
    }

    #[test]
    fn short_errors_do_not_panic() {
        assert_eq!(outcome(&message(NLMSG_ERROR, NLM_F_ACK_TLVS, &[1, 2])), Err((None, None)));
        let lying = message(NLMSG_ERROR, NLM_F_ACK_TLVS, &[0xff; 8]);
        assert_eq!(outcome(&lying), Err((Some(1), None)));
    }
}
