//! Interface names as keys: sixteen bytes, padded with NUL.

use std::fmt;

use crate::Error;

/// `IFNAMSIZ`, with the NUL.
const SIZE: usize = 16;

/// The name of a network interface.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ifname(pub(crate) [u8; SIZE]);

impl Ifname {
    /// Checks `name` by the kernel's rule (`dev_valid_name` in `net/core/dev.c`).
    ///
    /// Fails with [`Error::Ifname`] for an empty name, one of more than 15 bytes, `.`, `..`, and one with a slash, a
    /// colon or white space; also for a NUL, which would end it early.
    pub fn new(name: &str) -> Result<Self, Error> {
        let reason = match name {
            "" => "it is empty",
            "." | ".." => "it is a directory entry",
            _ if name.len() >= SIZE => "it is longer than 15 bytes",
            _ if name.contains(|c: char| c == '/' || c == ':' || c == '\0' || c.is_ascii_whitespace()) => {
                "it has a slash, colon, white space or NUL"
            }
            _ => {
                let mut bytes = [0; SIZE];
                bytes[..name.len()].copy_from_slice(name.as_bytes());
                return Ok(Self(bytes));
            }
        };
        Err(Error::Ifname { name: name.to_owned(), reason })
    }

    /// The name without its padding.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(self.significant()).unwrap_or_default()
    }

    /// A name as the kernel gives it; `None` where it is not UTF-8.
    pub(crate) fn from_bytes(bytes: [u8; SIZE]) -> Option<Self> {
        let name = Self(bytes);
        str::from_utf8(name.significant()).is_ok().then_some(name)
    }

    fn significant(&self) -> &[u8] {
        self.0.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

impl fmt::Display for Ifname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Ifname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_rule_holds() {
        assert_eq!(Ifname::new("eth0").unwrap().as_str(), "eth0");
        assert_eq!(Ifname::new("abcdefghijklmno").unwrap().as_str(), "abcdefghijklmno");
        for bad in ["", ".", "..", "abcdefghijklmnop", "a/b", "a:b", "a b", "a\0b"] {
            assert!(Ifname::new(bad).is_err(), "{bad:?}");
        }
    }
}
