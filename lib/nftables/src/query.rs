//! Questions: one object by its name or key, or all that a table, chain or set holds.

use std::collections::HashSet;
use std::fmt::{self, Arguments};
use std::io;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use wire::attribute::{find_be32, find_string};
use wire::message::NLM_F_DUMP;
use wire::{Writer, is_errno};

use crate::chain::NFTA_CHAIN_NAME;
use crate::element::{self, write_list};
use crate::message::{self, NFTABLES};
use crate::operation::{
    NFT_MSG_GETCHAIN, NFT_MSG_GETGEN, NFT_MSG_GETRULE, NFT_MSG_GETSET, NFT_MSG_GETSETELEM, NFT_MSG_GETTABLE,
};
use crate::table::{NFT_TABLE_F_DORMANT, NFTA_TABLE, NFTA_TABLE_FLAGS};
use crate::{
    BaseChain, Chain, Element, Error, Family, Field, HookPoint, Result, Rule, Set, Socket, Table, Verdict,
    WholeRule, key, rule,
};

impl Socket {
    /// Opens a socket where the kernel has `nf_tables`: `None` where it has neither that nor a module of it.
    pub fn open_if_supported() -> Result<Option<Self>> {
        let mut socket = match Self::open() {
            // No nfnetlink at all.
            Err(error) if error.is(Errno::EPROTONOSUPPORT) => return Ok(None),
            socket => socket?,
        };
        match socket.generation() {
            Ok(generation) => {
                socket.opened_at = Some(generation);
                Ok(Some(socket))
            }
            // nfnetlink_rcv_msg knows no such subsystem.
            Err(error) if error.is(Errno::EINVAL) || error.is(Errno::EOPNOTSUPP) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The generation of the ruleset: every transaction of the namespace raises it by one.
    pub fn generation(&mut self) -> Result<u32> {
        let read = |body: &[u8]| find_be32(body, NFTA_GEN_ID);
        let query = format_args!("get generation of ruleset");
        self.ask(NFT_MSG_GETGEN, 0, |_| {}, read).map_err(|source| failed(query, source))
    }

    /// Whether the table exists.
    pub fn has_table(&mut self, table: &Table) -> Result<bool> {
        self.get_table(table, |_| Some(())).map(|found| found.is_some())
    }

    /// How many chains, sets and other objects a table has (`NFTA_TABLE_USE`); `None` where there is no such table.
    pub fn table_uses(&mut self, table: &Table) -> Result<Option<u32>> {
        self.get_table(table, |body| find_be32(body, NFTA_TABLE_USE))
    }

    /// Whether the table, and with it all its chains, is switched off (`flags dormant`); `None` where it does not exist.
    pub fn is_dormant(&mut self, table: &Table) -> Result<Option<bool>> {
        self.get_table(table, |body| {
            Some(find_be32(body, NFTA_TABLE_FLAGS).is_some_and(|flags| flags & NFT_TABLE_F_DORMANT != 0))
        })
    }

    /// Whether the existing chain of this name has the same kind, hook, priority and policy, or is no base chain either; `None`
    /// where there is none.
    pub fn is_as_chain(&mut self, chain: &Chain) -> Result<Option<bool>> {
        self.get_chain(chain, |body| Some(chain.agrees(body)))
    }

    /// Whether the set of this name has the same types; `None` where it does not exist.
    pub fn is_as_set(&mut self, set: &Set) -> Result<Option<bool>> {
        self.get_set(set, |body| Some(set.agrees(body)))
    }

    /// Whether the chain, and its table, exist.
    pub fn has_chain(&mut self, chain: &Chain) -> Result<bool> {
        self.get_chain(chain, |_| Some(())).map(|found| found.is_some())
    }

    /// How many rules and elements lead to a chain; `None` where there is no such chain.
    pub fn references(&mut self, chain: &Chain) -> Result<Option<usize>> {
        let uses = |body: &[u8]| usize::try_from(find_be32(body, NFTA_CHAIN_USE)?).ok();
        let Some(uses) = self.get_chain(chain, uses)? else { return Ok(None) };
        // The kernel counts a chain's own rules as uses of it, too.
        Ok(Some(uses.saturating_sub(self.rules(chain)?.len())))
    }

    /// Whether a rule or an element leads to a chain; false also where there is no such chain.
    pub fn is_referenced(&mut self, chain: &Chain) -> Result<bool> {
        Ok(self.references(chain)?.is_some_and(|references| references > 0))
    }

    /// Whether the set or map, and its table, exist.
    pub fn has_set(&mut self, set: &Set) -> Result<bool> {
        self.get_set(set, |_| Some(())).map(|found| found.is_some())
    }

    /// The element with that key; `None` where the key, the set or the table does not exist, and where another program's set
    /// of that name has keys of another size. Costs the same however many elements there are.
    pub fn get_element(&mut self, set: &Set, key: &[Field]) -> Result<Option<Element>> {
        let words = fmt::from_fn(|f| f.write_str(&key::words(key)));
        let query = format_args!("get element {words} of {set}");
        let bytes = key::encode(key);
        let fill = |attributes: &mut Writer| write_list(attributes, set, &bytes, |_| {});
        let read = |body: &[u8]| Some(element::read_list(body).pop());
        match self.get(query, NFT_MSG_GETSETELEM, set.table.family, fill, read) {
            Err(error) if error.is(Errno::EINVAL) => Ok(None),
            found => found.map(Option::flatten),
        }
    }

    /// All elements of a set or map, in no order; none where it does not exist.
    ///
    /// Some time after a set has grown or shrunk, the kernel moves its elements to a table of another size, from a work
    /// queue. What is read in that time has some elements twice and lacks others, and nothing in the answer says so.
    /// Therefore everything is read again where a key repeats or the count is wrong.
    pub fn elements(&mut self, set: &Set) -> Result<Vec<Element>> {
        let mut elements = Vec::new();
        for attempt in 0..READS {
            if attempt > 0 {
                thread::sleep(REHASHING);
            }
            let expected = self.count(set)?;
            elements = self.read_elements(set)?;
            let read = elements.len();
            let mut keys = HashSet::with_capacity(read);
            elements.retain(|element| keys.insert(element.key.clone()));
            if elements.len() == read && expected.is_none_or(|expected| expected == read) {
                break;
            }
        }
        // Every transaction changes the count: on a busy node it may never be right.
        Ok(elements)
    }

    /// How many elements a set has, where the kernel says (`NFTA_SET_COUNT`, Linux 6.16).
    fn count(&mut self, set: &Set) -> Result<Option<usize>> {
        let count =
            |body: &[u8]| find_be32(body, NFTA_SET_COUNT).and_then(|count| usize::try_from(count).ok());
        self.get_set(set, |body| Some(count(body))).map(Option::flatten)
    }

    fn read_elements(&mut self, set: &Set) -> Result<Vec<Element>> {
        let query = format_args!("list elements of {set}");
        let fill = |attributes: &mut Writer| set.write_name(attributes);
        match self.dump(query, NFT_MSG_GETSETELEM, set.table.family, fill, element::read_list) {
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            elements => elements,
        }
    }

    /// The names of all chains of a table; none where it does not exist.
    pub fn chain_names(&mut self, table: &Table) -> Result<Vec<String>> {
        let query = format_args!("list chains of table {table}");
        // The kernel narrows this to the family, not to the table.
        let name = |body: &[u8]| {
            let is_there = find_string(body, NFTA_TABLE) == Some(table.name);
            find_string(body, NFTA_CHAIN_NAME).filter(|_| is_there).map(str::to_owned)
        };
        self.dump(query, NFT_MSG_GETCHAIN, table.family, |_| {}, name)
    }

    /// The base chains of a family at a hook, of every table. The kernel goes through all chains of the family for it.
    pub fn base_chains(&mut self, family: Family, hook: HookPoint) -> Result<Vec<BaseChain>> {
        let query = format_args!("list base chains of family {family}");
        self.dump(query, NFT_MSG_GETCHAIN, family, |_| {}, |body| BaseChain::read(family, hook, body))
    }

    /// A base chain by its table and name; `None` where there is none at that hook.
    pub fn base_chain(&mut self, chain: &Chain, hook: HookPoint) -> Result<Option<BaseChain>> {
        let read = |body: &[u8]| Some(BaseChain::read(chain.table.family, hook, body));
        self.get_chain(chain, read).map(Option::flatten)
    }

    /// The rules of a chain, in their order; none where it does not exist.
    pub fn rules(&mut self, chain: &Chain) -> Result<Vec<Rule>> {
        self.read_rules(chain, Rule::read)
    }

    /// The same, to be compared with what could be written.
    pub fn whole_rules(&mut self, chain: &Chain) -> Result<Vec<WholeRule>> {
        self.read_rules(chain, WholeRule::read)
    }

    fn read_rules<T>(&mut self, chain: &Chain, read: impl Fn(&[u8]) -> Option<T>) -> Result<Vec<T>> {
        let query = format_args!("list rules of chain {chain}");
        let fill = |attributes: &mut Writer| rule::write_chain(attributes, chain);
        self.dump(query, NFT_MSG_GETRULE, chain.table.family, fill, read)
    }

    /// The chains that rules of a base chain jump to, each with the comment of such a rule, of `nft` or of iptables: whose the
    /// chain is. None where there is no base chain.
    pub fn entries(&mut self, base: &Chain) -> Result<Vec<(String, String)>> {
        let rules = self.rules(base)?;
        let entries = rules.iter().filter_map(|rule| match rule.verdict()? {
            Verdict::Jump(chain) => Some((chain.clone(), rule.iptables_comment()?)),
            _ => None,
        });
        Ok(entries.collect())
    }

    fn get_table<T>(&mut self, table: &Table, read: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>> {
        let query = format_args!("get table {table}");
        self.get(query, NFT_MSG_GETTABLE, table.family, |a| table.write(a, false), read)
    }

    fn get_chain<T>(&mut self, chain: &Chain, read: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>> {
        let query = format_args!("get chain {chain}");
        self.get(query, NFT_MSG_GETCHAIN, chain.table.family, |a| chain.write_name(a), read)
    }

    fn get_set<T>(&mut self, set: &Set, read: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>> {
        let query = format_args!("get set {set}");
        self.get(query, NFT_MSG_GETSET, set.table.family, |a| set.write_name(a), read)
    }

    /// Asks for one object; `None` where it does not exist.
    fn get<T>(
        &mut self,
        query: Arguments<'_>,
        kind: u16,
        family: Family,
        fill: impl FnOnce(&mut Writer),
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.ask(kind, family.number(), fill, read) {
            Err(error) if is_errno(&error, Errno::ENOENT) => Ok(None),
            found => found.map(Some).map_err(|source| failed(query, source)),
        }
    }

    /// What `read` makes of the one answer to a question; an error where that is nothing.
    fn ask<T>(
        &mut self,
        kind: u16,
        family: u8,
        fill: impl FnOnce(&mut Writer),
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<T> {
        let mut found = None;
        self.wire.ask(&mut request(kind, 0, family, fill)?, |message| {
            found = read(message::body(message));
            true
        })?;
        found.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "answer lacks an attribute"))
    }

    /// Asks for all objects, again where the ruleset changes in between.
    fn dump<T, I: IntoIterator<Item = T>>(
        &mut self,
        query: Arguments<'_>,
        kind: u16,
        family: Family,
        fill: impl FnOnce(&mut Writer),
        read: impl Fn(&[u8]) -> I,
    ) -> Result<Vec<T>> {
        let objects = request(kind, NLM_F_DUMP, family.number(), fill).and_then(|mut request| {
            self.wire.dump(&mut request, |message, objects: &mut Vec<T>| {
                objects.extend(read(message::body(message)));
                // Not every dump has NLM_F_DUMP_INTR, but each part names the generation that it was read at.
                message::resource(message)
            })
        });
        objects.map_err(|error| failed(query, error.into()))
    }
}

/// One message as a datagram.
fn request(
    kind: u16,
    flags: u16,
    family: u8,
    fill: impl FnOnce(&mut Writer),
) -> std::result::Result<Vec<u8>, wire::Error> {
    wire::request(NFTABLES | kind, flags, |message| {
        message.raw(&message::header(family, 0, 0));
        fill(message);
    })
}

fn failed(query: Arguments<'_>, source: io::Error) -> Error {
    Error::Query { query: query.to_string(), source }
}

const NFTA_GEN_ID: u16 = 1;
const NFTA_TABLE_USE: u16 = 3;
const NFTA_CHAIN_USE: u16 = 6;
const NFTA_SET_COUNT: u16 = 20;
/// How long the kernel may move elements before they are read again.
const REHASHING: Duration = Duration::from_millis(2);
/// How often elements are read again while the kernel moves them.
const READS: usize = 16;
