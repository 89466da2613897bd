//! What can go wrong in this plugin, and the code that each failure has in the contract: the one place for both.

use cni::Code;

use crate::port::Port;

/// A failure of the host-port plugin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration asks for what does not exist or cannot be: what is wrong, with the key, and what to write instead.
    #[error("{0}")]
    Config(String, &'static str),
    /// A key that the backend cannot honour, and what to do instead.
    #[error("key {0:?} is not supported by this backend")]
    Unsupported(&'static str, &'static str),
    /// The container is on a network of the host's, which the host itself does not reach it by.
    #[error("interface {ifname} is a {kind}, which the host does not reach: no port of it can be published")]
    Unreachable {
        /// The container's interface.
        ifname: String,
        /// Its kind.
        kind: String,
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
    #[error("port {port} is in use by a process of the host{}", .address.map(by).unwrap_or_default())]
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
    /// Other processes changed the ruleset during every attempt.
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
    /// The request or the previous result is not valid.
    #[error(transparent)]
    Cni(#[from] cni::Error),
}

fn by(address: std::net::SocketAddr) -> String {
    format!(", which listens on {address}")
}

/// What CHECK returns for a difference.
pub(crate) fn differs<T>(text: String) -> Result<T, Error> {
    Err(Error::Differs(text))
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        let (code, cure) = match error {
            Error::Cni(error) => return error,
            Error::Config(_, cure) => (Code::InvalidConfig, cure),
            Error::Unsupported(_, cure) => (Code::UnsupportedField, cure),
            Error::Unreachable { .. } => (
                Code::InvalidConfig,
                "all of its ports are its own: leave the port out and connect to the container's address, or attach it to a bridge \
                 network as well",
            ),
            Error::Taken { .. } => (Code::InUse, "publish another host port, or remove that container first"),
            Error::Listened { .. } => (Code::InUse, "publish another host port, or stop that process first"),
            Error::NoneFree { .. } => {
                (Code::InUse, "widen freePorts or net.ipv4.ip_local_port_range, or name a host port")
            }
            Error::Differs(_) => {
                (Code::CheckFailed, "the same ADD again puts back what is missing; cleat repair does that")
            }
            Error::Iptables(iptables::Error::Busy(busy)) => {
                return Self::new(Code::TryAgain, text).details(busy.cure());
            }
            Error::Contended(_) => return Self::new(Code::TryAgain, text),
            Error::Nftables(error) if error.is_restart() => return Self::new(Code::TryAgain, text),
            Error::Netlink(_) | Error::Nftables(_) | Error::Iptables(_) => {
                return Self::new(Code::Kernel, text);
            }
        };
        Self::new(code, text).details(cure)
    }
}
