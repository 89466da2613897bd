//! What can go wrong, and the one place where it becomes an error of the contract.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use cni::{Attachment, Code, Version};

use crate::range::{MAX_RANGES, RangeFault, RangeSet};
use crate::store::lease;

/// Every failure of this crate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The shared part of the contract refused the configuration.
    #[error(transparent)]
    Contract(#[from] cni::Error),
    /// The configuration has no `ipam` object.
    #[error("read the configuration: it has no \"ipam\"")]
    NoIpam,
    /// There is nothing to lease from.
    #[error("read ipam: it has no ranges")]
    NoRanges,
    /// There are more ranges than can be compared with each other while somebody waits.
    #[error("read ipam: it has more than {MAX_RANGES} ranges")]
    TooManyRanges,
    /// A range or a set of ranges is not valid.
    #[error("read {at}: {source}")]
    Range {
        /// The path of keys.
        at: String,
        /// What is wrong with it.
        source: RangeFault,
    },
    /// Results before 0.3.0 hold one address of each family.
    #[error("read the range sets: cniVersion {0} holds one address per family")]
    TooManySets(Version),
    /// A requested address is not written as one.
    #[error("read {key}: {text:?} is no IP address")]
    Request {
        /// Where it was requested.
        key: &'static str,
        /// The text.
        text: String,
    },
    /// A requested address is no host's of any subnet.
    #[error("lease requested address {address}: it is in no configured subnet, or no host's address there")]
    NoRange {
        /// The address.
        address: IpAddr,
    },
    /// A requested address is a gateway's.
    #[error("lease requested address {address}: it is the gateway of its subnet")]
    Gateway {
        /// The address.
        address: IpAddr,
    },
    /// A set of which two addresses were requested.
    #[error("lease requested addresses {first} and {second}: both are of range set {index}")]
    TwoOfOneSet {
        /// One address.
        first: IpAddr,
        /// The other.
        second: IpAddr,
        /// The set's position.
        index: usize,
    },
    /// An operation on a file or folder failed.
    #[error(transparent)]
    Io(#[from] folder::Error),
    /// The lock could not be taken.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// STATUS: the lock could not be taken.
    #[error("{0}")]
    Locked(#[source] lock::Error),
    /// No address of a set is free.
    #[error("lease an address of range set {index} ({set}): {size} of {size} addresses are in use")]
    Exhausted {
        /// The set's position.
        index: usize,
        /// The set's ranges.
        set: String,
        /// How many addresses it has.
        size: u128,
    },
    /// A requested address is somebody else's, or this attachment's already.
    #[error("lease requested address {address}: it is in use by {owner}")]
    InUse {
        /// The address.
        address: IpAddr,
        /// Whose it is, in words.
        owner: String,
    },
    /// The attachment has an address of the set already.
    #[error("lease an address to {attachment}: it has {address} already")]
    Duplicate {
        /// What it has.
        address: IpAddr,
        /// Who has it.
        attachment: Box<Attachment>,
    },
    /// CHECK: an address is not leased to the attachment that uses it.
    #[error("check the lease of {address} in {}: it is not that of {attachment}{}", path.display(), found(holder.as_deref()))]
    NotLeased {
        /// The address.
        address: IpAddr,
        /// Where the lease should be.
        path: PathBuf,
        /// Whose it should be.
        attachment: Box<Attachment>,
        /// Whose it is, in words.
        holder: Option<String>,
    },
    /// CHECK: the previous result has no address of any subnet.
    #[error("check {0}: prevResult has no address of any configured subnet")]
    NothingLeased(Box<Attachment>),
    /// A failed ADD could not be undone.
    #[error("{cause}; what was leased before could not be released: {undo}")]
    Undo {
        /// Why ADD failed.
        #[source]
        cause: Box<Error>,
        /// Why it could not be undone.
        undo: Box<Error>,
    },
    /// Several failures of one verb that went on past the first.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Several(Vec<Error>),
}

fn found(holder: Option<&str>) -> String {
    holder.map(|holder| format!(" but that of {holder}")).unwrap_or_default()
}

/// Whose lease it is, for people.
pub(crate) fn holder(content: &str) -> String {
    match lease::parts(content) {
        ("", _) => "a lease without an owner".to_owned(),
        (id, Some(ifname)) => format!("container {id} interface {ifname}"),
        (id, None) => format!("container {id}"),
    }
}

impl Error {
    /// A set without a free address.
    pub(crate) fn exhausted(set: &RangeSet, index: usize) -> Self {
        Self::Exhausted { index, set: set.to_string(), size: set.size() }
    }

    /// An address that is leased, with the lease's content, or that something else than a lease occupies.
    pub(crate) fn in_use(address: IpAddr, content: Option<&str>) -> Self {
        let owner = content.map_or_else(|| "something that is no lease".to_owned(), holder);
        Self::InUse { address, owner }
    }

    /// One error of many, or none.
    pub(crate) fn all(mut failures: Vec<Self>) -> Result<(), Self> {
        match failures.len() {
            0 => Ok(()),
            1 => Err(failures.remove(0)),
            _ => Err(Self::Several(failures)),
        }
    }

    /// The code in the contract, and the cure where the message does not say it itself.
    fn code_and_cure(&self) -> (Code, &'static str) {
        match self {
            Self::Contract(error) => (Code::Other(error.code()), ""),
            Self::Lock(lock::Error::Busy(_)) => (Code::TryAgain, ""),
            Self::Lock(_) => (Code::Io, ""),
            Self::Locked(_) => (Code::NotAvailable, ""),
            Self::Io(error) => match error.source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    (Code::Io, "set ipam.dataDir to a folder that the plugin may write")
                }
                _ => (Code::Io, ""),
            },
            Self::Exhausted { .. } => {
                let cure = "remove containers, run GC to drop leases of dead ones, or extend the ranges";
                (Code::NotAvailable, cure)
            }
            Self::InUse { .. } => (Code::InUse, "request another address"),
            Self::Duplicate { .. } => (Code::InUse, "call DEL for the attachment before ADD"),
            Self::NotLeased { .. } | Self::NothingLeased(_) => {
                (Code::CheckFailed, "make the attachment again: DEL, then ADD")
            }
            Self::Undo { cause, .. } => (cause.code_and_cure().0, "call DEL for the attachment"),
            Self::Several(failures) => {
                (failures.first().map_or(Code::Internal, |first| first.code_and_cure().0), "")
            }
            Self::NoIpam => {
                let cure = r#"add "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]}"#;
                (Code::InvalidConfig, cure)
            }
            Self::NoRanges => {
                let cure = r#"set "ranges", such as [[{"subnet": "10.1.0.0/24"}]], or "subnet""#;
                (Code::InvalidConfig, cure)
            }
            Self::TooManyRanges => (Code::InvalidConfig, "write neighbouring ranges as one"),
            Self::Range { .. } => (Code::InvalidConfig, ""),
            Self::TooManySets(_) => {
                (Code::InvalidConfig, "use cniVersion 0.3.0 or newer, or one range set per family")
            }
            Self::Request { .. } => (Code::InvalidConfig, "write it as 10.1.0.5 or 10.1.0.5/24"),
            Self::NoRange { .. } => {
                (Code::InvalidConfig, "request an address of a configured subnet, or add one to the ranges")
            }
            Self::Gateway { .. } => (Code::InvalidConfig, "request another address"),
            Self::TwoOfOneSet { .. } => {
                (Code::InvalidConfig, "each range set gives one address: request one of each")
            }
        }
    }
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Contract(error) => error,
            error => {
                let (code, cure) = error.code_and_cure();
                let cure = match &error {
                    Error::Lock(lock::Error::Busy(busy)) | Error::Locked(lock::Error::Busy(busy)) => {
                        busy.cure()
                    }
                    _ => cure.to_owned(),
                };
                Self::new(code, error.to_string()).details(cure)
            }
        }
    }
}
