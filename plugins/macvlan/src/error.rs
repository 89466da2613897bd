//! What can go wrong in these plugins, and the code that each failure has in the contract: the one place for both.

use cni::Code;
use netlink::Mac;

/// What may fail within the plugin.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the macvlan or the ipvlan plugin.
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
    /// The link below does not exist.
    #[error("master {name} does not exist{place}")]
    NoMaster {
        /// Its name.
        name: String,
        /// Where it was looked for, if not on the host.
        place: &'static str,
    },
    /// Nothing names the link below.
    #[error("no master is named, and there is no default route whose interface it would be")]
    NoDefaultRoute,
    /// The link below is down.
    #[error("master {0} is down: nothing gets through it")]
    MasterDown(String),
    /// Another kind of user has the link below.
    #[error("link {master} cannot have a {kind}: {source}")]
    MasterInUse {
        /// The link's name.
        master: String,
        /// The kind that was to be made.
        kind: &'static str,
        /// What the kernel said.
        source: netlink::Error,
    },
    /// One in mode passthru has the link below to itself.
    #[error("link {master} cannot have another macvlan where one is in mode passthru: {source}")]
    Passthru {
        /// The link's name.
        master: String,
        /// What the kernel said.
        source: netlink::Error,
    },
    /// The host has no address on the network.
    #[error("hostAccess: master {0} has no IPv4 address, by which containers would reach the host")]
    NoAddress(String),
    /// Another process holds the lock of the host's own interface.
    #[error("{0}")]
    Busy(#[from] lock::Busy),
    /// The MTU does not fit through the link below.
    #[error("mtu {mtu} is larger than the {most} of master {master}")]
    Mtu {
        /// What was asked for.
        mtu: u32,
        /// The link's name.
        master: String,
        /// Its MTU.
        most: u32,
    },
    /// The kernel has no links of this kind.
    #[error("this kernel has no {0}")]
    NoKind(&'static str),
    /// Another interface on the same link has the hardware address.
    #[error("hardware address {mac} is in use on master {master}")]
    MacInUse {
        /// The address.
        mac: Mac,
        /// The link's name.
        master: String,
    },
    /// The container has the interface already.
    #[error("interface {0} exists in the container already")]
    InterfaceExists(String),
    /// The attachment itself was begun before and not deleted.
    #[error("{0} was begun already")]
    Attached(String),
    /// CHECK found a difference.
    #[error("{0}")]
    Differs(String),
    /// Others changed, or removed, what was being set up or taken down.
    #[error("{0}")]
    Transient(String),
    /// The interface could not be made what it is to be.
    #[error("{0}")]
    Interface(#[from] interface::Error),
    /// A request to the kernel failed.
    #[error("{0}")]
    Netlink(#[from] netlink::Error),
    /// The IPAM plugin failed, or the contract was broken.
    #[error("{0}")]
    Cni(#[from] cni::Error),
}

/// A contradiction in the configuration, with what to write instead.
pub(crate) fn config(problem: impl Into<String>, cure: &'static str) -> Error {
    Error::Config { problem: problem.into(), cure }
}

/// A difference that CHECK has found.
pub(crate) fn differs<T>(text: impl Into<String>) -> Result<T> {
    Err(Error::Differs(text.into()))
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Cni(error) => error,
            Error::Interface(error) => error.into(),
            Error::Config { cure, .. } => Self::new(Code::InvalidConfig, text).details(cure),
            Error::NoMaster { .. } => Self::new(Code::InvalidConfig, text).details(
                "name an interface that `ip link` shows, or make it first: a VLAN eth0.50 by \
                 `ip link add link eth0 name eth0.50 type vlan id 50`",
            ),
            Error::NoDefaultRoute => {
                Self::new(Code::InvalidConfig, text).details("set \"master\" to an interface of the host")
            }
            Error::MasterDown(name) => {
                Self::new(Code::NotAvailable, text).details(format!("run ip link set {name} up"))
            }
            Error::MasterInUse { kind, .. } => Self::new(Code::InvalidConfig, text).details(format!(
                "take it out of the bridge or bond that has it, and keep macvlan and ipvlan apart; or name another master than one \
                 that has no room for a {kind}"
            )),
            Error::Passthru { .. } => Self::new(Code::InvalidConfig, text)
                .details("give the container in mode passthru a master of its own, such as a VLAN"),
            Error::NoAddress(name) => Self::new(Code::InvalidConfig, text)
                .details(format!("give it one of the network: ip addr add ADDRESS/LENGTH dev {name}; or leave hostAccess out")),
            Error::Busy(busy) => Self::new(Code::TryAgain, text).details(busy.cure()),
            Error::Mtu { .. } => Self::new(Code::InvalidConfig, text)
                .details("leave \"mtu\" out, so that it is the master's"),
            Error::NoKind(kind) => Self::new(Code::NotAvailable, text)
                .details(format!("load it: modprobe {kind}; or use a kernel with CONFIG_{}", kind.to_uppercase())),
            Error::MacInUse { .. } => {
                Self::new(Code::InUse, text).details("ask for another hardware address, or for none")
            }
            Error::InterfaceExists(_) => Self::new(Code::InvalidEnvironment, text)
                .details("give CNI_IFNAME another name, or DEL it first"),
            Error::Attached(_) => Self::new(Code::InvalidEnvironment, text).details("DEL it first"),
            Error::Differs(_) => Self::new(Code::CheckFailed, text),
            Error::Transient(_) => Self::new(Code::TryAgain, text).details("try again"),
            Error::Netlink(_) => Self::new(Code::Kernel, text),
        }
    }
}
