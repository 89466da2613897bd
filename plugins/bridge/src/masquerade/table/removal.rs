//! Taking masquerading away again, by what the table itself remembers.

use std::net::IpAddr;

use cni::NetworkName;
use nftables::{Batch, Chain, Element, Socket};

use super::{MASQ4, MASQ6, MORE, NETWORKS, OWNERS, TABLE, field, map};
use crate::error::Error;
use crate::names;
use crate::tables::{TRIES, contended, first_word, interface, key_of};

/// Removes what masquerades an attachment, in one transaction: its elements, the network's chain with the last of
/// them, the table with the last network. Nothing there is nothing to do. Says whether there was something.
pub(in super::super) fn del(socket: &mut Socket, owner: &str) -> Result<bool, Error> {
    for _ in 0..TRIES {
        let Some(Removal { mut batch, chain }) = removal(socket, owner)? else { return Ok(false) };
        match batch.commit(socket) {
            // Two that went at the same time have each seen the other: whoever is last sees it now.
            Ok(()) => {
                if socket.del_unused_chain(&Chain::new(TABLE, &chain))? {
                    socket.del_unused_table(&NETWORKS)?;
                }
                return Ok(true);
            }
            // Between the questions and the transaction another container has come or gone.
            Err(error) if error.is_busy() || error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(contended(&TABLE))
}

/// The removal of all that an owner has.
struct Removal {
    batch: Batch,
    /// The network's chain, which may go along.
    chain: String,
}

/// The removal of what an owner has as things are now; `None` where it has nothing.
fn removal(socket: &mut Socket, owner: &str) -> Result<Option<Removal>, Error> {
    let key = [interface(owner)?];
    let Some(memory) = socket.get_element(&OWNERS, &key)?.and_then(|element| element.comment) else {
        return Ok(None);
    };
    let mut words = memory.split(' ');
    let chain = Chain::new(TABLE, words.next().unwrap_or_default());
    let addresses = match words.clone().next_back() {
        Some(last) if format!(" {last}") == MORE => addresses_of(socket, owner)?,
        _ => words.filter_map(|word| word.parse().ok()).collect(),
    };
    let (mut batch, mut elements) = (Batch::new(), 0);
    batch.del_element(&OWNERS, &key);
    for address in addresses {
        // The address may be another container's by now: then this DEL comes late.
        let is_ours = |element: &Element| first_word(element) == Some(owner);
        if socket.get_element(map(address), &[field(address)])?.as_ref().is_some_and(is_ours) {
            batch.del_element(map(address), &[field(address)]);
            elements += 1;
        }
    }
    // A chain that nothing else leads to goes along, and with the last one, which alone jumps to it, the table.
    if socket.references(&chain)? == Some(elements) {
        batch.del_chain(&chain);
        if socket.references(&NETWORKS)? == Some(1) {
            batch.del_chain(&NETWORKS).del_table(&TABLE);
        }
    }
    Ok(Some(Removal { batch, chain: chain.name.to_owned() }))
}

/// The addresses whose elements name an owner: the slow way, for containers with more than a few.
fn addresses_of(socket: &mut Socket, owner: &str) -> Result<Vec<IpAddr>, Error> {
    let mut addresses = Vec::new();
    for set in [&MASQ4, &MASQ6] {
        for element in socket.elements(set)? {
            if first_word(&element) == Some(owner) {
                addresses.extend(match <[u8; 4]>::try_from(element.key.as_slice()) {
                    Ok(v4) => Some(IpAddr::from(v4)),
                    Err(_) => <[u8; 16]>::try_from(element.key.as_slice()).ok().map(IpAddr::from),
                });
            }
        }
    }
    Ok(addresses)
}

/// The host interfaces of a network that something masquerades.
pub(in super::super) fn owners(socket: &mut Socket, network: &NetworkName) -> Result<Vec<String>, Error> {
    let prefix = names::chain_prefix(network);
    let of_network =
        |element: &Element| element.comment.as_deref().is_some_and(|comment| comment.starts_with(&prefix));
    Ok(socket.elements(&OWNERS)?.iter().filter(|element| of_network(element)).filter_map(key_of).collect())
}
