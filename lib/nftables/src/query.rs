//! Questions: one object by its name or key, or all that a table, chain or set holds.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;

use crate::attr::{self, Writer, find_string};
use crate::chain::{NFTA_CHAIN_NAME, NFTA_CHAIN_TABLE};
use crate::element::{self, write_list};
use crate::error::is_errno;
use crate::message::{
    self, Headers, Message, NFTABLES, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_MULTI, NLMSG_DONE,
};
use crate::operation::{
    NFT_MSG_GETCHAIN, NFT_MSG_GETGEN, NFT_MSG_GETRULE, NFT_MSG_GETSET, NFT_MSG_GETSETELEM, NFT_MSG_GETTABLE,
};
use crate::table::{NFT_TABLE_F_DORMANT, NFTA_TABLE_FLAGS};
use crate::{
    BaseChain, Chain, Element, Error, Family, Field, HookPoint, Result, Rule, Set, Socket, Table, WholeRule,
    key, rule,
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
            Ok(_) => Ok(Some(socket)),
            // nfnetlink_rcv_msg knows no such subsystem.
            Err(error) if error.is(Errno::EINVAL) || error.is(Errno::EOPNOTSUPP) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The generation of the ruleset: every transaction of the namespace raises it by one.
    pub fn generation(&mut self) -> Result<u32> {
        let found = self.get(NFT_MSG_GETGEN, 0, |_| {}, |body| attr::find_be32(body, NFTA_GEN_ID));
        found.and_then(answered).map_err(|source| failed("get generation of ruleset", source))
    }

    /// Whether the table exists.
    pub fn has_table(&mut self, table: &Table) -> Result<bool> {
        let found =
            self.get(NFT_MSG_GETTABLE, table.family.number(), |a| table.write(a, false), |_| Some(()));
        exists(found).map_err(|source| failed(format_args!("get table {table}"), source))
    }

    /// How many chains, sets and other objects a table has (`NFTA_TABLE_USE`); `None` where there is no such table.
    pub fn table_uses(&mut self, table: &Table) -> Result<Option<u32>> {
        let read = |body: &[u8]| attr::find_be32(body, NFTA_TABLE_USE);
        match self.get(NFT_MSG_GETTABLE, table.family.number(), |a| table.write(a, false), read) {
            Err(error) if is_errno(&error, Errno::ENOENT) => Ok(None),
            uses => uses
                .and_then(answered)
                .map(Some)
                .map_err(|source| failed(format_args!("get uses of table {table}"), source)),
        }
    }

    /// Whether the table, and with it all its chains, is switched off (`flags dormant`); `None` where it does not exist.
    pub fn is_dormant(&mut self, table: &Table) -> Result<Option<bool>> {
        let family = table.family.number();
        let read = |body: &[u8]| attr::find_be32(body, NFTA_TABLE_FLAGS);
        let flags = self.get(NFT_MSG_GETTABLE, family, |a| table.write(a, false), read);
        found(flags.map(|flags| flags.is_some_and(|flags| flags & NFT_TABLE_F_DORMANT != 0)))
            .map_err(|source| failed(format_args!("get flags of table {table}"), source))
    }

    /// Whether the chain of this name is of the same kind, hook, priority and policy, or without any as this one is; `None`
    /// where it does not exist.
    pub fn is_as_chain(&mut self, chain: &Chain) -> Result<Option<bool>> {
        let family = chain.table.family.number();
        let read = |body: &[u8]| Some(chain.agrees(body));
        let agrees = self.get(NFT_MSG_GETCHAIN, family, |a| chain.write_name(a), read);
        found(agrees.and_then(answered)).map_err(|source| failed(format_args!("get chain {chain}"), source))
    }

    /// Whether the set of this name has the same types; `None` where it does not exist.
    pub fn is_as_set(&mut self, set: &Set) -> Result<Option<bool>> {
        let family = set.table.family.number();
        let read = |body: &[u8]| Some(set.agrees(body));
        let agrees = self.get(NFT_MSG_GETSET, family, |a| set.write_name(a), read);
        found(agrees.and_then(answered)).map_err(|source| failed(format_args!("get set {set}"), source))
    }

    /// Whether the chain, and its table, exist.
    pub fn has_chain(&mut self, chain: &Chain) -> Result<bool> {
        let family = chain.table.family.number();
        let found = self.get(NFT_MSG_GETCHAIN, family, |a| chain.write_name(a), |_| Some(()));
        exists(found).map_err(|source| failed(format_args!("get chain {chain}"), source))
    }

    /// How many rules and elements lead to a chain, its own rules counted as well (`NFTA_CHAIN_USE`); `None` where there
    /// is no such chain.
    pub(crate) fn chain_uses(&mut self, chain: &Chain) -> Result<Option<u32>> {
        let family = chain.table.family.number();
        let read = |body: &[u8]| attr::find_be32(body, NFTA_CHAIN_USE);
        match self.get(NFT_MSG_GETCHAIN, family, |a| chain.write_name(a), read) {
            Err(error) if is_errno(&error, Errno::ENOENT) => Ok(None),
            uses => uses
                .and_then(answered)
                .map(Some)
                .map_err(|source| failed(format_args!("get uses of chain {chain}"), source)),
        }
    }

    /// Whether the set or map, and its table, exist.
    pub fn has_set(&mut self, set: &Set) -> Result<bool> {
        let found = self.get(NFT_MSG_GETSET, set.table.family.number(), |a| set.write_name(a), |_| Some(()));
        exists(found).map_err(|source| failed(format_args!("get set {set}"), source))
    }

    /// The element with that key; `None` where the key, the set or the table does not exist, and where the set is somebody
    /// else's of the same name, with keys of another size. Costs the same however many elements there are.
    pub fn get_element(&mut self, set: &Set, key: &[Field]) -> Result<Option<Element>> {
        let bytes = key::encode(key);
        let found = self.get(
            NFT_MSG_GETSETELEM,
            set.table.family.number(),
            |attributes| write_list(attributes, set, &bytes, |_| {}),
            |body| {
                let mut elements = Vec::with_capacity(1);
                element::read_list(body, &mut elements);
                elements.pop()
            },
        );
        match found {
            Err(error) if is_errno(&error, Errno::ENOENT) || is_errno(&error, Errno::EINVAL) => Ok(None),
            found => found
                .map_err(|source| failed(format_args!("get element {} of {set}", key::words(key)), source)),
        }
    }

    /// All elements of a set or map, in no order; none where it does not exist.
    ///
    /// Some time after a set has grown or shrunk, the kernel moves its elements to a table of another size, from a work
    /// queue. What is read meanwhile has some elements twice and others not at all, and nothing in the answer tells.
    /// Therefore keys are looked through for repetitions and counted, and read again where that does not come out.
    pub fn elements(&mut self, set: &Set) -> Result<Vec<Element>> {
        let mut elements = Vec::new();
        for attempt in 0..DUMP_ATTEMPTS {
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
        // The count goes with every transaction, so on a node that never rests it may not come out at all.
        Ok(elements)
    }

    /// How many elements a set has, where the kernel tells (`NFTA_SET_COUNT`, Linux 6.16).
    fn count(&mut self, set: &Set) -> Result<Option<usize>> {
        let read = |body: &[u8]| attr::find_be32(body, NFTA_SET_COUNT);
        match self.get(NFT_MSG_GETSET, set.table.family.number(), |a| set.write_name(a), read) {
            Err(error) if is_errno(&error, Errno::ENOENT) => Ok(None),
            count => count
                .map(|count| count.and_then(|count| usize::try_from(count).ok()))
                .map_err(|source| failed(format_args!("count elements of {set}"), source)),
        }
    }

    fn read_elements(&mut self, set: &Set) -> Result<Vec<Element>> {
        let elements = self.dump(
            NFT_MSG_GETSETELEM,
            set.table.family.number(),
            |a| set.write_name(a),
            |message, elements| element::read_list(message.body(), elements),
        );
        match elements {
            Err(error) if is_errno(&error, Errno::ENOENT) => Ok(Vec::new()),
            elements => elements.map_err(|source| failed(format_args!("list elements of {set}"), source)),
        }
    }

    /// The names of all chains of a table; none where it does not exist.
    pub fn chains(&mut self, table: &Table) -> Result<Vec<String>> {
        // The kernel narrows this to the family, not to the table.
        self.dump(
            NFT_MSG_GETCHAIN,
            table.family.number(),
            |_| {},
            |message, names| {
                let body = message.body();
                if find_string(body, NFTA_CHAIN_TABLE) == Some(table.name) {
                    names.extend(find_string(body, NFTA_CHAIN_NAME).map(str::to_owned));
                }
            },
        )
        .map_err(|source| failed(format_args!("list chains of table {table}"), source))
    }

    /// The base chains of a family at a hook, of every table. The kernel goes through all chains of the family for it.
    pub fn base_chains(&mut self, family: Family, hook: HookPoint) -> Result<Vec<BaseChain>> {
        let found = self.dump(
            NFT_MSG_GETCHAIN,
            family.number(),
            |_| {},
            |message, chains| chains.extend(BaseChain::read(family, hook, message.body())),
        );
        found.map_err(|source| failed(format_args!("list base chains of family {family}"), source))
    }

    /// A base chain by its table and name; `None` where there is none at that hook.
    pub fn base_chain(&mut self, chain: &Chain, hook: HookPoint) -> Result<Option<BaseChain>> {
        let family = chain.table.family;
        let read = |body: &[u8]| BaseChain::read(family, hook, body);
        match self.get(NFT_MSG_GETCHAIN, family.number(), |a| chain.write_name(a), read) {
            Err(error) if is_errno(&error, Errno::ENOENT) => Ok(None),
            found => found.map_err(|source| failed(format_args!("get chain {chain}"), source)),
        }
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
        self.dump(
            NFT_MSG_GETRULE,
            chain.table.family.number(),
            |a| rule::write_chain(a, chain),
            |message, rules| rules.extend(read(message.body())),
        )
        .map_err(|source| failed(format_args!("list rules of chain {chain}"), source))
    }

    /// Asks for one object; `None` where `read` finds nothing in the answer.
    fn get<T>(
        &mut self,
        kind: u16,
        family: u8,
        fill: impl FnOnce(&mut Writer),
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<Option<T>> {
        let sequence = self.take_sequences(1);
        let request = request(kind, 0, family, sequence, fill)?;
        let mut found = None;
        self.ask(&request, sequence, |message| {
            found = read(message.body());
            Ok(false)
        })?;
        Ok(found)
    }

    /// Asks for all objects, again where the ruleset changes meanwhile.
    fn dump<T>(
        &mut self,
        kind: u16,
        family: u8,
        fill: impl FnOnce(&mut Writer),
        mut read: impl FnMut(&Message, &mut Vec<T>),
    ) -> io::Result<Vec<T>> {
        let mut request = request(kind, NLM_F_DUMP, family, 0, fill)?;
        for _ in 0..DUMP_ATTEMPTS {
            let sequence = self.take_sequences(1);
            request[8..12].copy_from_slice(&sequence.to_ne_bytes());
            let mut objects = Vec::new();
            let mut generation = None;
            let mut changed = false;
            self.ask(&request, sequence, |message| {
                if message.kind == NLMSG_DONE {
                    return message.outcome().map(|()| false);
                }
                // Not every dump has NLM_F_DUMP_INTR, but each part tells the generation that it was read at.
                changed |= message.flags & NLM_F_DUMP_INTR != 0;
                changed |= *generation.get_or_insert(message.resource()) != message.resource();
                read(message, &mut objects);
                Ok(message.flags & NLM_F_MULTI != 0)
            })?;
            if !changed {
                return Ok(objects);
            }
        }
        Err(Errno::EINTR.into())
    }
}

/// One message as a datagram.
fn request(
    kind: u16,
    flags: u16,
    family: u8,
    sequence: u32,
    fill: impl FnOnce(&mut Writer),
) -> io::Result<Vec<u8>> {
    let mut writer = Writer::default();
    let headers = Headers { kind: NFTABLES | kind, flags, sequence, family, version: 0, resource: 0 };
    message::write(&mut writer, &headers, fill);
    match writer.take_fault() {
        Some(reason) => Err(io::Error::new(io::ErrorKind::InvalidInput, reason)),
        None => Ok(writer.into_bytes()),
    }
}

fn exists(found: io::Result<Option<()>>) -> io::Result<bool> {
    match found {
        Err(error) if is_errno(&error, Errno::ENOENT) => Ok(false),
        found => found.map(|_| true),
    }
}

/// `None` for what does not exist.
fn found<T>(answer: io::Result<T>) -> io::Result<Option<T>> {
    match answer {
        Err(error) if is_errno(&error, Errno::ENOENT) => Ok(None),
        answer => answer.map(Some),
    }
}

fn answered<T>(found: Option<T>) -> io::Result<T> {
    found.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "answer lacks an attribute"))
}

fn failed(query: impl fmt::Display, source: io::Error) -> Error {
    Error::Query { query: query.to_string(), source }
}

const NFTA_GEN_ID: u16 = 1;
const NFTA_TABLE_USE: u16 = 3;
const NFTA_CHAIN_USE: u16 = 6;
const NFTA_SET_COUNT: u16 = 20;
/// How long to let the kernel move elements before they are read again.
const REHASHING: Duration = Duration::from_millis(2);
/// A ruleset that changes during every one of so many reads is left to the caller.
const DUMP_ATTEMPTS: usize = 16;
