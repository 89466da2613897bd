//! Why a request failed, and texts for error numbers.

use std::io;

use nix::errno::Errno;

/// Why a request failed. The caller adds what the request was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed, or the request could not be encoded.
    #[error("{}", describe(.0))]
    Io(#[source] io::Error),
    /// The kernel answered an error.
    #[error("{}{}", describe(.source), parenthesis(.reason.as_deref()))]
    Refused {
        /// The kernel's error number.
        source: io::Error,
        /// The kernel's own words (`NLMSGERR_ATTR_MSG`), where it gave any, or what the caller knows of the reason.
        reason: Option<String>,
    },
    /// The kernel's answer could not be understood.
    #[error("malformed answer from the kernel: {0}")]
    Malformed(&'static str),
    /// What was to be read changed during each of several attempts (`NLM_F_DUMP_INTR`).
    #[error("the table changed each time it was read")]
    Interrupted,
}

impl Error {
    /// The error number, where a system call or the kernel gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Io(source) | Self::Refused { source, .. } => source.raw_os_error(),
            Self::Malformed(_) | Self::Interrupted => None,
        }
    }
}

impl From<Error> for io::Error {
    /// With the kernel's error number, where there is one; an interrupted dump is `EINTR`.
    fn from(error: Error) -> Self {
        match error {
            Error::Io(source) | Error::Refused { source, .. } => source,
            Error::Malformed(_) => Self::new(io::ErrorKind::InvalidData, error),
            Error::Interrupted => Errno::EINTR.into(),
        }
    }
}

fn parenthesis(reason: Option<&str>) -> String {
    reason.map(|text| format!(" ({text})")).unwrap_or_default()
}

/// Whether `error` is `errno`, compared by number: several have no [`io::ErrorKind`] of their own.
#[must_use]
pub fn is_errno(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

/// The C library's text without its capital and number: `No such device (os error 19)` becomes `no such device`.
#[must_use]
pub fn describe(error: &io::Error) -> String {
    let Some(number) = error.raw_os_error() else {
        return error.to_string();
    };
    let text = match Errno::from_raw(number) {
        // Some of the kernel's own numbers reach user space, such as 524, ENOTSUPP.
        Errno::UnknownErrno => return format!("error {number}"),
        errno => errno.desc(),
    };
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            format!("{}{second}{}", first.to_lowercase(), letters.as_str())
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_words() {
        assert_eq!(describe(&Errno::ENODEV.into()), "no such device");
        assert_eq!(describe(&io::Error::from_raw_os_error(524)), "error 524");
        assert_eq!(describe(&io::Error::other("no memory")), "no memory");
    }
}
