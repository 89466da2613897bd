//! Masquerading in one table of the suite's own.
//!
//! Two sets have each container's address, one of them together with the interface of the host that its network is
//! behind: what leaves by another interface is masqueraded. A map has a record under the name of the container's port,
//! so that DEL needs to know nothing else:
//!
//! ```text
//! table inet cleat_bridge {
//!     set masq4 { type ipv4_addr; elements = { 10.1.0.5 comment "veth… net 1a2b3c4d eth0 id" } }
//!     set home4 { type ipv4_addr . ifname; elements = { 10.1.0.5 . "cni0" comment "veth… net 1a2b3c4d eth0 id" } }
//!     set masq6, home6: the same for IPv6
//!     map owners { type ifname : verdict; elements = { "veth…" comment "cni0 net 1a2b3c4d 10.1.0.5" : goto members } }
//!     chain members { }
//!     chain post {
//!         type nat hook postrouting priority srcnat
//!         ip saddr @masq4 ip saddr . oifname != @home4 ip daddr != 224.0.0.0/4 masquerade
//!         ip6 saddr @masq6 ip6 saddr . oifname != @home6 ip6 daddr != ff00::/8 masquerade
//!     }
//! }
//! ```
//!
//! An address may be there twice, where the subnets of two networks meet: then the elements are those of the first, and
//! become the other's when that one goes (see `heirs`).
//!
//! The kernel counts the references: the empty chain `members`, which every owner leads to, can be deleted once there is
//! none; the table goes with it. No rule looks into a verdict map: whenever an element that leads to a chain is added, the
//! kernel goes through all elements of all maps that rules look into (`nft_table_validate`), 0.1 ms a thousand.

mod check;
mod except;
mod heirs;
mod layout;
mod owner_record;
mod put;
mod removal;
mod spread;

pub(crate) use layout::OWNERS;
pub(crate) use put::Put;
pub(crate) use removal::Take;
