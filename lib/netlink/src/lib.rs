//! Links, addresses, routes, network namespaces and sysctls of Linux: a noun a module, a verb a function.
//!
//! Everything is blocking and happens in the calling thread: one request, one answer, over one
//! `NETLINK_ROUTE` socket. A verb reads no more of the kernel's tables than it needs, so its cost does not grow
//! with the number of containers on the node.
//!
//! The crate takes and returns plain values. It knows nothing of CNI and nothing of packet filters, chooses
//! no names, and keeps no state beyond the open socket: it asks the kernel what exists, each time.
//!
//! ```
//! use netlink::{AddressFlags, Bridge, Socket};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use nix::sched::{CloneFlags, unshare};
//! # unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
//! let mut socket = Socket::open()?;
//! let bridge = socket.add_bridge(&Bridge { name: "demo0", ..Bridge::default() })?;
//! socket.add_address(bridge.index, "10.88.0.1/24".parse()?, AddressFlags::default())?;
//! assert_eq!(socket.addresses(bridge.index)?[0].network.to_string(), "10.88.0.1/24");
//!
//! let error = socket.add_bridge(&Bridge { name: "demo0", ..Bridge::default() }).unwrap_err();
//! assert!(error.is_exists());
//! assert_eq!(error.to_string(), "add bridge demo0: file exists");
//! # Ok(())
//! # }
//! ```
//!
//! Examples: `bridge` (a bridge, a container on it, and a connection between them, without root) and `list` (what a namespace
//! has): `cargo run -p netlink --example bridge`.

pub mod address;
pub mod link;
pub mod recorded;
pub mod route;
pub mod sysctl;

mod error;
mod found_namespace;
mod ip;
mod mac;
mod namespace;
mod socket;

pub use address::{Address, AddressFlags};
pub use error::Error;
pub use found_namespace::{FoundNamespace, NsidsWithProcesses};
pub use ip::Family;
pub use ipnetwork::IpNetwork;
pub use link::{
    Advertisements, Bridge, BridgeNetfilter, BridgeVlan, IpvlanMode, Link, MacvlanMode, Peer, PortFlags,
    Upper, UpperKind, Veth, VlanDevice, VlanMember,
};
pub use mac::{Mac, ParseMacError};
pub use namespace::{Namespace, NamespaceLock};
pub use route::Route;
pub use socket::Socket;
