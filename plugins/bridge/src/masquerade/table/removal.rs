//! Taking masquerading away again, by what the table itself remembers.

use std::net::IpAddr;

use cni::NetworkName;
use nftables::{Batch, Socket};

use super::beside::{bequeath, heirs};
use super::memory::Memory;
use super::{ADDRESSES, MEMBERS, OWNERS, POST, Place, TABLE, except, members, places};
use crate::error::Error;
use crate::tables::{TRIES, contended, first_word, interface, ports_of};

/// Removes what masquerades an attachment, in one transaction: its elements, the table with the last owner. Nothing there is
/// nothing to do. Says whether there was something. Where the owner has been forgotten, its addresses as others tell them
/// lead to what it has.
pub(in super::super) fn del(socket: &mut Socket, owner: &str, told: &[IpAddr]) -> Result<bool, Error> {
    for _ in 0..TRIES {
        let Some(removal) = removal(socket, owner, told)? else { return Ok(false) };
        let outcome = if removal.has_heirs {
            // They must still be the same.
            let generation = socket.generation()?;
            let Some(mut removal) = self::removal(socket, owner, told)? else { return Ok(false) };
            removal.batch.commit_at(socket, generation)
        } else {
            let mut batch = removal.batch;
            batch.commit(socket)
        };
        match outcome {
            // Two that went at the same time have each seen the other: whoever is last sees it now.
            Ok(()) => {
                if is_left(socket, 0, &[])? && !is_shared(socket)? {
                    socket.del_unused_table(&MEMBERS)?;
                }
                return Ok(true);
            }
            // Between the questions and the transaction another container has come or gone.
            Err(error)
                if error.is_busy() || error.is_not_found() || error.is_restart() || error.is_exists() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(contended(&TABLE))
}

/// The removal of what an owner has.
struct Removal {
    batch: Batch,
    /// Some of it stays, as somebody else's.
    has_heirs: bool,
}

/// The removal of what an owner has as things are now; `None` where it has nothing.
fn removal(socket: &mut Socket, owner: &str, told: &[IpAddr]) -> Result<Option<Removal>, Error> {
    let key = [interface(owner)?];
    let memory = socket.get_element(&OWNERS, &key)?.map(|element| Memory::of(element.comment));
    let candidates = match &memory {
        Some(memory) if memory.is_cut() => search(socket, owner)?,
        // One that somebody has written over tells nothing.
        Some(memory) => owned_places(memory).or_else(|_| search(socket, owner))?,
        None if is_any_of(socket, owner, told)? => search(socket, owner)?,
        None => return Ok(None),
    };
    let mut batch = Batch::new();
    if memory.is_some() {
        batch.del_element(&OWNERS, &key);
    }
    let mut going = Vec::new();
    for place in candidates {
        // The address may be another container's by now: then this DEL comes late.
        if is_of(socket, owner, &place)? {
            batch.del_element(&place.set(), &place.key);
            going.push(place);
        }
    }
    let heirs = heirs(socket, owner, memory.as_ref(), &going)?;
    bequeath(&mut batch, &going, &heirs)?;
    if is_left(socket, usize::from(memory.is_some()), &going)? && !is_shared(socket)? {
        batch.del_chain(&MEMBERS).del_table(&TABLE);
    }
    Ok(Some(Removal { batch, has_heirs: !heirs.is_empty() }))
}

/// The places that a memory names.
pub(super) fn owned_places(memory: &Memory) -> Result<Vec<Place>, Error> {
    let mut all = Vec::new();
    for address in memory.addresses() {
        all.extend(places(address, memory.home(), memory.exceptions())?);
    }
    Ok(all)
}

fn is_of(socket: &mut Socket, owner: &str, place: &Place) -> Result<bool, Error> {
    Ok(socket.get_element(&place.set(), &place.key)?.as_ref().and_then(first_word) == Some(owner))
}

fn is_any_of(socket: &mut Socket, owner: &str, addresses: &[IpAddr]) -> Result<bool, Error> {
    for address in addresses {
        let set = members(*address);
        if is_of(socket, owner, &Place::of(set, vec![(*address).into()]))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The places of all elements that name an owner: the slow way, for containers with more than a few addresses.
fn search(socket: &mut Socket, owner: &str) -> Result<Vec<Place>, Error> {
    let mut places = Vec::new();
    let mut sets: Vec<Place> = ADDRESSES.iter().map(|set| Place::of(set, Vec::new())).collect();
    let excepted = socket.rules(&POST)?;
    sets.extend(
        excepted
            .iter()
            .filter_map(except::network)
            .map(|network| Place::new(except::name(&network), except::types(network.is_ipv4()), Vec::new())),
    );
    for place in sets {
        let set = place.set();
        for element in socket.elements(&set)? {
            if first_word(&element) == Some(owner)
                && let Ok(key) = nftables::key::decode(set.key, &element.key)
            {
                places.push(Place { key, ..place.clone() });
            }
        }
    }
    Ok(places)
}

/// Whether nobody uses the table any more once so many owners, and these elements, have gone. Somebody may have flushed
/// the owners; what they had is still in use.
fn is_left(socket: &mut Socket, owners: usize, going: &[Place]) -> Result<bool, Error> {
    if socket.references(&MEMBERS)? != Some(owners) {
        return Ok(false);
    }
    let mut others = 0;
    for set in ADDRESSES {
        others += socket.elements(set)?.len();
    }
    Ok(others == going.iter().filter(|place| !place.is_exception()).count())
}

/// Whether somebody else has chains in the table, which is then not ours to delete.
fn is_shared(socket: &mut Socket) -> Result<bool, Error> {
    /// Two chains, four sets and a map; the sets of exceptions may be more.
    const OWN: u32 = 7;
    if socket.table_uses(&TABLE)?.is_none_or(|uses| uses <= OWN) {
        return Ok(false);
    }
    Ok(socket.chain_names(&TABLE)?.iter().any(|chain| ![MEMBERS.name, POST.name].contains(&chain.as_str())))
}

/// The ports of a network that something masquerades.
pub(in super::super) fn owners(socket: &mut Socket, network: &NetworkName) -> Result<Vec<String>, Error> {
    ports_of(socket, &OWNERS, network)
}
