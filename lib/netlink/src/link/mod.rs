//! Links: what `struct ifinfomsg` and its attributes say of a network interface.

mod add;
mod bridge;
mod change;
mod devconf;
mod far_end;
mod get;
mod request;
mod state;
mod upper;
mod vlan;

pub use add::{Bridge, Peer, Veth, VlanDevice};
pub use bridge::{BridgeNetfilter, PortFlags};
pub use devconf::Advertisements;
pub use state::Link;
pub use upper::{IpvlanMode, MacvlanMode, Upper, UpperKind};
pub use vlan::{BridgeVlan, VlanMember};
