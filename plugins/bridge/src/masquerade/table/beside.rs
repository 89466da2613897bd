//! Two who live with one address: networks whose subnets meet, or an address that was given twice. The elements belong to
//! the first, who remembers the second as its heir. Nothing is taken from either before it goes.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use nftables::{Batch, Element, Socket, Verdict};

use super::memory::Memory;
use super::removal::owned_places;
use super::{MEMBERS, Members, OWNERS, Place, except};
use crate::error::Error;
use crate::tables::{first_word, ignore_change, interface, key_of};

/// For longer no DEL of the other one goes on that has asked before it had an heir.
const SETTLED: Duration = Duration::from_millis(2);

/// Tells which owners live: those whose interface the kernel still has.
pub(super) struct Living {
    links: netlink::Socket,
    known: HashMap<String, bool>,
}

impl Living {
    pub(super) fn new() -> Result<Self, Error> {
        Ok(Self { links: netlink::Socket::open()?, known: HashMap::new() })
    }

    pub(super) fn has(&mut self, owner: &str) -> Result<bool, Error> {
        if let Some(known) = self.known.get(owner) {
            return Ok(*known);
        }
        let lives = interface(owner).is_ok() && self.links.get_link(owner)?.is_some();
        self.known.insert(owner.to_owned(), lives);
        Ok(lives)
    }
}

impl Members<'_> {
    /// Takes out what is there of the owner, and what stands under the addresses with whatever else its owner has, unless
    /// that one lives.
    pub(super) fn clear(&self, socket: &mut Socket) -> Result<(), Error> {
        super::del(socket, &self.owner, self.addresses)?;
        let mut living = Living::new()?;
        for place in self.places()? {
            let (set, key) = (place.set(), &place.key[..]);
            let Some(found) = socket.get_element(&set, key)? else { continue };
            if let Some(owner) = first_word(&found).filter(|owner| *owner != self.owner) {
                if living.has(owner)? {
                    continue;
                }
                super::del(socket, owner, self.addresses)?;
            }
            // One that no owner knows of, unless an heir has it now.
            let left = socket.get_element(&set, key)?;
            let is_anybodys = match left.as_ref().and_then(first_word).filter(|owner| *owner != self.owner) {
                Some(owner) => living.has(owner)?,
                None => left.is_none(),
            };
            if !is_anybodys {
                ignore_change(Batch::new().del_element(&set, key).commit(socket))?;
            }
        }
        Ok(())
    }

    /// Sets it up beside others who live and have elements under the same addresses. Says whether it is done: it is not
    /// where there are no such others, or where something changed meanwhile.
    pub(super) fn add_beside(&self, socket: &mut Socket) -> Result<bool, Error> {
        let generation = socket.generation()?;
        let mut living = Living::new()?;
        let (mut batch, mut others) = (Batch::new(), Vec::new());
        except::prepare(socket, &mut batch, &self.except, false)?;
        for place in self.places()? {
            let (set, key) = (place.set(), &place.key[..]);
            match socket.get_element(&set, key)?.as_ref().and_then(first_word) {
                None => {
                    batch.create_element(&set, &Element::new(key).comment(self.comment.as_str()));
                }
                Some(other) if other != self.owner && living.has(other)? => {
                    if !others.iter().any(|known| known == other) {
                        others.push(other.to_owned());
                    }
                }
                Some(_) => return Ok(false),
            }
        }
        if others.is_empty() {
            return Ok(false);
        }
        for other in &others {
            self.become_heir(socket, &mut batch, other)?;
        }
        batch.create_element(&OWNERS, &owner_element(&self.owner, &self.memory())?);
        match batch.commit_at(socket, generation) {
            Ok(()) => {}
            Err(error)
                if error.is_restart() || error.is_exists() || error.is_busy() || error.is_not_found() =>
            {
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        thread::sleep(SETTLED);
        for place in self.places()? {
            if socket.get_element(&place.set(), &place.key)?.is_none() {
                super::del(socket, &self.owner, self.addresses)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Has another owner remember this one. Heirs that have gone are forgotten.
    fn become_heir(&self, socket: &mut Socket, batch: &mut Batch, other: &str) -> Result<(), Error> {
        let key = [interface(other)?];
        // Whom nobody remembers leaves nothing of what his heirs need: they are looked for.
        let Some(record) = socket.get_element(&OWNERS, &key)? else { return Ok(()) };
        let memory = Memory::of(record.comment);
        let mut heirs = Vec::new();
        for heir in memory.heirs().filter(|heir| *heir != self.owner) {
            if socket.get_element(&OWNERS, &[interface(heir)?])?.is_some() {
                heirs.push(heir);
            }
        }
        heirs.push(&self.owner);
        batch.del_element(&OWNERS, &key);
        batch.create_element(&OWNERS, &owner_element(other, &memory.with_heirs(heirs))?);
        Ok(())
    }
}

/// Another owner who has some of the same addresses.
#[derive(Debug)]
pub(super) struct Heir {
    name: String,
    memory: Memory,
    /// The one who goes names it.
    is_named: bool,
}

impl Heir {
    /// Whether it needs an element. One that is named and does not remember everything may need any.
    fn needs(&self, place: &Place) -> Result<bool, Error> {
        Ok(self.is_named && self.memory.is_cut() || owned_places(&self.memory)?.contains(place))
    }
}

/// Who needs what an owner has when that one goes: by its memory, and where that does not tell, by everybody else's.
pub(super) fn heirs(
    socket: &mut Socket,
    owner: &str,
    memory: Option<&Memory>,
    going: &[Place],
) -> Result<Vec<Heir>, Error> {
    let mut heirs = Vec::new();
    if let Some(memory) = memory.filter(|memory| memory.is_readable() && !memory.is_cut()) {
        for name in memory.heirs().filter(|name| *name != owner) {
            if let Some(record) = socket.get_element(&OWNERS, &[interface(name)?])? {
                let (name, memory) = (name.to_owned(), Memory::of(record.comment));
                heirs.push(Heir { name, memory, is_named: true });
            }
        }
    } else {
        for element in socket.elements(&OWNERS)? {
            if let Some(name) = key_of(&element).filter(|name| name != owner) {
                heirs.push(Heir { name, memory: Memory::of(element.comment), is_named: false });
            }
        }
    }
    // What somebody has written over may name what is no interface: that one needs nothing.
    heirs.retain(|heir| going.iter().any(|place| heir.needs(place).unwrap_or_default()));
    Ok(heirs)
}

/// Adds to a transaction that takes elements out that some of them stay, as an heir's. The first takes what it needs, and
/// remembers those behind it.
pub(super) fn bequeath(batch: &mut Batch, going: &[Place], heirs: &[Heir]) -> Result<(), Error> {
    let mut left: Vec<&Place> = going.iter().collect();
    for (at, heir) in heirs.iter().enumerate() {
        let mut taken = Vec::new();
        for place in std::mem::take(&mut left) {
            if heir.needs(place)? { taken.push(place) } else { left.push(place) }
        }
        let Heir { name, memory, .. } = heir;
        let comment = format!("{name} {}", memory.label());
        for place in &taken {
            batch.create_element(&place.set(), &Element::new(&place.key).comment(comment.trim_end()));
        }
        let mut behind = Vec::new();
        for other in &heirs[at + 1..] {
            let mut shares = false;
            for place in &taken {
                shares |= other.needs(place)?;
            }
            if shares && !memory.heirs().any(|heir| heir == other.name) {
                behind.push(other.name.as_str());
            }
        }
        if !behind.is_empty() {
            let memory = memory.with_heirs(memory.heirs().chain(behind));
            batch.del_element(&OWNERS, &[interface(name)?]);
            batch.create_element(&OWNERS, &owner_element(name, &memory)?);
        }
    }
    Ok(())
}

/// The element of an owner.
pub(super) fn owner_element(owner: &str, memory: &Memory) -> Result<Element, Error> {
    let element = Element::new(&[interface(owner)?]).verdict(Verdict::goto(MEMBERS.name));
    Ok(element.comment(memory.as_str()))
}
