//! Reading attributes (`struct nlattr`) in place.

use std::net::IpAddr;

/// `NLA_HDRLEN`: length and type, 16 bits each.
pub(crate) const HEADER: usize = 4;
/// `NLA_F_NESTED`: the payload is a list of attributes.
pub const NESTED: u16 = 0x8000;
/// `NLA_TYPE_MASK`: the type without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const TYPE_MASK: u16 = 0x3fff;

/// The attributes in `bytes`, as type and payload. Ends at the first one whose length does not fit.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & TYPE_MASK;
        let payload = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// The payload of the first attribute of type `kind` in `bytes`.
#[must_use]
pub fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(found, payload)| (found == kind).then_some(payload))
}

/// The string in the first attribute of type `kind`, up to its NUL; `None` where it is not UTF-8.
#[must_use]
pub fn find_string(bytes: &[u8], kind: u16) -> Option<&str> {
    str::from_utf8(until_nul(find(bytes, kind)?)).ok()
}

/// The number in network byte order in the first attribute of type `kind`.
#[must_use]
pub fn find_be32(bytes: &[u8], kind: u16) -> Option<u32> {
    Some(u32::from_be_bytes(find(bytes, kind)?.try_into().ok()?))
}

/// The number in the host's byte order in the first attribute of type `kind`.
#[must_use]
pub fn find_u32(bytes: &[u8], kind: u16) -> Option<u32> {
    u32_at(find(bytes, kind)?, 0)
}

/// The 16-bit number at `offset`, in the host's byte order.
#[must_use]
pub fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().map(|chunk| u16::from_ne_bytes(*chunk))
}

/// The 32-bit number at `offset`, in the host's byte order.
#[must_use]
pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|chunk| u32::from_ne_bytes(*chunk))
}

/// The address in a payload: four bytes are IPv4, sixteen are IPv6.
#[must_use]
pub fn address(payload: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(payload).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(payload).map(IpAddr::from)).ok()
}

/// The string in a payload, up to its NUL. The kernel's names are bytes: what is not UTF-8 is replaced.
#[must_use]
pub fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(until_nul(payload)).into_owned()
}

fn until_nul(payload: &[u8]) -> &[u8] {
    payload.split(|&byte| byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_padding_and_masks_flags() {
        let bytes = [5, 0, 3, 0x80, b'a', 0, 0, 0, 4, 0, 7, 0, 6, 0, 9, 0, 1, 2];
        let found: Vec<_> = attributes(&bytes).collect();
        assert_eq!(found, [(3, &b"a"[..]), (7, &[][..]), (9, &[1, 2][..])]);
    }

    #[test]
    fn ends_at_lengths_that_lie() {
        for bytes in [&[][..], &[4], &[4, 0, 1], &[0, 0, 1, 0], &[3, 0, 1, 0], &[9, 0, 1, 0, 1, 2, 3, 4]] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
        }
        assert_eq!(attributes(&[4, 0, 1, 0, 0xff, 0xff, 2, 0]).count(), 1);
        assert_eq!(attributes(&[200, 0, 0, 0]).count(), 0);
    }

    #[test]
    fn addresses_are_of_four_bytes_or_sixteen() {
        assert_eq!(address(&[10, 1, 2, 3]), Some("10.1.2.3".parse().unwrap()));
        assert_eq!(address(&[0; 16]), Some("::".parse().unwrap()));
        assert_eq!(address(&[0; 5]), None);
    }

    #[test]
    fn values() {
        assert_eq!(text(b"eth0\0\0"), "eth0");
        assert_eq!(text(b"eth0"), "eth0");
        assert_eq!(text(b""), "");
        assert_eq!(find_string(b"\x08\0\x01\0a\xff\0\0", 1), None);
        assert_eq!(u32_at(&[0; 7], 4), None);
        assert_eq!(u16_at(&[], usize::MAX), None);
    }
}
