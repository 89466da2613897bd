//! `ipMasqExcept`: networks to which packets keep their source. Each has a set of the addresses that it is for, and a rule
//! before those that masquerade, however many containers and networks there are:
//!
//! ```text
//! set except4_1a2b3c4d { type ipv4_addr; elements = { 10.1.0.5 comment "veth… net 1a2b3c4d eth0 id" } }
//! chain post {
//!     ip saddr @except4_1a2b3c4d ip daddr 10.244.0.0/16 return comment "except4_1a2b3c4d 10.244.0.0/16"
//!     …
//! }
//! ```
//!
//! A set's name follows from the network. Sets and rules stay until the table goes: an empty one excepts no address.

use ipnetwork::IpNetwork;
use nftables::{Batch, Expr, Rule, Selector, Set, Socket, Verdict};

use super::layout::{POST, TABLE, exception_set, types};
use crate::error::Result;

/// Adds the sets and rules that are not there yet, and says of which networks; `is_new` where nothing is.
pub(super) fn prepare(
    socket: &mut Socket,
    batch: &mut Batch,
    networks: &[IpNetwork],
    is_new: bool,
) -> Result<Vec<IpNetwork>> {
    let mut made = Vec::new();
    for network in networks {
        let name = exception_set(network);
        let set = Set::new(TABLE, &name, types(network.is_ipv4()));
        if is_new || !socket.has_set(&set)? {
            batch.create_set(&set);
            insert_rule(batch, *network);
            made.push(*network);
        }
    }
    Ok(made)
}

/// Puts a network's rule before all others.
pub(super) fn insert_rule(batch: &mut Batch, network: IpNetwork) {
    let name = exception_set(&network);
    let (source, destination) = if network.is_ipv4() {
        ([Selector::IpSaddr], Selector::IpDaddr)
    } else {
        ([Selector::Ip6Saddr], Selector::Ip6Daddr)
    };
    let set = Set::new(TABLE, &name, types(network.is_ipv4()));
    let exprs = [Expr::in_set(&source, set), Expr::within(destination, network), Expr::to_caller()];
    batch.insert_rule(&POST, &exprs, Some(&format!("{name} {network}")));
}

/// The network that a rule is for; `None` for any other rule.
pub(super) fn network(rule: &Rule) -> Option<IpNetwork> {
    let (name, network) = rule.comment.as_deref()?.split_once(' ')?;
    let network = network.parse().ok()?;
    let is_whole = name == exception_set(&network) && rule.verdict() == Some(&Verdict::Return);
    is_whole.then_some(network)
}
