//! What all attachments share of a table: sets, chains and rules.

use crate::{Batch, Chain, Expr, Result, Set, Socket, Table};

/// The sets and chains of a table that all attachments share.
#[derive(Clone, Debug)]
pub struct Skeleton<'a> {
    /// The table.
    pub table: Table<'a>,
    /// Its sets and maps.
    pub sets: Vec<Set<'a>>,
    /// Its chains with their rules, those first that others lead to.
    pub chains: Vec<(Chain<'a>, Vec<Vec<Expr<'a>>>)>,
}

impl Skeleton<'_> {
    /// Whether each chain has as many rules as it should have.
    ///
    /// # Errors
    ///
    /// A question that the kernel does not answer.
    pub fn is_complete(&self, socket: &mut Socket) -> Result<bool> {
        for (chain, rules) in &self.chains {
            if socket.rules(chain)?.len() != rules.len() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes it unless it is complete.
    ///
    /// # Errors
    ///
    /// As those of [`Skeleton::is_complete`].
    pub fn ensure(&self, socket: &mut Socket, batch: &mut Batch) -> Result<()> {
        if !self.is_complete(socket)? {
            self.make(batch);
        }
        Ok(())
    }

    /// Makes it, or makes it anew where another program has flushed a chain.
    pub fn make(&self, batch: &mut Batch) {
        batch.add_table(&self.table);
        for set in &self.sets {
            batch.add_set(set);
        }
        for (chain, _) in &self.chains {
            batch.renew_chain(chain);
        }
        for (chain, rules) in &self.chains {
            for rule in rules {
                batch.add_rule(chain, rule, None);
            }
        }
    }

    /// Removes it, and leaves the rest of its table. The chains go before the sets that they look into.
    pub fn remove(&self, batch: &mut Batch) {
        for (chain, _) in &self.chains {
            batch.flush_chain(chain);
        }
        for (chain, _) in self.chains.iter().rev() {
            batch.del_chain(chain);
        }
        for set in &self.sets {
            batch.del_set(set);
        }
    }
}
