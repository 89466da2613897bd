//! Taking ports off a bridge's gate, and the gate away with the last one.

use nftables::{Batch, Chain, Element, Set, Socket, Verdict};

use super::chains::{self, Names};
use super::ports::{self, Port};
use super::{FROM, GATES, INTO, MEMBERS, TABLE, chain_of, frames, mark};
use crate::error::Error;
use crate::hold::Alone;
use crate::netfilter;
use crate::tables::{TRIES, contended, element, first_word, ignore_change, interface};

/// Takes a port off its bridge's gate; the gate goes with the last port. Nothing there is nothing to do.
pub(crate) fn del(socket: &mut Socket, port: &str) -> Result<(), Error> {
    let member = interface(port)?;
    for _ in 0..TRIES {
        let Some(found) = element(socket, &MEMBERS, &[member])? else { return Ok(()) };
        let (Some(chain), Some(bridge)) = (chain_of(&found), first_word(&found)) else { return Ok(()) };
        let mut batch = Batch::new();
        let mut removed = 0;
        batch.del_element(&MEMBERS, &[member]);
        if chains::keeps_apart(&chain) {
            frames::forget(socket, &mut batch, port, &mut Vec::new())?;
            removed = frames::del(socket, &mut batch, member, found.comment.as_deref())?;
        }
        let alone = open_if_unused(socket, &mut batch, &chain, bridge, Some((port, removed)))?;
        match batch.commit(socket) {
            // Two that went at the same time have each seen the other: the last one sees it now.
            Ok(()) => {
                drop(alone);
                return finish(socket, &chain, bridge);
            }
            Err(error) if error.is_busy() || error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(contended(&TABLE))
}

/// Takes off a gate what [`del`] does not find, where somebody flushed the members: what the port holds, and the gate of a
/// bridge that has no port of ours any more.
pub(crate) fn tidy(socket: &mut Socket, port: Option<&str>, bridge: &str) -> Result<(), Error> {
    if let Some(port) = port {
        let mut batch = Batch::new();
        leave_frames(socket, &mut batch, port)?;
        ignore_change(batch.commit(socket))?;
    }
    let name = interface(bridge)?;
    for map in [&INTO, &FROM] {
        if let Some(chain) = element(socket, map, &[name])?.and_then(|found| chain_of(&found)) {
            return finish(socket, &chain, bridge);
        }
    }
    Ok(())
}

/// Removes what nobody uses any more.
fn finish(socket: &mut Socket, chain: &str, bridge: &str) -> Result<(), Error> {
    if chains::keeps_apart(chain) {
        frames::del_table_if_unused(socket)?;
    }
    let mut batch = Batch::new();
    let _alone = open_if_unused(socket, &mut batch, chain, bridge, None)?;
    if batch.is_empty() { Ok(()) } else { ignore_change(batch.commit(socket)) }
}

/// Adds the removal of a gate that has no members besides the one that is `leaving`, and with the last gate the table's.
/// Where that ends a bridge's `br_netfilter`, the guard is to be kept until the gate is gone.
fn open_if_unused(
    socket: &mut Socket,
    batch: &mut Batch,
    name: &str,
    bridge: &str,
    leaving: Option<(&str, usize)>,
) -> Result<Option<Alone>, Error> {
    let chain = Chain::new(TABLE, name);
    let Some(references) = socket.references(&chain)? else { return Ok(None) };
    let (gates, own) = elements_of(socket, name, bridge)?;
    if references != gates.len() + usize::from(own) + usize::from(leaving.is_some()) {
        return Ok(None);
    }
    // Where the members were flushed, those that are there are members.
    let is_flushed = !own && element(socket, &MEMBERS, &[interface(bridge)?])?.is_none();
    if is_flushed && mark(socket, &chain)?.is_some() {
        let living = ports::on(bridge)?;
        let is_other = |port: &&Port| leaving.is_none_or(|(leaving, _)| port.name != leaving);
        let others: Vec<&Port> = living.iter().filter(is_other).collect();
        if !others.is_empty() {
            enter(batch, name, bridge, others)?;
            return Ok(None);
        }
    }
    let note = gates.into_iter().find_map(|(_, found)| found.comment);
    remove(socket, batch, name, bridge, leaving.map_or(0, |(_, removed)| removed))?;
    note.map_or(Ok(None), |note| netfilter::switch_back(bridge, &note))
}

fn leave_frames(socket: &mut Socket, batch: &mut Batch, port: &str) -> Result<(), Error> {
    frames::forget(socket, batch, port, &mut Vec::new())?;
    frames::del(socket, batch, interface(port)?, None).map(drop)
}

/// Adds to a transaction that ports leave a gate, and says how many of them were held to plain packets, and which addresses
/// they had.
pub(super) fn leave(
    socket: &mut Socket,
    batch: &mut Batch,
    ports: &[String],
) -> Result<(usize, Vec<frames::Key>), Error> {
    let (mut removed, mut gone) = (0, Vec::new());
    for port in ports {
        let key = interface(port)?;
        batch.del_element(&MEMBERS, &[key]);
        frames::forget(socket, batch, port, &mut gone)?;
        removed += frames::del(socket, batch, key, None)?;
    }
    Ok((removed, gone))
}

/// Adds to a transaction that no link of any bridge is open.
pub(super) fn close_all_links(socket: &mut Socket, batch: &mut Batch) -> Result<(), Error> {
    for chain in socket.chain_names(&TABLE)? {
        if let Some(names) = Names::of_between(&chain) {
            chains::close_links(batch, &names.links());
        }
    }
    Ok(())
}

/// Adds to a transaction the removal of a gate that nothing leads to but what it has of its own, besides so many ports held
/// to plain packets that the transaction has removed.
pub(super) fn remove(
    socket: &mut Socket,
    batch: &mut Batch,
    name: &str,
    bridge: &str,
    removed: usize,
) -> Result<(), Error> {
    let port = interface(bridge)?;
    let (gates, own) = elements_of(socket, name, bridge)?;
    for (map, _) in &gates {
        batch.del_element(map, &[port]);
    }
    if own {
        batch.del_element(&MEMBERS, &[port]);
    }
    Names::of(name, bridge).del(batch);
    if chains::keeps_apart(name) {
        frames::del_bridge(socket, batch, bridge, removed)?;
    }
    if socket.references(&GATES)? == Some(1) {
        batch.del_chain(&GATES).del_table(&TABLE);
    }
    Ok(())
}

/// A map with its element that leads a bridge to its gate.
type Leading = (&'static Set<'static>, Element);

/// The maps' elements that lead a bridge to its gate, and whether it has one of its own among the members.
fn elements_of(socket: &mut Socket, name: &str, bridge: &str) -> Result<(Vec<Leading>, bool), Error> {
    let key = [interface(bridge)?];
    let mut leads = |map| -> Result<_, Error> {
        Ok(element(socket, map, &key)?.filter(|found| chain_of(found).as_deref() == Some(name)))
    };
    let mut gates = Vec::new();
    for map in [&INTO, &FROM] {
        gates.extend(leads(map)?.map(|found| (map, found)));
    }
    Ok((gates, leads(&MEMBERS)?.is_some()))
}

/// Adds ports to those of a gate, with the element that tells that nobody has flushed them since.
pub(super) fn enter(batch: &mut Batch, name: &str, bridge: &str, ports: Vec<&Port>) -> Result<(), Error> {
    let leads = |key: &str| -> Result<Element, Error> {
        Ok(Element::new(&[interface(key)?]).verdict(Verdict::goto(name)))
    };
    batch.add_element(&MEMBERS, &leads(bridge)?);
    for port in ports {
        batch.add_element(&MEMBERS, &leads(&port.name)?.comment(port.comment(bridge)));
    }
    Ok(())
}
