//! Tables that attachments share: one transaction for all tables of a verb, and the only loop that tries a transaction again.
//!
//! A table is shared by attachments that come and go in processes of their own, side by side. It consists of a [`Skeleton`],
//! which the first attachment makes and the last one removes, and of what each attachment has in it, an [`Entry`]. An entry
//! reads what is there, and adds to a transaction what is missing or has to go. Where another process changed one of the
//! tables in between, the kernel refuses the transaction, and every entry reads again.

pub use crate::skeleton::Skeleton;
use crate::{Batch, Chain, Error, Result, Socket, Table};

/// How often a transaction is tried again where other processes change something in between.
const TRIES: usize = 50;

/// The longest comment that `nft` reads back, in bytes (`NFTNL_UDATA_COMMENT_MAXLEN` less the NUL).
pub const COMMENT_MAX: usize = 127;

/// At each attempt another process changed the table. Nothing is wrong, and a later call may succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("table {table} kept changing while it was to be changed")]
pub struct Contended {
    /// Family and name of the table, as `nft` writes them.
    pub table: String,
}

/// One transaction, while it is put together.
#[derive(Debug, Default)]
pub struct Change {
    /// The operations of all entries.
    pub batch: Batch,
    /// How often the transaction was tried before.
    pub attempt: usize,
    /// The last try failed at an operation of this entry: what it was to create exists, or what it was to delete is in use.
    pub is_blocked: bool,
    is_exact: bool,
}

impl Change {
    /// Asks for the whole ruleset to be as it was read when the transaction is carried out. For an entry that depends on
    /// more than the kernel checks by itself: that elements exist, and that nothing refers to what is deleted.
    pub fn needs_ruleset_as_read(&mut self) {
        self.is_exact = true;
    }
}

/// A change of what an attachment has in one table. `E` is the caller's error.
pub trait Entry<E> {
    /// The table, for messages.
    fn table(&self) -> Table<'static>;

    /// Reads the table and adds what has to be done to a transaction: nothing where all is as it should be. Called again
    /// for each try.
    fn prepare(&mut self, socket: &mut Socket, change: &mut Change) -> std::result::Result<(), E>;

    /// Whether [`Change::needs_ruleset_as_read`] is going to be asked for. The generation of the ruleset has to be known before
    /// the first question: an entry that says so here is not prepared twice for it.
    fn is_exact(&self) -> bool {
        false
    }

    /// Whether nothing is left to do after the transaction; otherwise the entry is prepared once more. Of two removals at
    /// the same time each may have seen the other's elements, so that neither has removed the skeleton.
    fn is_settled(&mut self, _socket: &mut Socket) -> std::result::Result<bool, E> {
        Ok(true)
    }

    /// The error where the kernel refuses one of the entry's own operations.
    fn refused(&self, error: Error) -> E
    where
        E: From<Error>,
    {
        error.into()
    }

    /// The error where all tries are used up.
    fn contended(&self) -> E
    where
        E: From<Contended>,
    {
        Contended { table: self.table().to_string() }.into()
    }
}

/// An entry that consists of one function: the removal of something that leaves nothing else to remove.
#[derive(Debug)]
pub struct Removal<F> {
    table: Table<'static>,
    prepare: F,
}

impl<F> Removal<F> {
    /// `prepare` is [`Entry::prepare`].
    pub fn new<E>(table: Table<'static>, prepare: F) -> Self
    where
        F: FnMut(&mut Socket, &mut Change) -> std::result::Result<(), E>,
    {
        Self { table, prepare }
    }
}

impl<E, F> Entry<E> for Removal<F>
where
    F: FnMut(&mut Socket, &mut Change) -> std::result::Result<(), E>,
{
    fn table(&self) -> Table<'static> {
        self.table
    }

    fn prepare(&mut self, socket: &mut Socket, change: &mut Change) -> std::result::Result<(), E> {
        (self.prepare)(socket, change)
    }
}

/// Carries out what all entries ask for in one transaction: all of it or nothing.
///
/// # Errors
///
/// What an entry could not read, what the kernel refused, or [`Contended`].
pub fn put<E>(socket: &mut Socket, entries: &mut [&mut dyn Entry<E>]) -> std::result::Result<(), E>
where
    E: From<Error> + From<Contended>,
{
    let mut pending: Vec<&mut dyn Entry<E>> =
        entries.iter_mut().map(|entry| &mut **entry as &mut dyn Entry<E>).collect();
    let mut is_exact = pending.iter().any(|entry| entry.is_exact());
    let mut blocked = None;
    let mut attempt = 0;
    while attempt < TRIES {
        // What was read when the socket was opened came before all questions.
        let opened_at = socket.opened_at.take();
        let generation = match opened_at.filter(|_| is_exact) {
            None if is_exact => Some(socket.generation()?),
            opened_at => opened_at,
        };
        let mut change = Change { attempt, ..Change::default() };
        let mut ends = Vec::with_capacity(pending.len());
        for (at, entry) in pending.iter_mut().enumerate() {
            change.is_blocked = blocked == Some(at);
            entry.prepare(socket, &mut change)?;
            ends.push(change.batch.len());
        }
        if change.is_exact && !is_exact {
            // The generation has to be known before the first question.
            is_exact = true;
            continue;
        }
        attempt += 1;
        // An entry may go without it after some tries.
        match change.batch.commit_at(socket, generation.filter(|_| change.is_exact)) {
            Ok(()) => {
                let mut unsettled = Vec::new();
                for entry in pending {
                    if !entry.is_settled(socket)? {
                        unsettled.push(entry);
                    }
                }
                if unsettled.is_empty() {
                    return Ok(());
                }
                pending = unsettled;
                blocked = None;
            }
            Err(error) => {
                let at = error.index().and_then(|index| ends.iter().position(|end| index < *end));
                if !error.is_of_another_change() {
                    return Err(match at {
                        Some(at) => pending[at].refused(error),
                        None => error.into(),
                    });
                }
                // Older kernels answer EBUSY for a key that exists with other data.
                blocked = at.filter(|_| error.is_exists() || error.is_busy());
            }
        }
    }
    pending.first().map_or(Ok(()), |entry| Err(entry.contended()))
}

/// As [`put`], for what has to go: where the whole is refused, each entry goes by itself, and the first error is returned.
///
/// # Errors
///
/// As those of [`put`]; what could go has gone.
pub fn take<E>(socket: &mut Socket, entries: &mut [&mut dyn Entry<E>]) -> std::result::Result<(), E>
where
    E: From<Error> + From<Contended>,
{
    let together = put(socket, entries);
    if together.is_ok() || entries.len() < 2 {
        return together;
    }
    let mut outcome = Ok(());
    for entry in entries {
        outcome = outcome.and(put(socket, &mut [&mut **entry]));
    }
    outcome
}

/// Removing what attachments shared once nothing refers to it. The kernel counts references: nobody has to know which user
/// is the last.
///
/// The kernel refuses to delete a chain that a rule or an element leads to, and that alone would do. But a refused
/// transaction costs it a grace period (`synchronize_rcu` in `__nf_tables_abort`), some ten milliseconds; asking first costs
/// some ten microseconds.
impl Socket {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Family;

    struct Never;

    impl Entry<Box<dyn std::error::Error>> for Never {
        fn table(&self) -> Table<'static> {
            Table::new(Family::Inet, "never")
        }

        fn prepare(
            &mut self,
            _: &mut Socket,
            change: &mut Change,
        ) -> std::result::Result<(), Box<dyn std::error::Error>> {
            assert!(change.batch.is_empty());
            Ok(())
        }

        fn is_settled(&mut self, _: &mut Socket) -> std::result::Result<bool, Box<dyn std::error::Error>> {
            Ok(false)
        }
    }

    #[test]
    fn what_never_settles_is_contended() {
        let error = put(&mut Socket::open().unwrap(), &mut [&mut Never]).unwrap_err();
        assert_eq!(error.to_string(), "table inet never kept changing while it was to be changed");
    }
}
