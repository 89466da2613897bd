//! Why a network's file is of no use.

use std::io;
use std::path::PathBuf;

use ipnetwork::IpNetwork;

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", path.display())]
pub struct Error {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Root alone may say where a node's packets go.
    #[error("it belongs to user {0} and not to root")]
    Owner(u32),
    /// As for [`Fault::Owner`].
    #[error("others than its owner may write to it (mode {0:o})")]
    Writable(u32),
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is no JSON, or not of the form that is expected.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// It is of another version of the agent.
    #[error("it is of version {found}, and this program reads version {known}")]
    Version {
        /// The file's version.
        found: u32,
        /// The one that this program knows.
        known: u32,
    },
    /// A list is empty, or longer than any network needs.
    #[error("{key} has {count} entries: 1 to {most} are allowed")]
    Count {
        /// The list's key.
        key: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// What is to be a network is an address in one, every address, or too small for a node.
    #[error("{key} {network}: {why}")]
    Network {
        /// The key.
        key: &'static str,
        /// What stands there.
        network: IpNetwork,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The MTU is one that the network's families cannot have.
    #[error("mtu {mtu} is out of range: {least} to 65535 is allowed")]
    Mtu {
        /// What stands there.
        mtu: u32,
        /// The least that works.
        least: u32,
    },
    /// The name of the network, or of its device.
    #[error("{0}")]
    Name(cni::Error),
}
