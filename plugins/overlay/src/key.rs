//! The keys of [`Backend::Wireguard`](crate::record::Backend::Wireguard), as wg(8) writes them: 32 bytes in base64.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// The length of a key in bytes.
const LENGTH: usize = 32;

/// A text that is no key. It says nothing of the text, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no key of WireGuard (32 bytes in base64)")]
pub struct NoKey;

/// What the other nodes know a node by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; LENGTH]);

/// A node's secret. It is shown nowhere: [`fmt::Debug`] leaves it out, and there is no [`fmt::Display`].
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey([u8; LENGTH]);

impl PrivateKey {
    /// A new one of the kernel's random numbers.
    ///
    /// # Errors
    /// The kernel has none to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; LENGTH];
        getrandom::fill(&mut bytes)?;
        Ok(Self::new(bytes))
    }

    /// The key of these bytes; of the bits that Curve25519 leaves out (RFC 7748, 5) it has those that the kernel gives them.
    #[must_use]
    pub fn new(mut bytes: [u8; LENGTH]) -> Self {
        bytes[0] &= 0b1111_1000;
        bytes[LENGTH - 1] &= 0b0111_1111;
        bytes[LENGTH - 1] |= 0b0100_0000;
        Self(bytes)
    }

    /// The secret itself.
    #[must_use]
    pub fn bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }

    /// The content of a file, as `wg genkey` writes it.
    #[must_use]
    pub fn to_file(&self) -> String {
        format!("{}\n", STANDARD.encode(self.0))
    }

    /// Reads what [`to_file`](Self::to_file) writes.
    ///
    /// # Errors
    /// It is no key.
    pub fn from_file(content: &str) -> Result<Self, NoKey> {
        decode(content.trim_end()).map(Self::new)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PrivateKey(..)")
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        decode(text).map(Self)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

fn decode(text: &str) -> Result<[u8; LENGTH], NoKey> {
    STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(NoKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        let text = "QyV8jDgn7XMTCSlr4zu0V4kc0TSzCu95eh/g8rIi1hA=";
        let key: PublicKey = text.parse().unwrap();
        assert_eq!((key.to_string().as_str(), key.0[0], key.0[31]), (text, 0x43, 0x10));
        assert_eq!(serde_json::from_str::<PublicKey>(&serde_json::to_string(&key).unwrap()).unwrap(), key);
        for bad in [
            "",
            "QyV8",
            &text[..43],
            &format!("{text}A"),
            &format!("{text}\n"),
            // 33 bytes, and one whose last digit has bits that no byte has.
            "QyV8jDgn7XMTCSlr4zu0V4kc0TSzCu95eh/g8rIi1hAA",
            "QyV8jDgn7XMTCSlr4zu0V4kc0TSzCu95eh/g8rIi1hB=",
        ] {
            assert_eq!(bad.parse::<PublicKey>(), Err(NoKey), "{bad}");
        }
    }

    #[test]
    fn a_private_key_is_random_and_shown_nowhere() {
        let (one, other) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        assert_ne!(one, other);
        assert_eq!((one.0[0] & 7, one.0[31] >> 6), (0, 1));
        let content = one.to_file();
        assert_eq!(content.len(), 45);
        assert_eq!(PrivateKey::from_file(&content).unwrap(), one);
        assert_eq!(format!("{one:?}"), "PrivateKey(..)");
        let error = PrivateKey::from_file(&content[1..]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&content[2..10]));
        // What the kernel says of a key that was not one of Curve25519 is the same key.
        assert_eq!(PrivateKey::new([0xff; 32]).0[31], 0x7f);
    }
}
