//! Netlink messages of the netfilter family: `struct nlmsghdr`, then `struct nfgenmsg`, then attributes.

use std::io;

use crate::attr::Writer;

/// `NFNL_SUBSYS_NFTABLES << 8`: added to every `NFT_MSG_*`.
pub(crate) const NFTABLES: u16 = 10 << 8;
/// `NFNL_SUBSYS_CTNETLINK << 8`: added to every `IPCTNL_MSG_CT_*`.
pub(crate) const CTNETLINK: u16 = 1 << 8;

pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLMSG_DONE: u16 = 3;

pub(crate) const NLM_F_REQUEST: u16 = 0x1;
pub(crate) const NLM_F_MULTI: u16 = 0x2;
pub(crate) const NLM_F_ACK: u16 = 0x4;
pub(crate) const NLM_F_DUMP_INTR: u16 = 0x10;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;

/// `NLMSG_HDRLEN`.
pub(crate) const HEADER: usize = 16;
/// `nlmsghdr` and `nfgenmsg` together.
pub(crate) const HEADERS: usize = HEADER + 4;

/// What goes into the two headers, besides the length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Headers {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    /// `nfgen_family`: an `NFPROTO_*` number.
    pub(crate) family: u8,
    /// `nfgenmsg.version`: 0, except where ctnetlink shall honour the family in a deletion.
    pub(crate) version: u8,
    /// `res_id`, in host byte order here: the subsystem in batch markers.
    pub(crate) resource: u16,
}

/// The two headers for a message that will be `length` bytes long.
pub(crate) fn headers(length: u32, headers: &Headers) -> [u8; HEADERS] {
    let mut bytes = [0; HEADERS];
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..6].copy_from_slice(&headers.kind.to_ne_bytes());
    bytes[6..8].copy_from_slice(&(headers.flags | NLM_F_REQUEST).to_ne_bytes());
    bytes[8..12].copy_from_slice(&headers.sequence.to_ne_bytes());
    bytes[16] = headers.family;
    bytes[17] = headers.version;
    bytes[18..].copy_from_slice(&headers.resource.to_be_bytes());
    bytes
}

/// Appends one whole message to `writer`.
pub(crate) fn write(writer: &mut Writer, what: &Headers, fill: impl FnOnce(&mut Writer)) {
    let start = writer.len();
    writer.raw(&headers(0, what));
    fill(writer);
    match u32::try_from(writer.len() - start) {
        Ok(length) => writer.as_mut_bytes()[start..start + 4].copy_from_slice(&length.to_ne_bytes()),
        Err(_) => writer.refuse("message is longer than 4 GiB"),
    }
}

/// One received message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    /// Everything behind `nlmsghdr`.
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes behind `nfgenmsg`.
    pub(crate) fn body(&self) -> &'a [u8] {
        self.payload.get(4..).unwrap_or_default()
    }

    /// `nfgen_family`.
    pub(crate) fn family(&self) -> u8 {
        self.payload.first().copied().unwrap_or_default()
    }

    /// `res_id`: in answers of `nf_tables` the lower half of the generation that was read.
    pub(crate) fn resource(&self) -> u16 {
        self.payload.get(2..4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_be_bytes)
    }

    /// The outcome that `NLMSG_ERROR` and `NLMSG_DONE` begin with: zero or a negative errno.
    pub(crate) fn outcome(&self) -> io::Result<()> {
        match self.payload.get(..4).and_then(|bytes| bytes.try_into().ok()).map_or(0, i32::from_ne_bytes) {
            0.. => Ok(()),
            negative => Err(io::Error::from_raw_os_error(negative.saturating_neg())),
        }
    }
}

/// The messages in a datagram. The last may be cut short by the buffer, which leaves its headers readable.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let header = bytes.get(..HEADER)?;
        let length = usize::try_from(u32::from_ne_bytes(header[..4].try_into().ok()?)).ok()?;
        let end = length.min(bytes.len());
        let message = Message {
            kind: u16::from_ne_bytes(header[4..6].try_into().ok()?),
            flags: u16::from_ne_bytes(header[6..8].try_into().ok()?),
            sequence: u32::from_ne_bytes(header[8..12].try_into().ok()?),
            payload: bytes.get(HEADER..end)?,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS_OF_TABLE: Headers =
        Headers { kind: NFTABLES, flags: NLM_F_CREATE, sequence: 9, family: 1, version: 0, resource: 0x0a0b };

    #[test]
    fn reads_what_it_wrote() {
        let mut writer = Writer::default();
        write(&mut writer, &HEADERS_OF_TABLE, |attributes| {
            attributes.string(1, "cleat");
        });
        write(&mut writer, &HEADERS_OF_TABLE, |_| {});
        let read: Vec<_> = messages(writer.as_bytes()).collect();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].kind, read[0].flags, read[0].sequence), (0x0a00, 0x401, 9));
        assert_eq!((read[0].family(), read[0].resource()), (1, 0x0a0b));
        assert_eq!(crate::attr::find_string(read[0].body(), 1), Some("cleat"));
        assert!(read[1].body().is_empty());
    }

    #[test]
    fn outcome_is_the_negated_errno() {
        let mut bytes = headers(20, &Headers { kind: NLMSG_ERROR, ..HEADERS_OF_TABLE });
        bytes[16..].copy_from_slice(&(-17i32).to_ne_bytes());
        let message = messages(&bytes).next().unwrap();
        assert_eq!(message.outcome().unwrap_err().raw_os_error(), Some(17));
    }

    #[test]
    fn a_cut_message_keeps_its_headers() {
        let bytes = headers(4000, &HEADERS_OF_TABLE);
        let message = messages(&bytes).next().unwrap();
        assert_eq!(message.sequence, 9);
        assert!(messages(&bytes[..15]).next().is_none());
    }
}
