//! What can go wrong in the conversation with the runtime.

use std::io;
use std::path::PathBuf;

/// A failure of the conversation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The runtime's socket cannot be reached.
    #[error("connect to {}: {source}; is NRI enabled in the runtime?", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system call says.
        source: io::Error,
    },
    /// The runtime's connection was not handed over.
    #[error("take over the runtime's connection, file descriptor {descriptor}: {source}")]
    Inherit {
        /// Its number.
        descriptor: i32,
        /// What the system call says.
        source: io::Error,
    },
    /// The connection broke.
    #[error("speak to the runtime: {0}")]
    Io(#[from] io::Error),
    /// The runtime sent bytes that are not a message.
    #[error("read what the runtime sent: {0}")]
    Decode(#[from] prost::DecodeError),
    /// The runtime broke the protocol's limits.
    #[error("the runtime sent {0}")]
    Protocol(String),
    /// The runtime does not want the plugin.
    #[error("the runtime refused to register the plugin: {0}")]
    Refused(String),
    /// Another process serves already.
    #[error(
        "another cleat-nri{} serves {}: two would have the runtime refuse each container, so stop one of them (the \
         runtime's is in /opt/nri/plugins)",
        process.map(|process| format!(", process {process},")).unwrap_or_default(),
        state_dir.display()
    )]
    Second {
        /// Its ID, where it is known.
        process: Option<u32>,
        /// link-env's state folder.
        state_dir: PathBuf,
    },
}
