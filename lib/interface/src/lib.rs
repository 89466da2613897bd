//! A container's interface, whatever kind of link it is: what the plugins that make one have in common.
//!
//! [`Ipam`] gets the addresses, [`kernel_route`] makes routes of what it says, [`configure`] gives both to the interface and
//! [`Inside::announce`] tells the neighbours, [`observe`] is for CHECK, [`Removal`] for DEL. The links themselves are the
//! plugins' own.

mod alias;
mod configure;
mod error;
mod ipam;
mod keys;
mod link_removal;
mod mac;
mod observe;
mod route;
mod solicited_node;

pub use alias::{ALIAS_MAX, ALIAS_WORD, alias};
pub use configure::{Announces, Inside, Wanted, configure, refuse_advertisements, set_up};
pub use error::{Error, Result, sysctl};
pub use ipam::Ipam;
pub use keys::{Args, IpamKeys, MacKey, asked_mac, word};
pub use link_removal::{Removal, asked_removal};
pub use mac::{parse as parse_mac, random as random_mac};
pub use observe::{Observed, observe};
pub use route::{kernel_route, network_of, table, with_length};
pub use solicited_node::{await_group_route, await_solicitable};
