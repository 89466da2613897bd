//! Reading netlink attributes (`struct nlattr`) in place.
//!
//! Decoding a whole link message into owned values costs more than the system call that fetched it, and a
//! caller looks at a tenth of the attributes; so replies are walked, and what is not asked for is stepped
//! over.

use std::net::IpAddr;

const HEADER: usize = 4;
/// `NLA_TYPE_MASK`: the upper two bits of the type are flags (nested, network byte order).
const TYPE_MASK: u16 = 0x3fff;

/// The attributes in `bytes` as (type, value). The walk ends at the first one that does not fit.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & TYPE_MASK;
        let value = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The native-endian 16-bit number at `offset`.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().map(|chunk| u16::from_ne_bytes(*chunk))
}

/// The native-endian 32-bit number at `offset`.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|chunk| u32::from_ne_bytes(*chunk))
}

/// The native-endian signed 32-bit number at `offset`.
pub(crate) fn i32_at(bytes: &[u8], offset: usize) -> Option<i32> {
    bytes.get(offset..)?.first_chunk().map(|chunk| i32::from_ne_bytes(*chunk))
}

/// A string attribute, up to its terminating NUL. The kernel's names are bytes; what is not UTF-8 is
/// replaced.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

/// An address attribute: four bytes are IPv4, sixteen are IPv6.
pub(crate) fn ip(value: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(value)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from))
        .ok()
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
    }

    #[test]
    fn values() {
        assert_eq!(text(b"eth0\0\0"), "eth0");
        assert_eq!(text(b"eth0"), "eth0");
        assert_eq!(ip(&[10, 1, 2, 3]), Some("10.1.2.3".parse().unwrap()));
        assert_eq!(ip(&[0; 16]), Some("::".parse().unwrap()));
        assert_eq!(ip(&[0; 5]), None);
        assert_eq!(u32_at(&[0; 7], 4), None);
        assert_eq!(u16_at(&[], usize::MAX), None);
    }
}
