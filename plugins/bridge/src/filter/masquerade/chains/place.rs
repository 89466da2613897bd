//! Where the chains are, and their names.

use cni::{ContainerId, NetworkName, reference};
use nftables::{Family, Table};

pub(super) const TABLE: &str = "nat";
pub(super) const BASE: &str = "POSTROUTING";
/// The same in `nf_tables`.
pub(super) const TABLES: [Table; 2] = [Table::new(Family::Ip, TABLE), Table::new(Family::Ip6, TABLE)];

/// The chain of a container on a network.
pub(in crate::filter) fn name(network: &NetworkName, container_id: &ContainerId) -> String {
    reference::chain("", network, container_id)
}
