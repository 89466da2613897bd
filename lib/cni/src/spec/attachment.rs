//! What identifies an attachment (container ID, network name, interface name), and the names derived from it.
//!
//! Every kernel object of an attachment is named by a hash of the three, so that DEL finds it without the
//! namespace and without a previous result. Text that breaks the specification's patterns is refused here.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::spec::error::{Code, Error};

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Takes the text over where it keeps the specification's rules.
            ///
            /// # Errors
            /// The code that the specification gives for a bad value of this kind, with the rule that was broken.
            pub fn new(text: impl Into<String>) -> Result<Self, Error> {
                let text = text.into();
                let check: fn(&str) -> Result<(), Error> = $parse;
                check(&text).map(|()| Self(text))
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

identifier!(
    /// A container ID: a letter or digit, then letters, digits, `_`, `.` and `-` (specification, "Parameters").
    ContainerId,
    |text| {
        if is_name(text) {
            return Ok(());
        }
        Err(Error::new(Code::InvalidEnvironment, format!("invalid container ID {text:?} in CNI_CONTAINERID"))
            .details(NAME_RULE))
    }
);

identifier!(
    /// A network's name: the same pattern as a container ID (specification, "Configuration format").
    NetworkName,
    |text| {
        if is_name(text) {
            return Ok(());
        }
        Err(Error::new(Code::InvalidConfig, format!("invalid network name {text:?}")).details(NAME_RULE))
    }
);

identifier!(
    /// An interface's name, by the kernel's rule (`dev_valid_name` in net/core/dev.c).
    IfName,
    |text| {
        let wrong = if text.is_empty() || text.len() > IfName::MAX {
            "1 to 15 bytes are allowed"
        } else if text == "." || text == ".." {
            "\".\" and \"..\" are not allowed"
        } else if text.contains(['/', ':', '\0']) || text.contains(char::is_whitespace) {
            "'/', ':', white space and NUL are not allowed"
        } else {
            return Ok(());
        };
        Err(Error::new(Code::InvalidEnvironment, format!("invalid interface name {text:?}")).details(wrong))
    }
);

impl IfName {
    /// The longest name in bytes: `IFNAMSIZ` (linux/if.h) less the closing NUL.
    pub const MAX: usize = 15;
}

const NAME_RULE: &str =
    "a letter or digit comes first, then letters, digits, '_', '.' and '-', at most 255 in all";

/// Files are called by container IDs and networks' names, and a file's name has 255 bytes at most (`NAME_MAX`,
/// linux/limits.h). The specification sets no limit; libcni's result cache, by such files, has a lower one.
const NAME_MAX: usize = 255;

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= NAME_MAX
        && bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// One container's interface on one network: the key by which the specification identifies an attachment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attachment {
    /// The network's name.
    pub network: NetworkName,
    /// The container's ID.
    pub container_id: ContainerId,
    /// The interface inside the container.
    pub ifname: IfName,
}

impl Attachment {
    /// Sixteen hexadecimal digits that stand for this attachment wherever the kernel has no room for the
    /// whole key.
    #[must_use]
    pub fn token(&self) -> String {
        token(&[self.network.as_str(), self.container_id.as_str(), self.ifname.as_str()])
    }

    /// The name of the host's end of the pair that the bridge plugin makes: at most 15 bytes (`IFNAMSIZ`), 44 bits of the
    /// token.
    #[must_use]
    pub fn host_interface(&self) -> String {
        format!("veth{}", &self.token()[..11])
    }
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "container {} interface {} on network {}", self.container_id, self.ifname, self.network)
    }
}

/// Sixteen hexadecimal digits for a list of texts: the first 64 bits of SHA-256. Names of kernel objects are made of
/// it, so it may never change.
#[must_use]
pub fn token(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        // Where a part ends counts as well; no identifier can hold this byte.
        hash.update([0]);
    }
    hex(&hash.finalize()[..8])
}

/// Lower-case hexadecimal digits, two a byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_ids_keep_the_specifications_pattern() {
        for good in ["a", "0", "default-web", "A.b_c-1", &"f".repeat(255)] {
            assert!(ContainerId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "_", "a/b", "a b", "a\n", "é", "../x", &"f".repeat(256)] {
            assert_eq!(ContainerId::new(bad).unwrap_err().code(), 4, "{bad:?}");
            assert_eq!(NetworkName::new(bad).unwrap_err().code(), 7, "{bad:?}");
        }
    }

    #[test]
    fn interface_names_keep_the_kernels_rule() {
        for good in ["eth0", "a", "fifteen-bytes-x", "...", "br0.100"] {
            assert!(IfName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a:b", "a b", "a\u{a0}b", "sixteen-bytes-xx"] {
            assert_eq!(IfName::new(bad).unwrap_err().code(), 4, "{bad:?}");
        }
    }

    #[test]
    fn the_token_depends_on_each_part_and_on_where_it_ends() {
        let of = |network: &str, id: &str, ifname: &str| {
            Attachment {
                network: NetworkName::new(network).unwrap(),
                container_id: ContainerId::new(id).unwrap(),
                ifname: IfName::new(ifname).unwrap(),
            }
            .token()
        };
        let all = [of("a", "b", "c"), of("ab", "c", "c"), of("a", "bc", "c"), of("a", "b", "cc")];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
        // Names in running kernels are found again by this value: it may never change.
        assert_eq!(of("net", "id", "eth0"), "3ea4470f5d542749");
    }
}
