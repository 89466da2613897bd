//! Taking masquerading away again, by the record that the table has of its owner.

use std::net::IpAddr;

use nftables::ledger::{self, Change, Entry};
use nftables::{Set, Socket, Table, Type};

use super::except;
use super::heirs::{bequeath, heirs};
use super::layout::{
    ADDRESSES, MEMBERS, OWNERS, POST, Place, TABLE, exception_set, members, owned_places, types,
};
use super::owner_record::Record;
use crate::error::{Error, Result};
use crate::filter::owner::{first_word, interface};

/// The removal of what masquerades an attachment: its elements, the table with the last owner.
#[derive(Debug)]
pub(crate) struct Take<'a> {
    owner: &'a str,
    /// The owner's addresses by `prevResult`. Where it has no record, they lead to what it has.
    addresses: &'a [IpAddr],
    was_there: bool,
}

impl<'a> Take<'a> {
    /// Where nothing is there, nothing is done.
    pub(crate) fn new(owner: &'a str, addresses: &'a [IpAddr]) -> Self {
        Self { owner, addresses, was_there: false }
    }

    /// Whether there was something, once the entry has been taken.
    pub(crate) fn was_there(&self) -> bool {
        self.was_there
    }
}

impl Entry<Error> for Take<'_> {
    fn table(&self) -> Table<'static> {
        TABLE
    }

    fn prepare(&mut self, socket: &mut Socket, change: &mut Change) -> Result<()> {
        let (owner, key) = (self.owner, [interface(self.owner)?]);
        let record = socket.get_element(&OWNERS, &key)?.map(|element| Record::of(element.comment));
        let candidates = match &record {
            Some(record) if record.is_cut() => search(socket, owner)?,
            // One that another program has written over names nothing.
            Some(record) => owned_places(record).or_else(|_| search(socket, owner))?,
            None if is_any_of(socket, owner, self.addresses)? => search(socket, owner)?,
            None if self.was_there => Vec::new(),
            None => return Ok(()),
        };
        self.was_there = true;
        if record.is_some() {
            change.batch.del_element(&OWNERS, &key);
        }
        let mut going = Vec::new();
        for place in candidates {
            // The address may be another container's by now: then this DEL comes late.
            if is_of(socket, owner, &place)? {
                change.batch.del_element(&place.set(), &place.key);
                going.push(place);
            }
        }
        let heirs =
            if going.is_empty() { Vec::new() } else { heirs(socket, owner, record.as_ref(), &going)? };
        if !heirs.is_empty() {
            // They must still be the same.
            change.needs_ruleset_as_read();
        }
        bequeath(&mut change.batch, &going, &heirs)?;
        if is_left(socket, usize::from(record.is_some()), &going)? && !is_shared(socket)? {
            change.batch.del_chain(&MEMBERS).del_table(&TABLE);
        }
        Ok(())
    }

    fn is_settled(&mut self, socket: &mut Socket) -> Result<bool> {
        Ok(!self.was_there || !is_left(socket, 0, &[])? || is_shared(socket)?)
    }
}

/// Removes what masquerades one owner.
pub(super) fn take(socket: &mut Socket, owner: &str, addresses: &[IpAddr]) -> Result<()> {
    ledger::put(socket, &mut [&mut Take::new(owner, addresses)])
}

fn is_of(socket: &mut Socket, owner: &str, place: &Place) -> Result<bool> {
    Ok(socket.get_element(&place.set(), &place.key)?.as_ref().and_then(first_word) == Some(owner))
}

fn is_any_of(socket: &mut Socket, owner: &str, addresses: &[IpAddr]) -> Result<bool> {
    for address in addresses {
        let set = members(*address);
        if is_of(socket, owner, &Place::of(set, vec![(*address).into()]))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The places of all elements that name an owner: the slow way, for containers with more than a few addresses.
fn search(socket: &mut Socket, owner: &str) -> Result<Vec<Place>> {
    let mut sets: Vec<(String, &'static [Type])> =
        ADDRESSES.iter().map(|set| (set.name.to_owned(), set.key)).collect();
    let rules = socket.rules(&POST)?;
    let excepted = rules.iter().filter_map(except::network);
    sets.extend(excepted.map(|network| (exception_set(&network), types(network.is_ipv4()))));
    let mut places = Vec::new();
    for (name, types) in sets {
        for element in socket.elements(&Set::new(TABLE, &name, types))? {
            if first_word(&element) == Some(owner)
                && let Ok(key) = nftables::key::decode(types, &element.key)
            {
                places.push(Place::new(name.clone(), types, key));
            }
        }
    }
    Ok(places)
}

/// Whether the table is unused once that many owners, and these elements, have gone. Another program may have
/// flushed the owners; what they had is still in use.
fn is_left(socket: &mut Socket, owners: usize, going: &[Place]) -> Result<bool> {
    if socket.references(&MEMBERS)? != Some(owners) {
        return Ok(false);
    }
    let mut others = 0;
    for set in ADDRESSES {
        others += socket.elements(set)?.len();
    }
    Ok(others == going.iter().filter(|place| !place.is_exception()).count())
}

/// Whether another program has chains in the table, which is then not ours to delete.
fn is_shared(socket: &mut Socket) -> Result<bool> {
    /// Two chains, four sets and a map; the sets of exceptions may be more.
    const OWN: u32 = 7;
    if socket.table_uses(&TABLE)?.is_none_or(|uses| uses <= OWN) {
        return Ok(false);
    }
    Ok(socket.chain_names(&TABLE)?.iter().any(|chain| ![MEMBERS.name, POST.name].contains(&chain.as_str())))
}
