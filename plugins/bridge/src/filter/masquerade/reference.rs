//! What the reference's bridge leaves with its own nftables backend (from version 1.6 on): a rule an address in a chain
//! that all networks share, recognised by how its comment begins. Its table stays, as with the reference.

use std::net::IpAddr;

use cni::reference::short_hash;
use cni::{Attachment, ContainerId, IfName, NetworkName};
use nftables::ledger::{self, Change, Removal};
use nftables::{Chain, Family, Socket, Table};

use super::chains::search::{is_from, masquerades};
use crate::error::Result;

const TABLE: Table = Table::new(Family::Inet, "cni_plugins_masquerade");
const CHECKS: Chain = Chain::new(TABLE, "masq_checks");

/// The removal of an attachment's rules. Costs one question where there is no such table.
pub(crate) fn take(attachment: &Attachment) -> Removal<impl FnMut(&mut Socket, &mut Change) -> Result<()>> {
    let Attachment { network, container_id, ifname } = attachment;
    let start = start(network, container_id, ifname);
    take_where(move |comment| comment.starts_with(&start))
}

/// Removes the rules of a network's attachments that are not valid any more.
pub(super) fn gc(socket: &mut Socket, network: &NetworkName, valid: &[(ContainerId, IfName)]) -> Result<()> {
    let of_network = format!("{}-", short_hash(network.as_str()));
    let valid: Vec<String> = valid.iter().map(|(id, ifname)| start(network, id, ifname)).collect();
    let is_valid = |comment: &str| valid.iter().any(|start| comment.starts_with(start));
    let is_meant = |comment: &str| comment.starts_with(&of_network) && !is_valid(comment);
    ledger::put(socket, &mut [&mut take_where(is_meant)])
}

/// Those of an attachment's addresses that this does not masquerade.
pub(super) fn not_masqueraded(
    socket: &mut Socket,
    attachment: &Attachment,
    mut addresses: Vec<IpAddr>,
) -> Result<Vec<IpAddr>> {
    if addresses.is_empty() || !socket.is_referenced(&CHECKS)? {
        return Ok(addresses);
    }
    let Attachment { network, container_id, ifname } = attachment;
    let start = start(network, container_id, ifname);
    let rules = socket.rules(&CHECKS)?;
    addresses.retain(|address| {
        !rules.iter().any(|rule| {
            rule.comment.as_deref().is_some_and(|comment| comment.starts_with(&start))
                && is_from(rule, &[*address])
                && masquerades(rule)
        })
    });
    Ok(addresses)
}

/// How the comments of an attachment's rules begin.
fn start(network: &NetworkName, container_id: &ContainerId, ifname: &IfName) -> String {
    format!("{}-{}", short_hash(network.as_str()), short_hash(&format!("{ifname}:{container_id}")))
}

fn take_where(
    is_meant: impl Fn(&str) -> bool,
) -> Removal<impl FnMut(&mut Socket, &mut Change) -> Result<()>> {
    Removal::new(TABLE, move |socket, change| {
        for rule in socket.rules(&CHECKS)? {
            if rule.comment.as_deref().is_some_and(&is_meant) {
                change.batch.del_rule(&CHECKS, rule.handle);
            }
        }
        Ok(())
    })
}
