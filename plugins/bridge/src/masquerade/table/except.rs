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
//! A set's name follows from the network. Sets and rules stay until the table goes: an empty one excepts nobody.

use std::net::IpAddr;

use cni::token;
use ipnetwork::IpNetwork;
use nftables::{Batch, Expr, Rule, Selector, Set, Socket, Type, Verdict};

use super::{POST, Place, TABLE};
use crate::error::Error;

/// What the names of the sets begin with.
const PREFIX: &str = "except";
const V4: &[Type] = &[Type::Ipv4Addr];
const V6: &[Type] = &[Type::Ipv6Addr];

/// What is left of a set's name without its beginning: the family, and what follows from the network.
pub(super) fn word(network: &IpNetwork) -> String {
    let family = if network.is_ipv4() { '4' } else { '6' };
    format!("{family}_{}", &token(&[&network.to_string()])[..8])
}

/// The place of an address in the set of a word; `None` where the set is of another family.
pub(super) fn place(word: &str, address: IpAddr) -> Option<Place> {
    let family = if address.is_ipv4() { '4' } else { '6' };
    word.starts_with(family)
        .then(|| Place::new(format!("{PREFIX}{word}"), types(address.is_ipv4()), vec![address.into()]))
}

/// The name of a network's set.
pub(super) fn name(network: &IpNetwork) -> String {
    format!("{PREFIX}{}", word(network))
}

/// The key's types of the sets of a family.
pub(super) fn types(is_ipv4: bool) -> &'static [Type] {
    if is_ipv4 { V4 } else { V6 }
}

/// Adds the sets and rules that are not there yet; `is_new` where nothing is.
pub(super) fn prepare(
    socket: &mut Socket,
    batch: &mut Batch,
    networks: &[IpNetwork],
    is_new: bool,
) -> Result<(), Error> {
    for network in networks {
        let name = name(network);
        let set = Set::new(TABLE, &name, types(network.is_ipv4()));
        if is_new || !socket.has_set(&set)? {
            batch.create_set(&set);
            insert_rule(batch, *network);
        }
    }
    Ok(())
}

/// Puts a network's rule before all others.
pub(super) fn insert_rule(batch: &mut Batch, network: IpNetwork) {
    let name = name(&network);
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
    let is_whole = name == self::name(&network) && rule.verdict() == Some(&Verdict::Return);
    is_whole.then_some(network)
}
