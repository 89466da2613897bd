//! A transaction: operations collected in one buffer, sent by one system call, carried out together or not at all.

mod commit;

use wire::Writer;
use wire::message::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};

use crate::element::{write_keys, write_list};
use crate::message::{self, NFTABLES};
use crate::operation::{
    NFT_MSG_DELCHAIN, NFT_MSG_DELRULE, NFT_MSG_DELSET, NFT_MSG_DELSETELEM, NFT_MSG_DELTABLE,
    NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWSET, NFT_MSG_NEWSETELEM, NFT_MSG_NEWTABLE,
};
use crate::{Chain, Element, Expr, Family, Field, Rule, Set, Table, key, rule};

/// Operations to be carried out as one transaction, in their order.
///
/// `add_…` leaves what exists as it is; `create_…` fails where it exists ([`crate::Error::is_exists`]).
#[derive(Clone, Debug)]
pub struct Batch {
    /// Room for `NFNL_MSG_BATCH_BEGIN` with `NFNL_BATCH_GENID`, then the operations.
    writer: Writer,
    operations: Vec<Operation>,
    /// Some operation deletes.
    deletes: bool,
    /// The first operation that could not be encoded, and why.
    fault: Option<(usize, &'static str)>,
}

/// Where an operation is, and what it takes to describe it.
#[derive(Clone, Copy, Debug)]
struct Operation {
    start: usize,
    key_type: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// A batch without operations.
    #[must_use]
    pub fn new() -> Self {
        let mut writer = Writer::default();
        writer.raw(&[0; BEGIN]);
        Self { writer, operations: Vec::new(), deletes: false, fault: None }
    }

    /// Whether there are no operations.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// How many operations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Adds a table.
    pub fn add_table(&mut self, table: &Table) -> &mut Self {
        self.push(NFT_MSG_NEWTABLE, NLM_F_CREATE, table.family, 0, |a| table.write(a, true))
    }

    /// Creates a table.
    pub fn create_table(&mut self, table: &Table) -> &mut Self {
        self.push(NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, table.family, 0, |a| table.write(a, true))
    }

    /// Deletes a table with all that is in it.
    pub fn del_table(&mut self, table: &Table) -> &mut Self {
        self.push(NFT_MSG_DELTABLE, 0, table.family, 0, |a| table.write(a, false))
    }

    /// Adds a chain. An existing base chain takes the policy, and must be of the same kind, hook and priority.
    pub fn add_chain(&mut self, chain: &Chain) -> &mut Self {
        self.push(NFT_MSG_NEWCHAIN, NLM_F_CREATE, chain.table.family, 0, |a| chain.write(a))
    }

    /// Creates a chain.
    pub fn create_chain(&mut self, chain: &Chain) -> &mut Self {
        self.push(NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL, chain.table.family, 0, |a| chain.write(a))
    }

    /// Deletes a chain with its rules; it is busy ([`crate::Error::is_busy`]) while a rule or an element leads to it.
    pub fn del_chain(&mut self, chain: &Chain) -> &mut Self {
        self.push(NFT_MSG_DELCHAIN, 0, chain.table.family, 0, |a| chain.write_name(a))
    }

    /// Deletes all rules of a chain.
    pub fn flush_chain(&mut self, chain: &Chain) -> &mut Self {
        self.push(NFT_MSG_DELRULE, 0, chain.table.family, 0, |a| rule::write_chain(a, chain))
    }

    /// Adds a chain, without rules where it is there. That does not count as a deletion ([`Socket`](crate::Socket)): mostly it is new,
    /// and to leave the closing of a socket to the kernel takes up to a millisecond.
    pub fn renew_chain(&mut self, chain: &Chain) -> &mut Self {
        let deletes = self.deletes;
        self.add_chain(chain).flush_chain(chain).deletes = deletes;
        self
    }

    /// Appends a rule to a chain; `comment` has at most 127 bytes.
    pub fn add_rule(&mut self, chain: &Chain, exprs: &[Expr], comment: Option<&str>) -> &mut Self {
        self.new_rule(NLM_F_APPEND, chain, exprs, comment)
    }

    /// Puts a rule at the head of a chain; `comment` has at most 127 bytes.
    pub fn insert_rule(&mut self, chain: &Chain, exprs: &[Expr], comment: Option<&str>) -> &mut Self {
        self.new_rule(0, chain, exprs, comment)
    }

    fn new_rule(&mut self, flag: u16, chain: &Chain, exprs: &[Expr], comment: Option<&str>) -> &mut Self {
        let fill = |a: &mut Writer| Rule::write(a, chain, exprs, comment);
        self.push(NFT_MSG_NEWRULE, NLM_F_CREATE | flag, chain.table.family, 0, fill)
    }

    /// Deletes one rule of a chain by its [`Rule::handle`].
    pub fn del_rule(&mut self, chain: &Chain, handle: u64) -> &mut Self {
        self.push(NFT_MSG_DELRULE, 0, chain.table.family, 0, |a| rule::write_handle(a, chain, handle))
    }

    /// Adds a set or map. An existing one must have the same types.
    pub fn add_set(&mut self, set: &Set) -> &mut Self {
        self.new_set(set, NLM_F_CREATE)
    }

    /// Creates a set or map.
    pub fn create_set(&mut self, set: &Set) -> &mut Self {
        self.new_set(set, NLM_F_CREATE | NLM_F_EXCL)
    }

    fn new_set(&mut self, set: &Set, flags: u16) -> &mut Self {
        // NFTA_SET_ID must be there and differ from that of every other set of the batch.
        let id = u32::try_from(self.operations.len() + 1).unwrap_or(u32::MAX);
        self.push(NFT_MSG_NEWSET, flags, set.table.family, 0, |a| set.write(a, id))
    }

    /// Deletes a set or map with its elements; it is busy while a rule refers to it.
    pub fn del_set(&mut self, set: &Set) -> &mut Self {
        self.push(NFT_MSG_DELSET, 0, set.table.family, 0, |a| set.write_name(a))
    }

    /// Deletes all elements of a set or map.
    pub fn flush_set(&mut self, set: &Set) -> &mut Self {
        self.push(NFT_MSG_DELSETELEM, 0, set.table.family, 0, |a| set.write_name(a))
    }

    /// Adds an element. Where the key exists with the same data, the element stays as it is, its comment included;
    /// with other data the batch fails with [`crate::Error::is_exists`] (old kernels:
    /// [`crate::Error::is_busy`]).
    pub fn add_element(&mut self, set: &Set, element: &Element) -> &mut Self {
        self.on_element(NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, |a| element.write(a, set))
    }

    /// Creates an element. Where the key exists, the batch fails with [`crate::Error::is_exists`] (old kernels:
    /// [`crate::Error::is_busy`] where the data differ).
    pub fn create_element(&mut self, set: &Set, element: &Element) -> &mut Self {
        self.on_element(NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL, set, |a| element.write(a, set))
    }

    /// Deletes an element by its key.
    pub fn del_element(&mut self, set: &Set, key: &[Field]) -> &mut Self {
        self.on_element(NFT_MSG_DELSETELEM, 0, set, |a| write_list(a, set, &key::encode(key), |_| {}))
    }

    /// Adds keys to a set, many with each message: twice as fast as one by one, and some twenty thousand fit into a batch where
    /// its size is bounded ([`Batch::commit`]). A key that exists stays as it is.
    pub fn add_keys(&mut self, set: &Set, keys: &[[Field; 1]]) -> &mut Self {
        self.on_keys(NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, keys)
    }

    /// Deletes keys of a set, many with each message.
    pub fn del_keys(&mut self, set: &Set, keys: &[[Field; 1]]) -> &mut Self {
        self.on_keys(NFT_MSG_DELSETELEM, 0, set, keys)
    }

    fn on_keys(&mut self, kind: u16, flags: u16, set: &Set, keys: &[[Field; 1]]) -> &mut Self {
        for keys in keys.chunks(KEYS) {
            let keys: Vec<Vec<u8>> = keys.iter().map(|key| key::encode(key)).collect();
            self.on_element(kind, flags, set, |a| write_keys(a, set, &keys));
        }
        self
    }

    fn on_element(&mut self, kind: u16, flags: u16, set: &Set, fill: impl FnOnce(&mut Writer)) -> &mut Self {
        self.push(kind, flags, set.table.family, key::concatenation(set.key), fill)
    }

    fn push(
        &mut self,
        kind: u16,
        flags: u16,
        family: Family,
        key_type: u32,
        fill: impl FnOnce(&mut Writer),
    ) -> &mut Self {
        let index = self.operations.len();
        self.operations.push(Operation { start: self.writer.buffer.len(), key_type });
        self.deletes |= flags & NLM_F_CREATE == 0;
        self.writer.message(NFTABLES | kind, flags, |message| {
            message.raw(&message::header(family.number(), 0, 0));
            fill(message);
        });
        if let Some(reason) = self.writer.fault.take() {
            self.fault.get_or_insert((index, reason));
        }
        self
    }
}

/// How many keys go into one message: their list, as any attribute, has at most 65,535 bytes.
const KEYS: usize = 1000;
/// The length of a begin marker with the attribute for the generation.
const BEGIN: usize = wire::message::HEADER + message::HEADER + 8;
