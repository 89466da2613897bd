//! Why a command failed: what it was about, the reason, and the cure.

use std::io;
use std::path::PathBuf;

use cni::NetworkName;

use crate::conf;

/// A failure of a command, as its one line on standard error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The network has no file on this node.
    #[error(
        "network {0}: there is no {path}; `cleat network join` writes it, and `cleat network create -d overlay` for a new network",
        path = conf::path(.0).display()
    )]
    NoConf(NetworkName),
    /// The network's file is of no use.
    #[error("{}: {fault}", path.display())]
    Conf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: Fault,
    },
    /// What came by standard input is of no use.
    #[error("standard input: {0}")]
    Input(String),
    /// A command failed.
    #[error("{what}: {reason}")]
    Command {
        /// What was to be done.
        what: String,
        /// Why it could not be, and the cure.
        reason: String,
    },
    /// A whole sentence.
    #[error("{0}")]
    Plain(String),
    /// The node has no name that others could tell it by.
    #[error(
        "{name:?} is no name for a node: {reason}; set the host's name (hostnamectl set-hostname), or \"node\" in the network's file"
    )]
    NodeName {
        /// The name.
        name: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// The machine has no ID.
    #[error(
        "/etc/machine-id: {0}; systemd-machine-id-setup writes one, or `dbus-uuidgen --ensure=/etc/machine-id`"
    )]
    Machine(String),
    /// A file or folder of the agent's own.
    #[error("{verb} {}: {}", path.display(), lock::describe(source))]
    Io {
        /// What was to be done.
        verb: &'static str,
        /// With which file.
        path: PathBuf,
        /// The failure.
        source: io::Error,
    },
    /// The folder of the networks' files has gone.
    #[error("{}: the folder was removed or renamed; started anew, the agent makes it", .0.display())]
    FolderGone(PathBuf),
    /// Another process is the agent.
    #[error("another cleat-overlay runs on this node: it has the lock of {}; end that one first", .0.display())]
    Second(PathBuf),
    /// The task of a network ended by itself.
    #[error("network {0}: its task ended; started anew, the agent goes on where it was")]
    TaskEnded(NetworkName),
    /// The agent goes on with a network that is to be removed.
    #[error(
        "network {0}: the agent still has it after 10 s; see systemctl status cleat-overlay.service, or end it first"
    )]
    StillRunning(NetworkName),
}

impl Error {
    /// For `map_err`.
    pub(crate) fn io(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { verb, path, source }
    }
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// It is somebody else's.
    #[error("it belongs to user {0} and not to root: chown root it, if it is what you want")]
    Owner(u32),
    /// Others can read or change it.
    #[error("others than root may use it (mode {0:o}): chmod 600 it")]
    Mode(u32),
    /// It leads elsewhere.
    #[error("it is a symbolic link: put the file itself there")]
    Link,
    /// A folder, a device or a FIFO.
    #[error("it is not a regular file")]
    Kind,
    /// It cannot be read.
    #[error("{}", lock::describe(.0))]
    Io(io::Error),
    /// It is no JSON, or not of the form that is expected.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A value that cannot be.
    #[error("{key} {value}: {reason}")]
    Value {
        /// The key.
        key: &'static str,
        /// What stands there.
        value: String,
        /// What is wrong, and the cure.
        reason: String,
    },
}
