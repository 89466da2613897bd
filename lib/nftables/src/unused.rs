//! Removing what nothing refers to any more. The kernel counts references: nobody has to know which user is the last.
//!
//! The kernel refuses to delete a chain that a rule or an element leads to, and that alone would do. But a refused
//! transaction costs it a grace period (`synchronize_rcu` in `__nf_tables_abort`), some ten milliseconds; asking
//! first costs some ten microseconds.

use crate::{Batch, Chain, Result, Socket};

impl Socket {
    /// How many rules and elements lead to a chain; `None` where there is no such chain.
    pub fn references(&mut self, chain: &Chain) -> Result<Option<usize>> {
        let Some(uses) = self.chain_uses(chain)? else {
            return Ok(None);
        };
        // The kernel counts a chain's own rules as uses of it, too.
        let rules = self.rules(chain)?.len();
        Ok(Some(usize::try_from(uses).unwrap_or(usize::MAX).saturating_sub(rules)))
    }

    /// Whether a rule or an element leads to a chain; false also where there is no such chain.
    pub fn is_referenced(&mut self, chain: &Chain) -> Result<bool> {
        Ok(self.references(chain)?.is_some_and(|references| references > 0))
    }

    /// Deletes a chain with its rules unless something leads to it. Says whether it is gone.
    pub fn del_unused_chain(&mut self, chain: &Chain) -> Result<bool> {
        match self.references(chain)? {
            None => Ok(true),
            Some(0) => self.try_delete(Batch::new().del_chain(chain)),
            Some(_) => Ok(false),
        }
    }

    /// Deletes a table with all that it holds, unless something leads to one chain of it: the one that everything
    /// jumps to which needs the table. Says whether it is gone.
    pub fn del_unused_table(&mut self, anchor: &Chain) -> Result<bool> {
        match self.references(anchor)? {
            None => Ok(!self.has_table(&anchor.table)?),
            Some(0) => self.try_delete(Batch::new().del_chain(anchor).del_table(&anchor.table)),
            Some(_) => Ok(false),
        }
    }

    /// Between the question and the deletion another process may have begun to use it, or deleted it.
    fn try_delete(&mut self, batch: &mut Batch) -> Result<bool> {
        match batch.commit(self) {
            Err(error) if error.is_busy() => Ok(false),
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(true),
        }
    }
}
