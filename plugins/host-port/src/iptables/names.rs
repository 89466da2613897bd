//! The reference's chains that all containers share, and the tables that have them.

use nftables::Table;

pub(crate) const TABLE: &str = "nat";
/// The same of either family as nftables has them.
pub(crate) const TABLES: [Table; 2] =
    [Table::new(nftables::Family::Ip, TABLE), Table::new(nftables::Family::Ip6, TABLE)];
pub(super) const DNAT: &str = "CNI-HOSTPORT-DNAT";
pub(super) const SETMARK: &str = "CNI-HOSTPORT-SETMARK";
pub(super) const MASQ: &str = "CNI-HOSTPORT-MASQ";
