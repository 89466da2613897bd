//! `forward: accept`: what the host's firewall would drop by default of a network's forwarded packets, it lets through.
//!
//! A packet is forwarded only where no base chain at that hook drops it, whichever program made the chain: Docker and ufw have
//! iptables' chain `FORWARD` drop what it has no rule for, others end a chain of their own by rejecting the rest. So two
//! rules for the bridge go to the head of each such chain, `iifname "br0" accept` and `oifname "br0" accept`, in the form
//! that both `nft` and iptables read back. What may come in is for the network's `gate`, which drops in a table of its own.
//!
//! ```text
//! table inet cleat_forward {
//!     map members { type ifname : verdict; elements = { "veth…" comment "br0 …" : goto open_… } } # no rule looks here
//!     chain bridges { }
//!     chain open_… { jump bridges }
//! }
//! ```
//!
//! The elements of `members` keep a bridge's chain: with the last port it goes, the rules with it in one transaction, and
//! the table with the last chain. What iptables' legacy variant has is changed by its program, with the first port and
//! the last.

mod chains;
mod legacy;
mod members;
mod obstacle;
mod search;

pub(super) use members::{MEMBERS, Put, Take, check};
pub(crate) use obstacle::{gives_ipv6, status};
