//! What can go wrong. A message names the object, and the cure where there is one.

use std::io;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::wanted::Identity;

/// What the kernel refused, or what this program refuses to do.
///
/// None of it has changed anything by halves that the next [`apply`](super::Kernel::apply) does not mend.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("open a netlink socket: {0}")]
    Open(#[source] io::Error),
    #[error("{what}: the kernel did not answer on its netlink socket within {seconds} s")]
    NoAnswer { what: String, seconds: u64 },
    #[error("{what}: {source}")]
    Refused { what: String, source: io::Error },
    #[error(
        "device {name}: this kernel has no VXLAN; load the module (modprobe vxlan), or use a kernel that has it \
         (CONFIG_VXLAN)"
    )]
    NoVxlan { name: String },
    #[error(
        "device {name}: the network is encrypted, and this kernel has no WireGuard; load the module (modprobe wireguard), \
         or use a kernel that has it (CONFIG_WIREGUARD, Linux 5.6 or newer)"
    )]
    NoWireguard { name: String },
    #[error("device {name}: the network is encrypted, and this node has no key")]
    NoKey { name: String },
    #[error(
        "device {name}: another program uses UDP port {port} already (ss -lunp shows which); end it, or create the network \
         with another port"
    )]
    PortInUse { name: String, port: u16 },
    #[error(
        "device {name} is there already and is {is}, not this network's; remove it (ip link del {name}), or set another \
         name with \"device\""
    )]
    NotOurs { name: String, is: String },
    #[error(
        "device {name}: {other} has VNI {vni} at UDP port {port} already; remove that (ip link del {other}), or create the \
         network with another VNI"
    )]
    VniInUse { name: String, other: String, vni: u32, port: u16 },
    #[error("device {name} went while it was used")]
    DeviceGone { name: String },
    #[error("no interface {name}; set \"interface\" or \"address\" of the network to one that is there")]
    NoInterface { name: String },
    #[error("no interface has the address {address}; set \"address\" of the network to one of this node's")]
    NoSuchAddress { address: IpAddr },
    #[error(
        "{address} is an address of {name}, not of {wanted}; set only one of \"address\" and \"interface\""
    )]
    AddressElsewhere { address: IpAddr, name: String, wanted: String },
    #[error(
        "interface {name} has no address to send from; give it one, or set \"interface\" or \"address\" of the network"
    )]
    NoAddress { name: String },
    #[error(
        "no default route says which interface leads to the other nodes; set \"interface\" or \"address\" of the network"
    )]
    NoDefaultRoute,
    #[error("block {block} is no part of the network's prefixes")]
    OutsidePrefixes { block: IpNetwork },
    #[error("block {block} meets {other} of {holder}")]
    BlockTaken { block: IpNetwork, other: IpNetwork, holder: String },
    #[error("{identity} is that of {holder}")]
    IdentityTaken { identity: Identity, holder: String },
    #[error("nothing can be sent to the address {address}")]
    UnusableAddress { address: IpAddr },
    #[error("the address {address} is not of the family of {local}, which this node sends from")]
    OtherFamily { address: IpAddr, local: IpAddr },
    #[error("{address} is this node's own address")]
    OwnAddress { address: IpAddr },
    #[error("{identity} is none of a device of this network")]
    UnusableIdentity { identity: Identity },
    #[error("{route} is in the way; remove it, or use other prefixes for the network")]
    RouteInTheWay { route: String },
}

impl Error {
    /// The kernel's error number.
    pub(super) fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}
