//! What can go wrong. A message reads `doing what to which: cause`.

use std::fmt::Arguments;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use wire::is_errno;

/// A failed operation, with the object it was about and the cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A request, or a system call on a socket or a file, failed.
    #[error("{operation}: {source}")]
    Failed {
        /// What was being done, such as `add veth a1b2` or `open network namespace /run/netns/a`.
        operation: String,
        /// The refusal, or why the answer could not be understood.
        source: wire::Error,
    },
    /// The file is not one of the kernel's namespace files (`NSFS_MAGIC`).
    #[error("open network namespace {}: not a namespace file", .path.display())]
    NotNamespace {
        /// The file that was opened.
        path: PathBuf,
    },
    /// The name of a sysctl is empty, absolute, or leads out of `/proc/sys`.
    #[error("use sysctl {path:?}: not a path below /proc/sys")]
    SysctlPath {
        /// The name as it was given.
        path: String,
    },
}

impl Error {
    /// The error number, where the kernel gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Failed { source, .. } => source.errno(),
            Self::NotNamespace { .. } | Self::SysctlPath { .. } => None,
        }
    }

    /// Whether the object does not exist: `ENOENT`, `ENODEV`, `ENXIO`, `ESRCH` (routes) or `EADDRNOTAVAIL`
    /// (addresses).
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        let missing = [Errno::ENOENT, Errno::ENODEV, Errno::ENXIO, Errno::ESRCH, Errno::EADDRNOTAVAIL];
        missing.iter().any(|&errno| self.is(errno))
    }

    /// Whether an object of this name or key exists already: `EEXIST`.
    #[must_use]
    pub fn is_exists(&self) -> bool {
        self.is(Errno::EEXIST)
    }

    /// Whether the object is in use: `EBUSY`.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.is(Errno::EBUSY)
    }

    /// Whether a link that is needed up, or with a carrier, is not: `ENETDOWN`.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.is(Errno::ENETDOWN)
    }

    /// Whether this kernel cannot do it at all: `EOPNOTSUPP`.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        self.is(Errno::EOPNOTSUPP)
    }

    /// Whether it is on a file system that is mounted read-only, as `/proc/sys` is in many containers: `EROFS`.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.is(Errno::EROFS)
    }

    pub(crate) fn is(&self, errno: Errno) -> bool {
        self.errno() == Some(errno as i32)
    }

    pub(crate) fn io(operation: Arguments<'_>, source: io::Error) -> Self {
        Self::Failed { operation: operation.to_string(), source: wire::Error::Io(source) }
    }

    /// A request that the kernel did not carry out.
    pub(crate) fn answered(operation: Arguments<'_>, error: wire::Error) -> Self {
        match error {
            // The check of the capability comes before all others and explains nothing.
            wire::Error::Refused { source, reason: None } if is_errno(&source, Errno::EPERM) => {
                Self::privileged(operation, "CAP_NET_ADMIN", source)
            }
            source => Self::Failed { operation: operation.to_string(), source },
        }
    }

    /// A failed system call, which the kernel refuses to a process that lacks a capability over the user namespace that owns
    /// the network namespace concerned.
    pub(crate) fn privileged(operation: Arguments<'_>, capability: &str, source: io::Error) -> Self {
        let is_denied = source.kind() == io::ErrorKind::PermissionDenied;
        let reason = is_denied.then(|| format!("it takes {capability}"));
        Self::Failed { operation: operation.to_string(), source: wire::Error::Refused { source, reason } }
    }
}

/// `None` where an operation failed for one of these reasons.
pub(crate) fn unless<T>(outcome: Result<T, Error>, reasons: &[Errno]) -> Result<Option<T>, Error> {
    match outcome {
        Err(error) if reasons.iter().any(|&errno| error.is(errno)) => Ok(None),
        outcome => outcome.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(errno: Errno, reason: Option<&str>) -> Error {
        let source = wire::Error::Refused { source: errno.into(), reason: reason.map(Into::into) };
        Error::Failed { operation: "add veth a1b2".into(), source }
    }

    #[test]
    fn message_names_operation_and_cause() {
        assert_eq!(refused(Errno::ENODEV, None).to_string(), "add veth a1b2: no such device");
        assert_eq!(
            refused(Errno::EINVAL, Some("Device is not allowed")).to_string(),
            "add veth a1b2: invalid argument (Device is not allowed)"
        );
        let missing = Error::io(format_args!("open network namespace /run/netns/a"), Errno::ENOENT.into());
        assert_eq!(missing.to_string(), "open network namespace /run/netns/a: no such file or directory");
        let internal = Error::io(format_args!("set link 2 up"), io::Error::from_raw_os_error(524));
        assert_eq!(internal.to_string(), "set link 2 up: error 524");
        let other = Error::io(format_args!("start a thread"), io::Error::other("no memory"));
        assert_eq!(other.to_string(), "start a thread: no memory");
    }

    #[test]
    fn kinds() {
        assert!(refused(Errno::ENODEV, None).is_not_found());
        assert!(refused(Errno::EEXIST, None).is_exists());
        assert!(refused(Errno::EBUSY, None).is_busy());
        assert!(!refused(Errno::EPERM, None).is_not_found());
        assert!(Error::io(format_args!("open x"), Errno::ENOENT.into()).is_not_found());
        assert_eq!(refused(Errno::EBUSY, None).errno(), Some(16));
        assert_eq!(Error::SysctlPath { path: "..".into() }.errno(), None);
        let lacking =
            |errno: Errno| Error::privileged(format_args!("enter it"), "CAP_SYS_ADMIN", errno.into());
        assert_eq!(
            lacking(Errno::EPERM).to_string(),
            "enter it: operation not permitted (it takes CAP_SYS_ADMIN)"
        );
        assert_eq!(
            lacking(Errno::EACCES).to_string(),
            "enter it: permission denied (it takes CAP_SYS_ADMIN)"
        );
        assert_eq!(lacking(Errno::ENOMEM).to_string(), "enter it: out of memory");
        assert_eq!(lacking(Errno::EPERM).errno(), Some(1));
    }
}
