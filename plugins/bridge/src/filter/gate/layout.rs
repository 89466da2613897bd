//! What a table consists of, compared with what there is, to the last bit of each rule, and put back where it differs.
//!
//! A table's name says nothing: another program may have flushed its chains, switched it off, or have made one of the same
//! name. What closes a network is read, by each ADD: some rules, whatever the number of networks and members.

use nftables::{Batch, Chain, Expr, Set, Socket, Table, WholeRule};

use super::heads::{Found, Heads};
use crate::error::{Result, differs};

/// What the fault begins with by which nothing is open.
pub(super) const LETS_NOT: &str = "does not let";

/// A chain as it is to be, with its rules.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub chain: Chain<'a>,
    pub rules: Vec<Vec<Expr<'a>>>,
    /// The comment of the first rule.
    pub mark: Option<String>,
    /// What else may stand before the rules.
    pub heads: Option<Heads<'a>>,
}

impl<'a> Wanted<'a> {
    pub(super) const fn new(chain: Chain<'a>, rules: Vec<Vec<Expr<'a>>>) -> Self {
        Self { chain, rules, mark: None, heads: None }
    }

    /// What rules before the others say, and those others.
    fn parted<'r>(&self, there: &'r [WholeRule]) -> (Found, &'r [WholeRule]) {
        self.heads.as_ref().map_or_else(|| (Found::default(), there), |heads| heads.read(there))
    }

    /// Says how the rules differ.
    fn expect(&self, there: &[WholeRule]) -> Result<()> {
        let (heads, rest) = self.parted(there);
        let (found, wanted) = (rest.len(), self.rules.len());
        let Chain { table, name, .. } = self.chain;
        if found != wanted {
            return differs(format!("chain {name} of table {table} has {found} rules instead of {wanted}"));
        }
        let is_same = |(found, wanted): (&WholeRule, &Vec<Expr>)| found.consists_of(table, wanted.as_slice());
        if let Some(at) = rest.iter().zip(&self.rules).position(|pair| !is_same(pair)) {
            return differs(format!("rule {} of chain {name} of table {table} is another one", at + 1));
        }
        if let Some(mark) = &self.mark
            && rest.first().and_then(|rule| rule.rule.comment.as_ref()) != Some(mark)
        {
            return differs(format!("chain {name} of table {table} is of another boot"));
        }
        match self.heads.as_ref().and_then(|wanted| wanted.missing(&heads)) {
            Some(missing) => {
                differs(format!("{LETS_NOT} {missing} in: chain {name} of table {table} has no rule for it"))
            }
            None => Ok(()),
        }
    }
}

/// Names the first thing by which a table differs.
pub(super) fn expect(socket: &mut Socket, table: &Table, chains: &[Wanted]) -> Result<()> {
    match socket.is_dormant(table)? {
        None => return differs(format!("table {table} does not exist")),
        Some(true) => return differs(format!("table {table} is switched off (flags dormant)")),
        Some(false) => {}
    }
    for wanted in chains {
        // A chain that rules or elements lead to has no hook.
        if wanted.chain.base.is_some() && socket.is_as_chain(&wanted.chain)? != Some(true) {
            return differs(format!(
                "chain {} of table {table} has another hook, priority or policy, or is not there",
                wanted.chain.name
            ));
        }
        wanted.expect(&socket.whole_rules(&wanted.chain)?)?;
    }
    Ok(())
}

/// Adds to a transaction what puts a table in place. Chains come in the order in which they may be made: none leads to a
/// later one. What heads are there stay so.
pub(super) fn mend(
    socket: &mut Socket,
    batch: &mut Batch,
    table: &Table,
    sets: &[Set],
    chains: &[Wanted],
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
    for wanted in chains {
        let state = socket.is_as_chain(&wanted.chain)?;
        let there = socket.whole_rules(&wanted.chain)?;
        if !all && state == Some(true) && wanted.expect(&there).is_ok() {
            continue;
        }
        if state.is_some() {
            batch.flush_chain(&wanted.chain);
        }
        outdated.push((wanted, state, wanted.parted(&there).0));
    }
    for (wanted, ..) in outdated.iter().filter(|(_, state, _)| *state == Some(false)) {
        batch.del_chain(&wanted.chain);
    }
    for (set, state) in states {
        if state == Some(false) {
            batch.del_set(set);
        }
        if state != Some(true) {
            batch.create_set(set);
        }
    }
    for (wanted, ..) in outdated.iter().filter(|(_, state, _)| *state != Some(true)) {
        batch.create_chain(&wanted.chain);
    }
    for (wanted, _, heads) in &outdated {
        if let Some(needed) = &wanted.heads {
            needed.add(batch, &wanted.chain, heads);
        }
        for (at, rule) in wanted.rules.iter().enumerate() {
            batch.add_rule(&wanted.chain, rule, wanted.mark.as_deref().filter(|_| at == 0));
        }
    }
    Ok(())
}
