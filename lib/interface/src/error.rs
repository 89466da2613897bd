//! What can go wrong with a container's interface, and the code that each failure has in the contract.

use std::net::IpAddr;

use cni::Code;

/// What may fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure with a container's interface.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration contradicts itself or asks for what does not exist.
    #[error("{problem}")]
    Config {
        /// What is wrong, with the key.
        problem: String,
        /// What to write instead.
        cure: &'static str,
    },
    /// A parameter of the kernel has another value than it must have, and cannot be set.
    #[error("{source}")]
    Sysctl {
        /// The parameter, as a path below `/proc/sys`.
        parameter: String,
        /// The value that it must have.
        value: &'static str,
        /// Why it cannot be set.
        source: netlink::Error,
    },
    /// Another node answered for an address that was to be used.
    #[error("address {0} is in use by another node on the link")]
    Duplicate(IpAddr),
    /// Others changed, or removed, what was being set up.
    #[error("{0}")]
    Transient(String),
    /// A request to the kernel failed.
    #[error("{0}")]
    Netlink(#[from] netlink::Error),
}

impl Error {
    /// The error number, where the kernel gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Netlink(error) => error.errno(),
            _ => None,
        }
    }
}

/// The failure to give a parameter of the kernel a value.
#[must_use]
pub fn sysctl(parameter: &str, value: &'static str, source: netlink::Error) -> Error {
    Error::Sysctl { parameter: parameter.to_owned(), value, source }
}

/// A contradiction in the configuration, with what to write instead.
pub(crate) fn config(problem: impl Into<String>, cure: &'static str) -> Error {
    Error::Config { problem: problem.into(), cure }
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Config { cure, .. } => Self::new(Code::InvalidConfig, text).details(cure),
            Error::Sysctl { parameter, value, .. } => Self::new(Code::Kernel, text).details(format!(
                "run sysctl -w {parameter}={value} where /proc/sys can be written, which the host itself can"
            )),
            Error::Duplicate(_) => Self::new(Code::InUse, text),
            Error::Transient(_) => Self::new(Code::TryAgain, text).details("try again"),
            Error::Netlink(_) => Self::new(Code::Kernel, text),
        }
    }
}
