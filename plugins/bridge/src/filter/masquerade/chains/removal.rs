//! Taking the chains away again, wherever iptables keeps them.

use std::net::IpAddr;

use cni::{ContainerId, IfName, NetworkName, reference};
use iptables::{Iptables, Transaction, legacy_programs};
use nftables::ledger::{self, Change, Removal};
use nftables::{Chain, Rule, Socket};

use super::search::is_from;
use super::{BASE, TABLE, TABLES, source};
use crate::error::Result;

/// The removal of a chain of `nf_tables` with the rules that lead to it; where addresses are given, only of the rules for
/// those, and of the chain with the last. Costs two questions where there is no such chain.
pub(crate) fn take(
    chain: &str,
    addresses: &[IpAddr],
) -> Removal<impl FnMut(&mut Socket, &mut Change) -> Result<()>> {
    Removal::new(TABLES[0], move |socket, change| {
        for table in TABLES {
            let (chain, base) = (Chain::new(table, chain), Chain::new(table, BASE));
            let Some(references) = socket.references(&chain)? else { continue };
            let rules = socket.rules(&base)?;
            let leading: Vec<&Rule> =
                rules.iter().filter(|rule| rule.leads_to(chain.name) && is_from(rule, addresses)).collect();
            for rule in &leading {
                change.batch.del_rule(&base, rule.handle);
            }
            if references == leading.len() {
                change.batch.del_chain(&chain);
            }
        }
        Ok(())
    })
}

/// As [`take`], for what the legacy variant has: by its program, which is only started where it has the table.
pub(crate) fn del_legacy(chain: &str, addresses: &[IpAddr]) -> Result<()> {
    for program in legacy_programs(TABLE)? {
        program.put(|_| legacy_removal(&program, chain, addresses))?;
    }
    Ok(())
}

/// What [`del_legacy`] has to change as things are; `None` where there is no such chain.
fn legacy_removal(program: &Iptables, chain: &str, addresses: &[IpAddr]) -> Result<Option<Transaction>> {
    let Some(rules) = program.rules(TABLE, chain)? else { return Ok(None) };
    let base = program.rules(TABLE, BASE)?.unwrap_or_default();
    let is_ours = |rule: &iptables::Rule| {
        addresses.is_empty() || source(rule).is_some_and(|source| addresses.contains(&source))
    };
    let (ours, others): (Vec<_>, Vec<_>) =
        base.iter().filter(|rule| rule.target() == Some(chain)).partition(|rule| is_ours(rule));
    let mut change = Transaction::new(TABLE);
    for rule in ours {
        change.delete_rule(rule);
    }
    if others.is_empty() {
        for rule in &rules {
            change.delete_rule(rule);
        }
        change.del_chain(chain);
    }
    Ok(Some(change))
}

/// Removes the chains of a network's containers that are not valid any more. Whose a chain is stands in the comment of
/// the rule that leads to it.
pub(crate) fn gc(socket: &mut Socket, network: &NetworkName, valid: &[(ContainerId, IfName)]) -> Result<()> {
    for table in TABLES {
        for (chain, comment) in socket.entries(&Chain::new(table, BASE))? {
            if is_stale(&chain, &comment, network, valid) {
                ledger::put(socket, &mut [&mut take(&chain, &[])])?;
            }
        }
    }
    Ok(())
}

/// As [`gc`], for what the legacy variant has.
pub(crate) fn gc_legacy(network: &NetworkName, valid: &[(ContainerId, IfName)]) -> Result<()> {
    for program in legacy_programs(TABLE)? {
        for (chain, comment) in program.entries(TABLE, BASE)? {
            if is_stale(&chain, &comment, network, valid) {
                del_legacy(&chain, &[])?;
            }
        }
    }
    Ok(())
}

fn is_stale(chain: &str, comment: &str, network: &NetworkName, valid: &[(ContainerId, IfName)]) -> bool {
    reference::container("", "", network, chain, comment)
        .is_some_and(|id| valid.iter().all(|(valid, _)| *valid != id))
}
