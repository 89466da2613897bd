//! Taking the chains away again, wherever iptables keeps them.

use std::net::IpAddr;

use cni::{ContainerId, NetworkName};
use ipnetwork::IpNetwork;
use iptables::{Iptables, Transaction, legacy_programs};
use nftables::ledger::{self, Change, Removal};
use nftables::{Chain, Rule, Socket, Verdict};

use super::place::{BASE, TABLE, TABLES, name};
use super::search::is_from;
use crate::error::Error;

/// The removal of a chain of `nf_tables` with the rules that lead to it; where addresses are given, only of the rules for
/// those, and of the chain with the last. Costs two questions where there is no such chain.
pub(in crate::filter) fn take(
    chain: &str,
    addresses: &[IpAddr],
) -> Removal<impl FnMut(&mut Socket, &mut Change) -> Result<(), Error>> {
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
pub(in crate::filter) fn del_legacy(chain: &str, addresses: &[IpAddr]) -> Result<(), Error> {
    for program in legacy_programs(TABLE)? {
        let mut outcome = Ok(());
        // Another program may delete a rule between the listing and the change.
        for _ in 0..LEGACY_TRIES {
            let Some(change) = legacy_removal(&program, chain, addresses)? else {
                outcome = Ok(());
                break;
            };
            outcome = program.commit(&change);
            if outcome.is_ok() {
                break;
            }
        }
        outcome?;
    }
    Ok(())
}

/// What [`del_legacy`] has to change as things are; `None` where there is no such chain.
fn legacy_removal(
    program: &Iptables,
    chain: &str,
    addresses: &[IpAddr],
) -> Result<Option<Transaction>, Error> {
    let Some(rules) = program.rules(TABLE, chain)? else { return Ok(None) };
    let base = program.rules(TABLE, BASE)?.unwrap_or_default();
    let is_ours = |rule: &iptables::Rule| {
        let source = rule.option("-s").and_then(|source| source.parse::<IpNetwork>().ok());
        addresses.is_empty() || source.is_some_and(|source| addresses.contains(&source.ip()))
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

const LEGACY_TRIES: usize = 5;

/// Removes the chains of a network's containers that are not valid any more. Whose a chain is stands in the comment of
/// the rule that leads to it.
pub(in crate::filter) fn gc(
    socket: &mut Socket,
    network: &NetworkName,
    valid: &[&ContainerId],
) -> Result<(), Error> {
    for table in TABLES {
        for rule in socket.rules(&Chain::new(table, BASE))? {
            if let Some(Verdict::Jump(chain)) = rule.verdict()
                && let Some(id) =
                    rule.iptables_comment().and_then(|comment| container(&comment, network, chain))
                && !valid.contains(&&id)
            {
                ledger::put(socket, &mut [&mut take(chain, &[])])?;
            }
        }
    }
    Ok(())
}

/// As [`gc`], for what the legacy variant has.
pub(in crate::filter) fn gc_legacy(network: &NetworkName, valid: &[&ContainerId]) -> Result<(), Error> {
    for program in legacy_programs(TABLE)? {
        for rule in program.rules(TABLE, BASE)?.unwrap_or_default() {
            if let (Some(chain), Some(comment)) = (rule.target(), rule.comment())
                && let Some(id) = container(comment, network, chain)
                && !valid.contains(&&id)
            {
                del_legacy(chain, &[])?;
            }
        }
    }
    Ok(())
}

/// The container that a rule is for, by its comment, if it is one of the network and the chain is that container's.
fn container(comment: &str, network: &NetworkName, chain: &str) -> Option<ContainerId> {
    let id = comment.strip_prefix(&format!("name: \"{network}\" id: \""))?.strip_suffix('"')?;
    let id = ContainerId::new(id).ok()?;
    (name(network, &id) == chain).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_tells_whose_it_is_only_where_all_agrees() {
        let network = NetworkName::new("net").unwrap();
        let chain = "CNI-623e1c388032b20529218ecc";
        let of = |comment: &str| container(comment, &network, chain).map(|id| id.to_string());
        assert_eq!(
            of(&cni::reference::comment("", &network, &ContainerId::new("c1").unwrap())).as_deref(),
            Some("c1")
        );
        for foreign in
            ["name: \"net\" id: \"c2\"", "name: \"net2\" id: \"c1\"", "name: \"net\" id: \"c1", "c1"]
        {
            assert_eq!(of(foreign), None, "{foreign}");
        }
    }
}
