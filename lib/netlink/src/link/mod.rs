//! Links: what `struct ifinfomsg` and its attributes say of a network interface.

mod add;
mod del;
mod far_end;
mod get;
mod ipv4;
mod ipv6;
mod netfilter;
mod port;
mod request;
mod set;
mod state;
mod vlan;

pub use add::{Bridge, Peer, Veth, VlanDevice};
pub use ipv6::Advertisements;
pub use netfilter::BridgeNetfilter;
pub use port::PortFlags;
pub use state::Link;
pub use vlan::{BridgeVlan, VlanMember};
