//! Errors, as `doing what to which: cause`, and what the user can do about each.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

/// The cure where the kernel refuses something for lack of privileges. Root lacks capabilities.
fn privileges() -> &'static str {
    if geteuid().is_root() {
        "CAP_NET_ADMIN and CAP_SYS_ADMIN are needed, and CAP_SYS_PTRACE for the namespace of another's process"
    } else {
        "run it as root, or inside `unshare -Urnm`"
    }
}

/// A failure of the command, with the object it was about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A plugin failed, or a network configuration or the result cache is not usable.
    #[error("{doing}: {source}")]
    Contract {
        /// What was being done, such as `add container a interface eth0 on network n`.
        doing: String,
        /// The contract's own error, in most cases a plugin's.
        #[source]
        source: cni::Error,
    },
    /// The command ran, but something of its container is left.
    #[error("{source}")]
    Left {
        /// The exit code of the command.
        status: u8,
        /// What is left, and why.
        source: Box<Error>,
    },
    /// The command could not be run, and then its attachment could not be removed either.
    #[error("{first}; {further}")]
    Both {
        /// What ended the command.
        #[source]
        first: Box<Error>,
        /// Why something of it is left.
        further: Box<Error>,
    },
    /// The command of a container was not run, because something else failed.
    #[error(transparent)]
    NotRun(Box<Error>),
    /// A system call failed.
    #[error("{doing}: {}", describe(.source))]
    Io {
        /// What was being done, such as `mount hosts file /run/a/hosts over /etc/hosts`.
        doing: String,
        /// The failure of the system call.
        #[source]
        source: io::Error,
    },
    /// A lock could not be taken.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// The kernel refused something about a network namespace or a link in it.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// The namespace of an `add` or `check` cannot be opened.
    #[error("{source}")]
    Netns {
        /// The namespace as it was given.
        given: PathBuf,
        /// Why it cannot be opened.
        #[source]
        source: netlink::Error,
    },
    /// The value of an option is not acceptable. The parser of the command line adds the option and its value.
    #[error("{reason}")]
    Argument {
        /// What is wrong with it, and the cure.
        reason: String,
    },
    /// No network was named, and there is not exactly one to choose.
    #[error("choose a network of {}: it has {}", .folder.display(), if .names.is_empty() { "none".to_owned() } else { .names.join(", ") })]
    Choice {
        /// The folder of configurations.
        folder: PathBuf,
        /// The networks in it.
        names: Vec<String>,
    },
    /// No container has this name or ID.
    #[error("find container {container}: no attachment has this name or ID")]
    NoContainer {
        /// What was given.
        container: String,
    },
    /// Several containers have this name, or IDs that begin so.
    #[error("find container {container}: it could be {}", .ids.join(", "))]
    SeveralContainers {
        /// What was given.
        container: String,
        /// The IDs of those that it could be.
        ids: Vec<String>,
    },
    /// Something cannot be done, for a reason that is known only where it was tried.
    #[error("{doing}: {reason}")]
    Refused {
        /// What was to be done.
        doing: String,
        /// Why it is not.
        reason: String,
        /// What the user can do about it.
        cure: Option<String>,
    },
    /// What the program of the agent of overlay networks said, with the cure.
    #[error("{0}")]
    Agent(String),
    /// Several errors, one a line.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\ncleat: "))]
    Several(Vec<Error>),
    /// The command could not be executed.
    #[error("execute {}: {}", .program.display(), describe(.source))]
    Execute {
        /// The command.
        program: OsString,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The container's first process, or its supervisor, reported a failure.
    #[error("{}", .0.message)]
    Inside(Failure),
}

/// An error as one process reports it to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    message: String,
    cure: Option<String>,
    code: u8,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self { message: error.to_string(), cure: error.cure(), code: error.exit_code() }
    }
}

/// The exit code of a `run` whose command was not run, as with other container tools.
pub(crate) const NOT_RUN: u8 = 125;

impl Error {
    /// An [`Error::Io`] from anything that the standard library or `nix` reports.
    pub(crate) fn io(doing: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io { doing: doing.into(), source: source.into() }
    }

    /// An [`Error::Contract`] as a closure for `map_err`.
    pub(crate) fn contract(doing: impl Into<String>) -> impl FnOnce(cni::Error) -> Self {
        let doing = doing.into();
        |source| Self::Contract { doing, source }
    }

    /// This error as the one because of which a command was not run, with an exit code that no command has.
    pub(crate) fn not_run(self) -> Self {
        match self {
            Self::Left { .. } => self,
            error if error.exit_code() == 1 => Self::NotRun(Box::new(error)),
            error => error,
        }
    }

    /// An [`Error::Refused`] with its cure.
    pub(crate) fn refused(
        doing: impl Into<String>,
        reason: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self::Refused { doing: doing.into(), reason: reason.into(), cure: Some(cure.into()) }
    }

    /// This error, with that of the undoing where that failed as well.
    pub(crate) fn and(self, undone: Result<(), Self>) -> Self {
        match undone {
            Ok(()) => self,
            Err(further) => Self::Both { first: Box::new(self), further: Box::new(further) },
        }
    }

    /// Success where there are no errors.
    pub(crate) fn all(mut errors: Vec<Self>) -> Result<(), Self> {
        if errors.len() > 1 { Err(Self::Several(errors)) } else { errors.pop().map_or(Ok(()), Err) }
    }

    /// What the user can do about it, where that is known.
    #[must_use]
    pub fn cure(&self) -> Option<String> {
        let cure = match self {
            Self::Contract { .. } if !geteuid().is_root() => privileges().to_owned(),
            Self::Io { source, .. } | Self::Lock(lock::Error::Io { source, .. })
                if is_refusal(source.raw_os_error()) =>
            {
                privileges().to_owned()
            }
            Self::Lock(lock::Error::Busy(busy)) => busy.cure(),
            Self::Netlink(source) | Self::Netns { source, .. } if is_refusal(source.errno()) => {
                privileges().to_owned()
            }
            Self::Netns { given, .. } => {
                let named = PathBuf::from("/run/netns").join(given);
                if given.is_relative() && named.exists() {
                    format!("a namespace is given by its path: {}", named.display())
                } else {
                    "`ip netns add NAME` makes one at /run/netns/NAME; a process has its own at /proc/PID/ns/net"
                        .to_owned()
                }
            }
            Self::Choice { names, .. } if names.is_empty() => {
                "put a *.conflist there, or set NETCONFPATH to another folder".to_owned()
            }
            Self::Choice { .. } => "name one with --network".to_owned(),
            Self::SeveralContainers { .. } => "give more of the ID".to_owned(),
            Self::Inside(Failure { cure, .. }) | Self::Refused { cure, .. } => return cure.clone(),
            Self::Several(errors) => return errors.iter().find_map(Self::cure),
            Self::Left { source, .. } | Self::NotRun(source) => return source.cure(),
            Self::Both { first, further } => return first.cure().or_else(|| further.cure()),
            _ => return None,
        };
        Some(cure)
    }

    /// The exit code: 1, but for `run` the codes of a shell, and 125 where the command was not run.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Execute { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            Self::Execute { .. } => 126,
            Self::Inside(failure) => failure.code,
            Self::NotRun(_) => NOT_RUN,
            Self::Left { status, .. } => (*status).max(1),
            Self::Both { first, .. } => first.exit_code(),
            _ => 1,
        }
    }
}

fn is_refusal(errno: Option<i32>) -> bool {
    errno.is_some_and(|errno| [Errno::EPERM, Errno::EACCES].contains(&Errno::from_raw(errno)))
}

/// The kernel's words without the number, in the lower case of all messages.
fn describe(error: &io::Error) -> String {
    let text = error.raw_os_error().map(|errno| Errno::from_raw(errno).desc().to_owned());
    let text = text.unwrap_or_else(|| error.to_string());
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_kernel_comes_with_its_cure() {
        let error = Error::io("make network namespace", Errno::EPERM);
        assert_eq!(error.to_string(), "make network namespace: operation not permitted");
        assert_eq!(error.cure().as_deref(), Some(privileges()));
        assert_eq!(Error::io("read", Errno::EIO).cure(), None);
    }

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        let execute = |errno: Errno| Error::Execute { program: "x".into(), source: errno.into() };
        assert_eq!(execute(Errno::ENOENT).exit_code(), 127);
        assert_eq!(execute(Errno::EACCES).exit_code(), 126);
        let refused =
            || Error::refused("publish all exposed ports", "no port is exposed", "add --expose PORT");
        assert_eq!(refused().exit_code(), 1);
        assert_eq!(refused().not_run().exit_code(), 125);
        assert!(refused().not_run().cure().is_some());
        assert_eq!(execute(Errno::ENOENT).not_run().exit_code(), 127);
        assert_eq!(execute(Errno::ENOENT).to_string(), "execute x: no such file or directory");
    }
}
