//! What can go wrong in this plugin, and the code that each failure has in the contract: the one place for both.

use cni::Code;

use crate::port::Port;

/// A failure of the host-port plugin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration asks for what does not exist or cannot be.
    #[error("{problem}")]
    Config {
        /// What is wrong, with the key.
        problem: String,
        /// What to write instead.
        cure: &'static str,
    },
    /// A key that the backend cannot honour.
    #[error("key {key:?} is not supported by this backend")]
    Unsupported {
        /// The key.
        key: &'static str,
        /// What to do instead.
        cure: &'static str,
    },
    /// The port belongs to another container.
    #[error("port {port} is published by {holder}")]
    Taken {
        /// The port that was asked for.
        port: Port,
        /// The container and network that have it.
        holder: String,
    },
    /// A process of the host has the port (`checkHostListeners`).
    #[error("port {port} is in use by a process of the host{}", by(.address.as_ref()))]
    Listened {
        /// The port that was asked for.
        port: Port,
        /// Where the process listens, as far as it could be found out.
        address: Option<std::net::SocketAddr>,
    },
    /// Every port of the ephemeral range is published or in use.
    #[error("no {protocol} port of {first} to {last} is free")]
    NoneFree {
        /// The protocol.
        protocol: cni::Protocol,
        /// The first port of `freePorts` or `net.ipv4.ip_local_port_range`.
        first: u16,
        /// The last one.
        last: u16,
    },
    /// Others changed the ruleset during every attempt.
    #[error(transparent)]
    Contended(#[from] nftables::ledger::Contended),
    /// CHECK found a difference.
    #[error("{0}")]
    Differs(String),
    /// A request to the kernel failed.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// A transaction of packet filter rules failed.
    #[error(transparent)]
    Nftables(#[from] nftables::Error),
    /// A program of iptables failed.
    #[error(transparent)]
    Iptables(#[from] iptables::Error),
    /// The contract was broken.
    #[error(transparent)]
    Cni(#[from] cni::Error),
}

fn by(address: Option<&std::net::SocketAddr>) -> String {
    address.map(|address| format!(", which listens on {address}")).unwrap_or_default()
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Cni(error) => error,
            Error::Config { cure, .. } => Self::new(Code::InvalidConfig, text).details(cure),
            Error::Unsupported { cure, .. } => Self::new(Code::UnsupportedField, text).details(cure),
            Error::Taken { .. } => Self::new(Code::InUse, text)
                .details("publish another host port, or remove that container first"),
            Error::Listened { .. } => {
                Self::new(Code::InUse, text).details("publish another host port, or stop that process first")
            }
            Error::NoneFree { .. } => Self::new(Code::InUse, text)
                .details("widen freePorts or net.ipv4.ip_local_port_range, or name a host port"),
            Error::Contended(_) => Self::new(Code::TryAgain, text),
            Error::Differs(_) => Self::new(Code::CheckFailed, text)
                .details("the same ADD again puts back what is missing; cleat repair does that"),
            Error::Nftables(error) if error.is_restart() => Self::new(Code::TryAgain, text),
            Error::Iptables(iptables::Error::Busy(busy)) => {
                Self::new(Code::TryAgain, text).details(busy.cure())
            }
            Error::Netlink(_) | Error::Nftables(_) | Error::Iptables(_) => Self::new(Code::Kernel, text),
        }
    }
}
