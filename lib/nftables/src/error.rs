//! What can go wrong, and which operation it was.

use std::io;

use nix::errno::Errno;
use wire::{describe, is_errno};

/// The result of everything that talks to the kernel.
pub type Result<T> = std::result::Result<T, Error>;

/// An error with the operation that failed; the errno, where the kernel gave one, is the source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A netfilter socket could not be opened: the kernel lacks `nfnetlink`, or no descriptor is left.
    #[error("open netfilter socket: {}", describe(.source))]
    Open {
        /// What the kernel answered.
        source: io::Error,
    },
    /// One operation of a batch was refused; nothing of the batch was carried out.
    #[error("{operation}: {}", describe(.source))]
    Operation {
        /// Position in the batch, from 0.
        index: usize,
        /// Such as `add element tcp . 8080 to inet cleat port4`.
        operation: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The batch as a whole was refused (a lack of privilege, or another generation) or could not be delivered.
    #[error("commit batch of {operations} operations: {}{}", describe(.source), lack(.source))]
    Commit {
        /// How many operations the batch had.
        operations: usize,
        /// What the kernel answered.
        source: io::Error,
    },
    /// One operation could not be encoded as it was meant; nothing was sent.
    #[error("{operation}: {reason}")]
    Encode {
        /// Position in the batch, from 0.
        index: usize,
        /// The operation, as above.
        operation: String,
        /// What does not fit.
        reason: &'static str,
    },
    /// A question was answered by an error, or not at all.
    #[error("{query}: {}{}", describe(.source), lack(.source))]
    Query {
        /// Such as `get element tcp . 8080 of inet cleat port4`.
        query: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A text that is no interface name by the kernel's rule (`dev_valid_name`, 1 to 15 bytes).
    #[error("use {name:?} as interface name: {reason}")]
    Ifname {
        /// The text.
        name: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// Bytes of a key or of data do not have the layout that their types give them.
    #[error("decode {length} bytes as {types:?}: wrong length or unknown type")]
    Decode {
        /// How many bytes there were.
        length: usize,
        /// The types that they were taken for.
        types: Vec<crate::Type>,
    },
    /// A flush without any criterion would remove every flow of the host.
    #[error("delete connections: filter has no criterion besides family and protocol")]
    Unfiltered,
}

impl Error {
    /// The object exists already (`EEXIST`): an exclusive creation found it taken.
    #[must_use]
    pub fn is_exists(&self) -> bool {
        self.is(Errno::EEXIST)
    }

    /// The object, or the table or chain or set it belongs to, does not exist (`ENOENT`).
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.is(Errno::ENOENT)
    }

    /// The object is in use (`EBUSY`): a chain that a rule or an element leads to, a set that a rule looks up.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.is(Errno::EBUSY)
    }

    /// The ruleset is no longer of the generation that the batch was made for (`ERESTART`), or changed under every
    /// attempt to read it (`EINTR`): read again and retry.
    #[must_use]
    pub fn is_restart(&self) -> bool {
        self.is(Errno::ERESTART) || self.is(Errno::EINTR)
    }

    /// The table belongs to a program that keeps others out (`EPERM`, the flag `owner`), or the caller has no privilege.
    #[must_use]
    pub fn is_not_permitted(&self) -> bool {
        self.is(Errno::EPERM)
    }

    /// Another process made, removed, or began to use something since it was read: read again and retry.
    #[must_use]
    pub fn is_of_another_change(&self) -> bool {
        self.is_exists() || self.is_not_found() || self.is_busy() || self.is_restart()
    }

    /// Which operation of the batch failed, from 0.
    #[must_use]
    pub fn index(&self) -> Option<usize> {
        match self {
            Self::Operation { index, .. } | Self::Encode { index, .. } => Some(*index),
            _ => None,
        }
    }

    pub(crate) fn is(&self, errno: Errno) -> bool {
        match self {
            Self::Open { source }
            | Self::Operation { source, .. }
            | Self::Commit { source, .. }
            | Self::Query { source, .. } => is_errno(source, errno),
            _ => false,
        }
    }
}

/// A batch as a whole, or a question, is refused only to those who lack the capability (`nfnetlink_rcv`).
fn lack(source: &io::Error) -> &'static str {
    if is_errno(source, Errno::EPERM) { " (it takes CAP_NET_ADMIN)" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_privilege_is_told_from_a_table_with_an_owner() {
        let refused = || io::Error::from_raw_os_error(Errno::EPERM as i32);
        let whole = Error::Commit { operations: 2, source: refused() };
        assert_eq!(
            whole.to_string(),
            "commit batch of 2 operations: operation not permitted (it takes CAP_NET_ADMIN)"
        );
        let query = Error::Query { query: "get generation of ruleset".into(), source: refused() };
        assert!(query.to_string().ends_with("(it takes CAP_NET_ADMIN)"));
        let one = Error::Operation { index: 1, operation: "add rule".into(), source: refused() };
        assert_eq!(one.to_string(), "add rule: operation not permitted");
    }

    #[test]
    fn reads_as_doing_what_and_cause() {
        let error = Error::Operation {
            index: 2,
            operation: "add element tcp . 8080 to inet cleat port4".to_owned(),
            source: io::Error::from_raw_os_error(Errno::EEXIST as i32),
        };
        assert_eq!(error.to_string(), "add element tcp . 8080 to inet cleat port4: file exists");
        assert!(error.is_exists() && !error.is_not_found() && !error.is_busy() && !error.is_restart());
        assert_eq!(error.index(), Some(2));
    }

    #[test]
    fn a_changed_generation_is_a_restart() {
        let source = io::Error::from_raw_os_error(Errno::ERESTART as i32);
        let error = Error::Commit { operations: 1, source };
        assert!(error.is_restart());
        assert_eq!(error.index(), None);
    }
}
