//! An Ethernet address.

use std::fmt;
use std::str::FromStr;

/// An Ethernet hardware address (EUI-48). It is parsed as by Go's `net.ParseMAC`, for six bytes: `02:00:00:00:00:01`,
/// `02-00-00-00-00-01` or `0200.0000.0001`, and written in the first of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac([u8; 6]);

/// The text has none of the forms that [`Mac`] is parsed from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parse hardware address {0:?}: not of the form 02:00:00:00:00:01")]
pub struct ParseMacError(String);

impl Mac {
    /// The address with these bytes, in the order in which they are sent.
    #[must_use]
    pub const fn new(octets: [u8; 6]) -> Self {
        Self(octets)
    }

    /// The six bytes, in the order in which they are sent.
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl From<[u8; 6]> for Mac {
    fn from(octets: [u8; 6]) -> Self {
        Self(octets)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, octet) in self.0.into_iter().enumerate() {
            let separator = if place == 0 { "" } else { ":" };
            write!(f, "{separator}{octet:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for Mac {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        octets(text).map(Self).ok_or_else(|| ParseMacError(text.to_owned()))
    }
}

fn octets(text: &str) -> Option<[u8; 6]> {
    // The character after the first two digits says which form it is. A form has one kind of separator.
    let (separator, digits) = match text.as_bytes().get(2)? {
        b':' => (':', 2),
        b'-' => ('-', 2),
        _ => ('.', 4),
    };
    let mut all = String::with_capacity(12);
    for part in text.split(separator) {
        // from_str_radix alone would take a sign: "+1".
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        all.push_str(part);
    }
    let number = Some(all).filter(|all| all.len() == 12)?;
    let [_, _, octets @ ..] = u64::from_str_radix(&number, 16).ok()?.to_be_bytes();
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let mac: Mac = "02:AB:00:00:00:ff".parse().unwrap();
        assert_eq!(mac.octets(), [2, 0xab, 0, 0, 0, 0xff]);
        assert_eq!(mac.to_string(), "02:ab:00:00:00:ff");
        for text in ["02-ab-00-00-00-FF", "02ab.0000.00ff"] {
            assert_eq!(text.parse::<Mac>().unwrap(), mac);
        }
    }

    #[test]
    fn refuses_what_is_not_six_bytes() {
        for text in [
            "",
            "02",
            "02:00:00:00:00",
            "02:00:00:00:00:00:00",
            "2:0:0:0:0:0",
            "+2:00:00:00:00:00",
            "0g:00:00:00:00:00",
            "02-00:00-00-00-01",
            "020000000001",
            "02.00.00.00.00.01",
            "0200-0000-0001",
            "0200.0000",
            "0200.0000.0001.0000",
            "02:00:00:00:00:01:",
            "é2:00:00:00:00:01",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}
