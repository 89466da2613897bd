//! The netlink message header (`struct nlmsghdr`), and the two messages that end an exchange.

use netlink_packet_core::{Emitable, NLM_F_ACK_TLVS, NLM_F_CAPPED};

use crate::attribute::{attributes, text, u16_at, u32_at};

/// `NLMSG_HDRLEN`.
const HEADER: usize = 16;
/// `NLMSGERR_ATTR_MSG`: the kernel's explanation.
const ERROR_TEXT: u16 = 1;

/// A message as it lies in the receive buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// `nlmsg_type`.
    pub(crate) kind: u16,
    /// `nlmsg_flags`.
    pub(crate) flags: u16,
    /// `nlmsg_seq`: the request it answers.
    pub(crate) sequence: u32,
    /// What follows the header.
    pub(crate) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// Takes the first message off `rest`; `None` where its length does not fit.
    pub(crate) fn split(rest: &mut &'a [u8]) -> Option<Self> {
        let bytes = *rest;
        let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
        let message = Self {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            body: bytes.get(HEADER..length)?,
        };
        *rest = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }

    /// The error number of an `NLMSG_ERROR` or `NLMSG_DONE` message: zero is success. `None` where it is too
    /// short.
    pub(crate) fn errno(&self) -> Option<i32> {
        Some(u32_at(self.body, 0)?.cast_signed().wrapping_neg())
    }

    /// The extended acknowledgement's text of an `NLMSG_ERROR` message (`NETLINK_EXT_ACK`).
    pub(crate) fn reason(&self) -> Option<String> {
        if self.flags & NLM_F_ACK_TLVS == 0 {
            return None;
        }
        // struct nlmsgerr: the error, the request's header, and, unless capped, the request itself.
        let request = match self.flags & NLM_F_CAPPED {
            0 => usize::try_from(u32_at(self.body, 4)?).ok()?,
            _ => HEADER,
        };
        let extra = self.body.get(request.checked_add(4)?.checked_next_multiple_of(4)?..)?;
        attributes(extra).find(|(kind, _)| *kind == ERROR_TEXT).map(|(_, value)| text(value))
    }
}

/// A request, ready to be sent. The port is left to the kernel.
pub(crate) fn request(kind: u16, flags: u16, sequence: u32, body: &impl Emitable) -> Vec<u8> {
    let length = HEADER + body.buffer_len();
    let mut bytes = vec![0; length];
    let (header, rest) = bytes.split_at_mut(HEADER);
    // Attributes are far below 4 GiB: each is limited to 64 KiB by its own header.
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    header[..4].copy_from_slice(&length.to_ne_bytes());
    header[4..6].copy_from_slice(&kind.to_ne_bytes());
    header[6..8].copy_from_slice(&flags.to_ne_bytes());
    header[8..12].copy_from_slice(&sequence.to_ne_bytes());
    body.emit(rest);
    bytes
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NLMSG_ERROR;

    use super::*;

    fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(7u32.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn splits_messages() {
        let mut bytes = message(16, 2, &[1, 2, 3, 4]);
        bytes.extend(message(3, 0, &[0; 4]));
        let mut rest = &bytes[..];
        let first = Message::split(&mut rest).unwrap();
        assert_eq!(first, Message { kind: 16, flags: 2, sequence: 7, body: &[1, 2, 3, 4] });
        assert_eq!(Message::split(&mut rest).unwrap().kind, 3);
        assert!(rest.is_empty());
    }

    #[test]
    fn refuses_lengths_that_lie() {
        for length in [0u32, 15, 21, u32::MAX] {
            let mut bytes = message(16, 0, &[0; 4]);
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(Message::split(&mut &bytes[..]), None, "{length}");
        }
        assert_eq!(Message::split(&mut &[20, 0, 0][..]), None);
    }

    #[test]
    fn reads_the_kernels_explanation() {
        let mut body = (-22i32).to_ne_bytes().to_vec();
        body.extend(&message(16, 0, &[0; 8])); // the request, echoed
        body.extend([11, 0, 1, 0]);
        body.extend(b"bad mtu\0");
        let bytes = message(NLMSG_ERROR, NLM_F_ACK_TLVS, &body);
        let error = Message::split(&mut &bytes[..]).unwrap();
        assert_eq!(error.errno(), Some(22));
        assert_eq!(error.reason().as_deref(), Some("bad mtu"));
        let plain = message(NLMSG_ERROR, 0, &body);
        assert_eq!(Message::split(&mut &plain[..]).unwrap().reason(), None);
    }

    #[test]
    fn short_errors_do_not_panic() {
        let error = Message { kind: NLMSG_ERROR, flags: NLM_F_ACK_TLVS, sequence: 1, body: &[1, 2] };
        assert_eq!((error.errno(), error.reason()), (None, None));
        let lying = Message { body: &[0xff; 8], ..error };
        assert_eq!(lying.reason(), None);
    }
}
