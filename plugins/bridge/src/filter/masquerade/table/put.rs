//! Masquerading an attachment, and looking whether it is masqueraded.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use ipnetwork::IpNetwork;
use nftables::ledger::{self, Change, Entry, Removal};
use nftables::{Batch, Element, Socket, Table};

use super::check::Living;
use super::except;
use super::layout::{
    ADDRESSES, MEMBERS, OWNERS, POST, Place, TABLE, add_rules, exception_word, owner_element, places,
};
use super::owner_record::Record;
use super::removal::take;
use crate::error::{Error, Result};
use crate::filter::masquerade::Masquerade;
use crate::filter::owner::{comment, first_word, interface};
use crate::names;

/// After this time a DEL of the other owner that had read its record before it named an heir has ended.
const SETTLED: Duration = Duration::from_millis(2);

impl Masquerade<'_> {
    /// Where the elements of some addresses are.
    pub(super) fn places(&self, addresses: &[IpAddr]) -> Result<Vec<Place>> {
        let words: Vec<String> = self.except.iter().map(exception_word).collect();
        let places = |address: &IpAddr| places(*address, self.home, words.iter().map(String::as_str));
        Ok(addresses.iter().map(places).collect::<Result<Vec<_>>>()?.concat())
    }

    /// Puts back what is missing.
    pub(crate) fn restore_table(&self, socket: &mut Socket) -> Result<()> {
        self.clear(socket)?;
        ledger::put(socket, &mut [&mut Put::new(self)])?;
        let rules = socket.rules(&POST)?;
        if self.check_rules(&rules).is_err() {
            let there = rules.iter().filter_map(except::network);
            let excepted: BTreeSet<IpNetwork> = there.chain(self.except.iter().copied()).collect();
            let mut batch = Batch::new();
            add_rules(&mut batch);
            for network in excepted {
                except::insert_rule(&mut batch, network);
            }
            batch.commit(socket)?;
        }
        Ok(())
    }

    /// Adds the elements of these places, and the owner's; before them the table, unless it is there. A table without its chain
    /// is filled up. Says which exceptions are new.
    fn enter(
        &self,
        socket: &mut Socket,
        batch: &mut Batch,
        places: Vec<Place>,
        has_table: bool,
    ) -> Result<Vec<IpNetwork>> {
        if !has_table {
            batch.add_table(&TABLE);
            for set in ADDRESSES.into_iter().chain([&OWNERS]) {
                batch.add_set(set);
            }
            batch.create_chain(&MEMBERS);
            add_rules(batch);
        }
        let made = except::prepare(socket, batch, &self.except, !has_table)?;
        let comment = comment(&self.owner, self.attachment);
        for place in places {
            batch.create_element(&place.set(), &Element::new(&place.key).comment(comment.as_str()));
        }
        let label = names::network_label(&self.attachment.network);
        let exceptions = self.except.iter().map(exception_word);
        let record = Record::new(self.home, &label, &self.addresses, exceptions);
        batch.create_element(&OWNERS, &owner_element(&self.owner, &record)?);
        Ok(made)
    }

    /// The places beside those of others that are still there and have the same addresses, of whom the attachment becomes an
    /// heir; `None` where there are no such others.
    fn beside(&self, socket: &mut Socket, change: &mut Change) -> Result<Option<Vec<Place>>> {
        let mut living = Living::new()?;
        let (mut free, mut others) = (Vec::new(), BTreeSet::new());
        for place in self.places(&self.addresses)? {
            match socket.get_element(&place.set(), &place.key)?.as_ref().and_then(first_word) {
                None => free.push(place),
                Some(other) if other != self.owner && living.has(other)? => {
                    others.insert(other.to_owned());
                }
                // It has just changed: the transaction is refused, and tried again.
                Some(_) => return Ok(None),
            }
        }
        if others.is_empty() {
            return Ok(None);
        }
        change.needs_ruleset_as_read();
        for other in &others {
            self.become_heir(socket, &mut change.batch, other)?;
        }
        Ok(Some(free))
    }

    /// Removes what is there of the owner, and what stands under the addresses with all that its owner has, unless that one is
    /// still there.
    fn clear(&self, socket: &mut Socket) -> Result<()> {
        take(socket, &self.owner, &self.addresses)?;
        let mut living = Living::new()?;
        for place in self.places(&self.addresses)? {
            let (set, key) = (place.set(), &place.key[..]);
            let Some(found) = socket.get_element(&set, key)? else { continue };
            if let Some(owner) = first_word(&found).filter(|owner| *owner != self.owner) {
                if living.has(owner)? {
                    continue;
                }
                take(socket, owner, &self.addresses)?;
            }
            // One that no owner knows of, unless an heir has it now.
            let left = socket.get_element(&set, key)?;
            let has_owner = match left.as_ref().and_then(first_word).filter(|owner| *owner != self.owner) {
                Some(owner) => living.has(owner)?,
                None => left.is_none(),
            };
            if !has_owner {
                let removal = |socket: &mut Socket, change: &mut Change| -> Result<()> {
                    if socket.get_element(&set, key)? == left {
                        change.batch.del_element(&set, key);
                    }
                    Ok(())
                };
                ledger::put(socket, &mut [&mut Removal::new(TABLE, removal)])?;
            }
        }
        Ok(())
    }

    /// Has another owner's record name this one as an heir. Heirs that have gone are left out.
    fn become_heir(&self, socket: &mut Socket, batch: &mut Batch, other: &str) -> Result<()> {
        let key = [interface(other)?];
        // Where the other has no record, its heirs are looked for when it goes.
        let Some(found) = socket.get_element(&OWNERS, &key)? else { return Ok(()) };
        let record = Record::of(found.comment);
        let mut heirs = Vec::new();
        for heir in record.heirs().filter(|heir| *heir != self.owner) {
            if socket.get_element(&OWNERS, &[interface(heir)?])?.is_some() {
                heirs.push(heir);
            }
        }
        heirs.push(&self.owner);
        batch.del_element(&OWNERS, &key);
        batch.create_element(&OWNERS, &owner_element(other, &record.with_heirs(heirs))?);
        Ok(())
    }
}

/// Masquerades an attachment. What stands under one of its addresses is mostly left of a container that has gone, since IPAM
/// gave the address away anew, and is replaced; the elements of a container that is still there stay.
#[derive(Debug)]
pub(crate) struct Put<'a> {
    masquerade: &'a Masquerade<'a>,
    /// Others have some of the elements.
    is_beside: bool,
}

impl<'a> Put<'a> {
    /// Nothing is done before the entry is put.
    pub(crate) fn new(masquerade: &'a Masquerade<'a>) -> Self {
        Self { masquerade, is_beside: false }
    }
}

impl Entry<Error> for Put<'_> {
    fn table(&self) -> Table<'static> {
        TABLE
    }

    fn prepare(&mut self, socket: &mut Socket, change: &mut Change) -> Result<()> {
        // To try and be refused would cost the kernel a grace period, some ten milliseconds.
        let has_table = socket.has_chain(&MEMBERS)?;
        let mut beside = None;
        if has_table && (change.is_blocked || self.is_beside) {
            self.masquerade.clear(socket)?;
            beside = self.masquerade.beside(socket, change)?;
        }
        self.is_beside = beside.is_some();
        let places = beside.map_or_else(|| self.masquerade.places(&self.masquerade.addresses), Ok)?;
        let mut made = self.masquerade.enter(socket, &mut change.batch, places, has_table)?;
        made.retain(|network| has_table && self.masquerade.overlay.contains(network));
        if made.is_empty() { Ok(()) } else { self.masquerade.spread(socket, change, &made) }
    }

    fn is_settled(&mut self, socket: &mut Socket) -> Result<bool> {
        if !self.is_beside {
            return Ok(true);
        }
        thread::sleep(SETTLED);
        for place in self.masquerade.places(&self.masquerade.addresses)? {
            if socket.get_element(&place.set(), &place.key)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
