//! The iptables backend: the reference's chains in table `nat` of each family, where nerdctl and operators look for them.
//!
//! ```text
//! -A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT        (and OUTPUT)
//! -A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ
//! -A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"net\" id: \"c\"" -m multiport --dports 8080 -j CNI-DN-…
//! -A CNI-DN-… -s 10.1.0.0/24 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
//! -A CNI-DN-… -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.2:80
//! ```
//!
//! One start of `iptables-restore` a family makes them, all or nothing. Of several rules for one port the first counts, so
//! an ADD that finds another container's before its own has lost, and removes its own. As with the reference, a container
//! has one chain a network, whatever its interfaces there, and DEL removes it whole; `hostPort: 0` and `[::1]` are not
//! offered. Where the kernel has `nf_tables` as well, 127.0.0.1 comes by its stand-in (`nftables::localhost`), which that table
//! masquerades; else by `route_localnet`, as with the reference.

pub(crate) mod add;
pub(crate) mod backend;
pub(crate) mod check;
mod conflict;
mod layout;
pub(crate) mod removal;
pub(crate) mod taken;
mod udp_ports;

use nftables::{Family, Table};

pub(crate) const TABLE: &str = "nat";
/// The same of either family as nftables has them.
const TABLES: [Table; 2] = [Table::new(Family::Ip, TABLE), Table::new(Family::Ip6, TABLE)];
// The chains that all containers share.
const DNAT: &str = "CNI-HOSTPORT-DNAT";
const SETMARK: &str = "CNI-HOSTPORT-SETMARK";
const MASQ: &str = "CNI-HOSTPORT-MASQ";
