//! `ingress: published`, `internal` and `icc: false`: what may be forwarded to, from and within a network's bridge.
//!
//! One table, one rule a direction, whatever the number of networks; the host itself is not held to it, only what it
//! forwards. A bridge has one gate, which all networks on it share:
//!
//! ```text
//! table inet cleat_gate {
//!     map into { type ifname : verdict; elements = { "br0" : jump published_… } }      # by the bridge
//!     map from { type ifname : verdict; elements = { "br1" : jump internal_… } }
//!     map members { type ifname : verdict; elements = { "veth…" : goto published_… } } # by the port; no rule looks here
//!     chain gates { }
//!     chain published_… { jump gates comment "boot …"; iifname "br0" return; ct state established,related return; ct status dnat return; drop }
//!     chain internal_…  { jump gates comment "boot …"; iifname "br1" oifname "br1" return; drop }
//!     chain forward { type filter hook forward priority filter; oifname vmap @into; iifname vmap @from }
//! }
//! ```
//!
//! What `ingressFrom` lets in has a rule each at the head of a published chain: `iifname != "br0" ip saddr 10.244.0.0/16 return
//! comment "from 10.244.0.0/16"`. They stay as long as the gate: of two networks on one bridge neither shuts out the other's.
//!
//! The elements of `members` keep a gate's chain: it goes with the bridge's last port, and the table with the last gate. One
//! of them is the bridge's own: where it is missing, the map has been flushed, and the kernel's ports count instead.
//!
//! Each ADD reads the chains of its bridge, whatever made them, and puts back what is not as above, for the members that are
//! there as well; STATUS and CHECK read the same. A gate of another boot, whose rules were saved and loaded again, is emptied
//! of members and links first: names and addresses are others' by now. Links are also closed where it cannot be said any
//! more which port an address belongs to; `cleat repair` opens them again.
//!
//! With `icc: false` (alone: `apart_…`, otherwise `published_apart_…` or `internal_apart_…`) what goes from the bridge to
//! the bridge is not let through by `return` but by
//!
//! ```text
//!     chain between_… {
//!         ct state established ct direction reply return
//!         ct state related ct direction reply meta l4proto icmp
//!             ip daddr . ip saddr . ct protocol . ct original proto-dst @links4_… return     # IPv6 likewise
//!         ct state related drop; ct status dnat return
//!         icmpv6 type nd-neighbor-solicit return; icmpv6 type nd-neighbor-advert return
//!         ip saddr . ip daddr . meta l4proto . th dport @links4_… return          # see cni::links
//!         ip6 saddr . ip6 daddr . meta l4proto . th dport @links6_… return
//!         drop
//!     }
//! ```
//!
//! `br_netfilter` brings it here (see `parts::br_netfilter`; the element of `into` notes what was switched on), and `frames` filters
//! what that module skips.

mod chains;
mod frames;
mod layout;
mod ports;
mod put;
mod removal;
mod table;

pub(crate) use put::BridgeGate;
pub(super) use put::{Held, Put};
pub(super) use removal::{Take, forget};
pub(super) use table::MEMBERS;
