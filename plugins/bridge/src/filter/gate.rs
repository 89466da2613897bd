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
//! A node's part of an overlay network has the same gate, `open_…` where it lets everything in. The device that leads to the
//! other nodes is a part of the network: each gate has a rule for it at its head, before those of `ingressFrom`, which does what
//! is done with members on this bridge. And it is guarded: both maps lead it to a chain that lets through what members send
//! into the tunnel and what members of other nodes send out of it, by the network's prefixes. See `tunnel` and `heads`.
//!
//! ```text
//!     map into { … "vx1" comment "br0" : jump overlay_… }        # from likewise
//!     chain overlay_… {
//!         iifname "br0" ip saddr 10.201.0.0/16 return            # for each prefix
//!         iifname "vx1" ip saddr 10.201.0.0/16 return            # for each prefix
//!         drop
//!     }
//!     chain published_… { iifname "vx1" return comment "overlay vx1"; jump gates … }           # with icc: false, goto between_…
//!     chain internal_… { iifname "vx1" oifname "br1" return comment "overlay vx1"
//!                        iifname "br1" oifname "vx1" return comment "overlay vx1"; jump gates … }
//! ```
//!
//! With `icc: false` that makes other nodes themselves strangers to the members, as all that comes out of the tunnel is looked
//! up among the links. The guard's chain goes with the gate. Of a device that has gone, or has another name, the elements
//! lead there until the next ADD or repair.
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
mod check;
mod frames;
mod heads;
mod layout;
mod ports;
mod put;
mod removal;
mod table;
mod tunnel;

pub(crate) use check::BridgeGate;
pub(super) use check::Held;
pub(crate) use put::Close;
pub(super) use put::Put;
pub(super) use removal::{Take, forget};
pub(super) use table::MEMBERS;
