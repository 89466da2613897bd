//! What a table consists of, compared with what there is, to the last bit of each rule, and put back where it differs.
//!
//! A table's name says nothing: another program may have flushed its chains, switched it off, or have made one of the same
//! name. What closes a network is read, by each ADD: some rules, whatever the number of networks and members.

use ipnetwork::IpNetwork;
use nftables::{Batch, Chain, Expr, Field, Set, Socket, Table, WholeRule};

use super::ingress;
use crate::error::Result;

/// What the fault begins with by which nothing is open.
pub(super) const LETS_NOT: &str = "does not let";

/// A chain with its rules.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub chain: Chain<'a>,
    pub rules: Vec<Vec<Expr<'a>>>,
    /// The comment of the first rule.
    pub mark: Option<String>,
    /// What else may stand before the rules: what lets networks into this bridge, and those that have to be there.
    pub heads: Option<(Field, &'a [IpNetwork])>,
}

impl<'a> Part<'a> {
    pub(super) const fn new(chain: Chain<'a>, rules: Vec<Vec<Expr<'a>>>) -> Self {
        Self { chain, rules, mark: None, heads: None }
    }

    /// The networks that rules before the others let in, and those others.
    fn parted<'r>(&self, there: &'r [WholeRule]) -> (Vec<IpNetwork>, &'r [WholeRule]) {
        let let_in = |rule| self.heads.and_then(|(bridge, _)| ingress::lets_in(rule, bridge));
        let heads: Vec<IpNetwork> = there.iter().map_while(let_in).collect();
        let rest = &there[heads.len()..];
        (heads, rest)
    }

    /// Says how the rules differ.
    fn fault(&self, there: &[WholeRule]) -> Option<String> {
        let (heads, rest) = self.parted(there);
        let (found, wanted) = (rest.len(), self.rules.len());
        let Chain { table, name, .. } = self.chain;
        if found != wanted {
            return Some(format!("chain {name} of table {table} has {found} rules instead of {wanted}"));
        }
        let is_same = |(found, wanted): (&WholeRule, &Vec<Expr>)| found.consists_of(table, wanted.as_slice());
        if let Some(at) = rest.iter().zip(&self.rules).position(|pair| !is_same(pair)) {
            return Some(format!("rule {} of chain {name} of table {table} is another one", at + 1));
        }
        if let Some(mark) = &self.mark
            && rest.first().and_then(|rule| rule.rule.comment.as_ref()) != Some(mark)
        {
            return Some(format!("chain {name} of table {table} is of another boot"));
        }
        let missing = self.heads.and_then(|(_, wanted)| wanted.iter().find(|head| !heads.contains(head)));
        missing.map(|missing| {
            format!("{LETS_NOT} {missing} in: chain {name} of table {table} has no rule for it")
        })
    }
}

/// Names the first thing by which a table differs.
pub(super) fn fault(socket: &mut Socket, table: &Table, parts: &[Part]) -> Result<Option<String>> {
    match socket.is_dormant(table)? {
        None => return Ok(Some(format!("table {table} does not exist"))),
        Some(true) => return Ok(Some(format!("table {table} is switched off (flags dormant)"))),
        Some(false) => {}
    }
    for part in parts {
        // A chain that rules or elements lead to has no hook.
        if part.chain.base.is_some() && socket.is_as_chain(&part.chain)? != Some(true) {
            return Ok(Some(format!(
                "chain {} of table {table} has another hook, priority or policy, or is not there",
                part.chain.name
            )));
        }
        let fault = part.fault(&socket.whole_rules(&part.chain)?);
        if fault.is_some() {
            return Ok(fault);
        }
    }
    Ok(None)
}

/// Adds to a transaction what puts a table in place. Chains come in the order in which they may be made: none leads to a
/// later one. What networks are let in stays so.
pub(super) fn mend(
    socket: &mut Socket,
    batch: &mut Batch,
    table: &Table,
    sets: &[Set],
    parts: &[Part],
) -> Result<()> {
    match socket.is_dormant(table)? {
        None => drop(batch.create_table(table)),
        // The kernel takes no base chain in the transaction that switches its table on.
        Some(true) => Batch::new().add_table(table).commit(socket)?,
        Some(false) => {}
    }
    let mut states = Vec::new();
    for set in sets {
        states.push((set, socket.is_as_set(set)?));
    }
    // A rule may look into a set that has to be made anew.
    let all = states.iter().any(|(_, state)| *state == Some(false));
    let mut outdated = Vec::new();
    for part in parts {
        let state = socket.is_as_chain(&part.chain)?;
        let there = socket.whole_rules(&part.chain)?;
        if !all && state == Some(true) && part.fault(&there).is_none() {
            continue;
        }
        if state.is_some() {
            batch.flush_chain(&part.chain);
        }
        outdated.push((part, state, part.parted(&there).0));
    }
    for (part, ..) in outdated.iter().filter(|(_, state, _)| *state == Some(false)) {
        batch.del_chain(&part.chain);
    }
    for (set, state) in states {
        if state == Some(false) {
            batch.del_set(set);
        }
        if state != Some(true) {
            batch.create_set(set);
        }
    }
    for (part, ..) in outdated.iter().filter(|(_, state, _)| *state != Some(true)) {
        batch.create_chain(&part.chain);
    }
    for (part, _, heads) in &outdated {
        if let Some((bridge, wanted)) = part.heads {
            let more = wanted.iter().filter(|network| !heads.contains(network));
            for network in heads.iter().chain(more) {
                ingress::let_in(batch, &part.chain, bridge, *network);
            }
        }
        for (at, rule) in part.rules.iter().enumerate() {
            batch.add_rule(&part.chain, rule, part.mark.as_deref().filter(|_| at == 0));
        }
    }
    Ok(())
}
