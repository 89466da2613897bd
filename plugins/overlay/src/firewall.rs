//! Packets of a network are taken from its nodes only.
//!
//! VXLAN has no sender that could be verified: who can send a datagram to a node's port puts a frame into the network. So
//! each network has the addresses of its other nodes in a set, and what comes for it from elsewhere is dropped, before
//! connection tracking or a firewall's rules see it:
//!
//! ```text
//! table inet cleat_overlay {
//!     set peers4_7b7cc0f0a1b2c3d4 { type ipv4_addr; elements = { 198.51.100.2 } }
//!     set peers6_7b7cc0f0a1b2c3d4 { type ipv6_addr; }
//!     chain incoming {
//!         type filter hook input priority raw; policy accept;
//!         udp dport 4789 jump port_4789
//!     }
//!     chain port_4789 {
//!         @th,96,24 0x1267 ip saddr != @peers4_7b7cc0f0a1b2c3d4 counter drop comment "wide"
//!         @th,96,24 0x1267 ip6 saddr != @peers6_7b7cc0f0a1b2c3d4 counter drop comment "wide"
//!         @th,96,24 0x0 return
//!         @th,96,24 != 0x0 return
//!         counter drop
//!     }
//! }
//! ```
//!
//! Networks of one port are told apart by their number (VNI), and other programs' are left alone. Fragments of IPv4 have been
//! put together at this hook; those of IPv6 only where connection tracking is in use. A first fragment that ends before the
//! number would get past the rules with it: the last three drop it, as no node sends such, and the rest of the datagram dies
//! with it. Packets with the forged address of a node are not kept out: that takes a network that filters sources, or
//! encryption.

mod layout;
pub(crate) mod obstacle;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;

use cni::NetworkName;
use nftables::{Batch, Socket};

use layout::Own;

/// Lets a network's packets in from these addresses only; without a VNI (a device that authenticates its peers itself), no
/// rule is needed and none is left. All of it is one transaction, and where everything is as it should be, none.
pub(crate) fn put(
    network: &NetworkName,
    port: u16,
    vni: Option<u32>,
    peers: &BTreeSet<IpAddr>,
) -> Result<(), Error> {
    change(network, port, vni, peers, &|_| true)
}

/// The same, but an address that is let in already stays so unless it is one of those that are known to be `gone`: whose it is
/// is not known yet.
pub(crate) fn add(
    network: &NetworkName,
    port: u16,
    vni: Option<u32>,
    peers: &BTreeSet<IpAddr>,
    gone: &BTreeSet<IpAddr>,
) -> Result<(), Error> {
    change(network, port, vni, peers, &|address| gone.contains(address))
}

fn change(
    network: &NetworkName,
    port: u16,
    vni: Option<u32>,
    peers: &BTreeSet<IpAddr>,
    goes: &dyn Fn(&IpAddr) -> bool,
) -> Result<(), Error> {
    let Some(vni) = vni else { return remove(network) };
    let own = Own::new(network);
    in_turn(|socket, batch| own.put(socket, batch, (port, vni), peers, goes))
}

/// Takes a network's rules and sets away; the table goes with the last network.
pub(crate) fn remove(network: &NetworkName) -> Result<(), Error> {
    let own = Own::new(network);
    in_turn(|socket, batch| own.remove(socket, batch))
}

/// Makes a change for what there is, again where another process came between.
fn in_turn(prepare: impl Fn(&mut Socket, &mut Batch) -> nftables::Result<()>) -> Result<(), Error> {
    let Some(mut socket) = Socket::open_if_supported()? else { return Err(Error::Unsupported) };
    let mut attempts = 1;
    loop {
        let mut batch = Batch::new();
        let outcome = prepare(&mut socket, &mut batch).and_then(|()| batch.commit(&mut socket));
        match outcome {
            Err(error) if error.is_of_another_change() && attempts < ATTEMPTS => attempts += 1,
            outcome => return Ok(outcome?),
        }
    }
}

/// Each is a try against one change by somebody else.
const ATTEMPTS: usize = 10;

/// Why forged packets are not kept out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The kernel has no `nf_tables`.
    #[error(
        "this kernel has no nf_tables, which keeps forged packets out of the network; load its module nf_tables"
    )]
    Unsupported,
    /// What the kernel answered.
    #[error("firewall: {0}")]
    Kernel(#[from] nftables::Error),
}
