//! What can go wrong in this plugin, and the code that each failure has in the contract: the one place for both.

use std::path::PathBuf;

use cni::Code;
use ipnetwork::IpNetwork;
use nftables::ledger::Contended;

/// The words of STATUS and CHECK by which an obstacle is recognised.
pub const OBSTACLE: &str = "drops what is forwarded from and to bridge";
/// What an [`Error::Unheeded`] says of a host.
const UNHEEDED: &str = "the host forwards IPv6 and heeds no router advertisements of";
/// What CHECK says of a parameter without which a bridge leads nowhere.
pub(crate) const NOT_FORWARDED: &str = "is off: nothing is forwarded from and to bridge";
/// What CHECK says of the device that leads to an overlay network's other nodes.
pub(crate) const DEVICE: &str = "which leads to the other nodes of overlay network";

/// What may fail within the plugin.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the bridge plugin.
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
    /// The name of the bridge belongs to another kind of link.
    #[error("link {name} exists and is no bridge but {kind}")]
    NotABridge {
        /// The link's name.
        name: String,
        /// What it is.
        kind: String,
    },
    /// The bridge has an address that stands in the way of the gateway's.
    #[error("bridge {bridge} has address {found}, which conflicts with gateway {wanted}")]
    Gateway {
        /// The bridge's name.
        bridge: String,
        /// The address it has.
        found: IpNetwork,
        /// The address that the network's gateway needs.
        wanted: IpNetwork,
    },
    /// The bridge does not filter VLANs, and its ports may rely on that.
    #[error("bridge {0} does not filter VLANs, and has ports, which would lose tagged frames if it did")]
    Unfiltered(String),
    /// The kernel's bridges cannot filter VLANs.
    #[error("this kernel's bridges cannot filter VLANs: {0}")]
    NoVlans(netlink::Error),
    /// The container has the interface already.
    #[error("interface {0} exists in the container already")]
    InterfaceExists(String),
    /// The attachment itself was added before and not deleted.
    #[error("{0} is attached already")]
    Attached(String),
    /// The bridge cannot take another port (`BR_PORT_BITS` in net/bridge).
    #[error("bridge {0} has its 1,023 ports, which is all that a Linux bridge takes")]
    BridgeFull(String),
    /// A firewall's table is its own program's alone (`flags owner`).
    #[error("the firewall cannot be opened for bridge {bridge}: {refused}")]
    OwnedTable {
        /// The bridge's name.
        bridge: String,
        /// What the kernel refused.
        refused: String,
    },
    /// Another program's rules keep the network's packets from being forwarded.
    #[error("{what}: {cure}")]
    Obstacle {
        /// Which rules, of which packets.
        what: String,
        /// What to do about it.
        cure: &'static str,
    },
    /// The packet filter does not close a bridge as its networks say, and could not be made to.
    #[error(
        "bridge {bridge} is not closed: {why}; run cleat repair, and where that does not help, \
         remove the tables inet cleat_gate and bridge cleat_gate before"
    )]
    NotClosed {
        /// The bridge's name.
        bridge: String,
        /// What is missing, or in the way.
        why: String,
    },
    /// `icc: false` cannot be kept to on a bridge that filters VLANs.
    #[error(
        "bridge {0} filters VLANs, and br_netfilter skips packets that are on one, so \"icc\": false cannot be kept to"
    )]
    ApartOnVlans(String),
    /// `icc: false` cannot be kept to.
    #[error("\"icc\": false needs br_netfilter, which this kernel does not have")]
    NoBridgeNetfilter,
    /// The host forwards IPv6, and an uplink's router advertisements are not accepted any more.
    #[error(
        "{unheeded} {0} any more, which have brought it routes: it is losing \
         them; run sysctl -w net/ipv6/conf/{0}/accept_ra=2, and have a file of /etc/sysctl.d say so at boot",
        unheeded = UNHEEDED
    )]
    Unheeded(String),
    /// The container's interface could not be made what it is to be.
    #[error("{0}")]
    Interface(#[from] interface::Error),
    /// Another link has addresses of the network's subnet.
    #[error("subnet {subnet} clashes with {network} of link {link}: the host reaches one of the two")]
    Clash {
        /// The network's subnet.
        subnet: IpNetwork,
        /// The other link.
        link: String,
        /// Its subnet.
        network: IpNetwork,
    },
    /// The network's agent has not said yet what this node may use of an overlay network.
    #[error("cleat-overlay has no block yet: {} does not exist", .0.display())]
    NoBlock(PathBuf),
    /// What the network's agent said is of no use.
    #[error("{0}")]
    Overlay(#[from] overlay::Error),
    /// CHECK found a difference.
    #[error("{0}")]
    Differs(String),
    /// Another process holds the lock of the bridge.
    #[error("{0}")]
    Busy(#[from] lock::Busy),
    /// Others changed, or removed, what was being set up or taken down.
    #[error("{0}")]
    Transient(String),
    /// Others kept changing a table of the packet filter.
    #[error("{0}")]
    Contended(#[from] Contended),
    /// A request to the kernel failed.
    #[error("{0}")]
    Netlink(#[from] netlink::Error),
    /// A transaction of packet filter rules failed.
    #[error("{0}")]
    Nftables(#[from] nftables::Error),
    /// An iptables program is missing or failed.
    #[error("{0}")]
    Iptables(#[from] iptables::Error),
    /// The IPAM plugin failed, or the contract was broken.
    #[error("{0}")]
    Cni(#[from] cni::Error),
}

/// Whether a failure of CHECK is the host's own, which no DEL and ADD of an attachment mends, and none may be tried for.
#[must_use]
pub fn is_the_hosts(error: &cni::Error) -> bool {
    let said = error.to_string();
    [UNHEEDED, NOT_FORWARDED, OBSTACLE, DEVICE].iter().any(|words| said.contains(words))
}

/// A contradiction in the configuration, with what to write instead.
pub(crate) fn config(problem: impl Into<String>, cure: &'static str) -> Error {
    Error::Config { problem: problem.into(), cure }
}

/// A difference that CHECK has found.
pub(crate) fn differs<T>(text: impl Into<String>) -> Result<T> {
    Err(Error::Differs(text.into()))
}

impl Error {
    /// A failure to make a bridge, or to make one filter VLANs, with what is missing where the kernel cannot do it at all.
    pub(crate) fn vlan_filtering(error: netlink::Error) -> Self {
        if error.is_unsupported() { Self::NoVlans(error) } else { Self::Netlink(error) }
    }
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Cni(error) => error,
            Error::Interface(error) => error.into(),
            Error::Config { cure, .. } => Self::new(Code::InvalidConfig, text).details(cure),
            Error::NotABridge { .. } => Self::new(Code::InvalidConfig, text)
                .details("give \"bridge\" another name, or remove that link"),
            Error::Gateway { .. } => Self::new(Code::InvalidConfig, text)
                .details("set \"forceAddress\": true to replace it, or give the network a bridge of its own"),
            Error::Unfiltered(name) => Self::new(Code::InvalidConfig, text).details(format!(
                "run `ip link set {name} type bridge vlan_filtering 1`, or give the network a bridge of its own"
            )),
            Error::NoVlans(_) => Self::new(Code::Kernel, text).details(
                "use a kernel with CONFIG_BRIDGE_VLAN_FILTERING, or leave \"vlan\" and \"vlanTrunk\" out",
            ),
            Error::InterfaceExists(_) => Self::new(Code::InvalidEnvironment, text)
                .details("give CNI_IFNAME another name, or DEL it first"),
            Error::Attached(_) => Self::new(Code::InvalidEnvironment, text).details("DEL it first"),
            Error::BridgeFull(_) => {
                Self::new(Code::NotAvailableLimited, text).details("spread the containers over more networks")
            }
            Error::OwnedTable { .. } => Self::new(Code::NotAvailable, text).details(
                "leave \"forward\" out and have that program accept the bridge: \
                 with firewalld, firewall-cmd --permanent --zone=trusted --add-interface=<bridge>, then --reload",
            ),
            Error::Obstacle { .. } | Error::NotClosed { .. } => Self::new(Code::NotAvailable, text),
            Error::ApartOnVlans(_) => Self::new(Code::InvalidConfig, text)
                .details("give the network a bridge of its own without \"vlan\", or use \"portIsolation\": true"),
            Error::NoBridgeNetfilter => Self::new(Code::NotAvailable, text)
                .details("load it: modprobe br_netfilter; and at boot, by a file of /etc/modules-load.d"),
            Error::Clash { .. } => Self::new(Code::NotAvailableLimited, text)
                .details("give each network a subnet of its own"),
            Error::NoBlock(_) => Self::new(Code::TryAgain, text)
                .details("the network's agent writes it once this node has a part of the network's addresses"),
            Error::Overlay(_) => Self::new(Code::Io, text)
                .details("the network's agent writes this file: remove it, and have the agent write it again"),
            Error::Differs(_) | Error::Unheeded(_) => Self::new(Code::CheckFailed, text),
            Error::Busy(busy) => Self::new(Code::TryAgain, text).details(busy.cure()),
            Error::Transient(_) | Error::Contended(_) => Self::new(Code::TryAgain, text).details("try again"),
            Error::Iptables(iptables::Error::Busy(busy)) => {
                Self::new(Code::TryAgain, text).details(busy.cure())
            }
            Error::Iptables(error) if error.is_missing_program() => Self::new(Code::NotAvailable, text)
                .details("set \"ipMasqBackend\": \"nftables\", which needs no program"),
            Error::Netlink(_) | Error::Nftables(_) | Error::Iptables(_) => Self::new(Code::Kernel, text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contended_table_is_for_another_time() {
        let contended = Contended { table: "inet cleat_bridge".to_owned() };
        let error = cni::Error::from(Error::from(contended));
        assert_eq!(error.code(), Code::TryAgain.number());
    }
}
