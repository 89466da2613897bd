//! Netlink attributes (`struct nlattr`): written into a growing buffer, read from a received one.
//!
//! The writer refuses what the format cannot hold. A length is 16 bits wide and a string ends at its first NUL, so
//! both could otherwise change the meaning of a message in silence; the first such fault is kept for the batch to
//! report.

/// `NLA_HDRLEN`: length and type, 16 bits each.
const HEADER: usize = 4;
/// `NLA_F_NESTED`: the payload is a list of attributes.
const NESTED: u16 = 0x8000;
/// `NLA_TYPE_MASK`: the type without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const TYPE_MASK: u16 = 0x3fff;

/// A buffer of messages under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    fault: Option<&'static str>,
}

impl Writer {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn as_mut_bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Takes back all but the first `length` bytes.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes out the first thing that could not be written as it was meant.
    pub(crate) fn take_fault(&mut self) -> Option<&'static str> {
        self.fault.take()
    }

    /// Notes `reason` as the fault of the current message, unless it has one already.
    pub(crate) fn refuse(&mut self, reason: &'static str) {
        self.fault.get_or_insert(reason);
    }

    /// Appends bytes that are no attribute: headers.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends one attribute, padded to four bytes.
    pub(crate) fn bytes(&mut self, kind: u16, payload: &[u8]) {
        let start = self.open(kind);
        self.raw(payload);
        self.close(start);
    }

    /// Appends a string with its terminating NUL (`NLA_STRING` as `nf_tables` reads it).
    pub(crate) fn string(&mut self, kind: u16, text: &str) {
        if text.as_bytes().contains(&0) {
            self.refuse("name contains a NUL character");
        }
        let start = self.open(kind);
        self.raw(text.as_bytes());
        self.raw(&[0]);
        self.close(start);
    }

    /// Appends a number in network byte order, as every `nf_tables` attribute has it.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// Appends an attribute whose payload is what `fill` appends.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.open(kind | NESTED);
        fill(self);
        self.close(start);
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.raw(&[0; 2]);
        self.raw(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        match u16::try_from(self.bytes.len() - start) {
            Ok(length) => self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => self.refuse("attribute is longer than 65535 bytes"),
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// The attributes in `bytes`, as type and payload; ends at the first one that does not fit into its surroundings.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..HEADER)?.try_into().ok()?) & TYPE_MASK;
        let payload = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// Whether `found` is what came of `wanted`, as the kernel answers it: the same attributes with the same payloads, and
/// beside them only what stands for nothing asked for (flags of zero).
pub(crate) fn agrees(found: &[u8], wanted: &[u8]) -> bool {
    let nothing = |payload: &[u8]| payload.iter().all(|byte| *byte == 0);
    marked(wanted).all(|(kind, is_nest, payload)| match find(found, kind) {
        Some(found) if is_nest => agrees(found, payload),
        Some(found) => found == payload,
        None => false,
    }) && attributes(found).all(|(kind, payload)| find(wanted, kind).is_some() || nothing(payload))
}

/// The attributes that a [`Writer`] wrote, with whether they are nests.
fn marked(mut bytes: &[u8]) -> impl Iterator<Item = (u16, bool, &[u8])> {
    std::iter::from_fn(move || {
        let kind = u16::from_ne_bytes(bytes.get(2..HEADER)?.try_into().ok()?);
        let (plain, payload) = attributes(bytes).next()?;
        bytes = bytes.get((HEADER + payload.len()).next_multiple_of(4)..).unwrap_or_default();
        Some((plain, kind & NESTED != 0, payload))
    })
}

/// The payload of the first attribute of type `kind` in `bytes`.
pub(crate) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(found, payload)| (found == kind).then_some(payload))
}

/// The string in the first attribute of type `kind`, up to its NUL.
pub(crate) fn find_string(bytes: &[u8], kind: u16) -> Option<&str> {
    let payload = find(bytes, kind)?;
    str::from_utf8(payload.split(|&byte| byte == 0).next()?).ok()
}

/// The number in network byte order in the first attribute of type `kind`.
pub(crate) fn find_be32(bytes: &[u8], kind: u16) -> Option<u32> {
    Some(u32::from_be_bytes(find(bytes, kind)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(writer.as_bytes(), expected);
        assert_eq!(writer.take_fault(), None);
    }

    #[test]
    fn reads_what_it_wrote() {
        let mut writer = Writer::default();
        writer.nest(2, |inner| {
            inner.be32(3, 7);
            inner.string(4, "port4");
        });
        let nest = find(writer.as_bytes(), 2).unwrap();
        assert_eq!(find_be32(nest, 3), Some(7));
        assert_eq!(find_string(nest, 4), Some("port4"));
        assert_eq!(find(nest, 5), None);
    }

    #[test]
    fn refuses_what_the_format_cannot_hold() {
        let mut writer = Writer::default();
        writer.bytes(1, &vec![0; 65_532]);
        assert_eq!(writer.take_fault(), Some("attribute is longer than 65535 bytes"));
        writer.string(1, "a\0b");
        assert_eq!(writer.take_fault(), Some("name contains a NUL character"));
        writer.bytes(1, &vec![0; 65_531]);
        assert_eq!(writer.take_fault(), None);
    }

    #[test]
    fn stops_at_a_length_beyond_the_buffer() {
        let mut bytes = vec![0u8; 4];
        bytes[..2].copy_from_slice(&200u16.to_ne_bytes());
        assert_eq!(attributes(&bytes).count(), 0);
        bytes[..2].copy_from_slice(&3u16.to_ne_bytes());
        assert_eq!(attributes(&bytes).count(), 0);
    }
}
