//! Taking ports off a bridge's gate, and the gate away with the last one.

use cni::links;
use nftables::ledger::{self, Change, Entry};
use nftables::{Batch, Chain, Element, Set, Socket, Table, Verdict};

use super::chains::{self, Names};
use super::frames;
use super::ports::{self, Port};
use super::table::{FROM, GATES, INTO, MEMBERS, TABLE, chain_of, mark};
use super::tunnel;
use crate::bridge_lock::Exclusive;
use crate::error::{Error, Result};
use crate::filter::owner::{element, first_word, interface};
use crate::parts::br_netfilter;

/// The removal of a port from its bridge's gate; the gate goes with the last port.
#[derive(Debug)]
pub(crate) struct Take<'a> {
    /// The port; without, only what the bridge has left is looked at.
    port: Option<&'a str>,
    /// The bridge that has a gate by the configuration. Where another program has flushed the members, the gate of a bridge
    /// that has no port of ours any more is found by it.
    configured: Option<&'a str>,
    /// The chain and the bridge of the gate.
    left: Option<(String, String)>,
    taken: Taken,
    /// Keeps ADDs from the bridge until its gate is gone, where that ends `br_netfilter` for it.
    alone: Option<Exclusive>,
}

impl<'a> Take<'a> {
    /// Where nothing is there, nothing is done.
    pub(crate) fn new(port: Option<&'a str>, configured: Option<&'a str>) -> Self {
        Self { port, configured, left: None, taken: Taken::default(), alone: None }
    }

    /// Adds to a transaction that the port is no member any more. Says how many members leave by it, and how many elements
    /// by which ports are held to plain packets.
    fn leave(&mut self, socket: &mut Socket, batch: &mut Batch) -> Result<(usize, usize)> {
        if let Some(port) = self.port {
            let member = interface(port)?;
            if let Some(found) = element(socket, &MEMBERS, &[member])? {
                let (Some(chain), Some(bridge)) = (chain_of(&found), first_word(&found)) else {
                    return Ok((0, 0));
                };
                batch.del_element(&MEMBERS, &[member]);
                let mut held = 0;
                if chains::keeps_apart(&chain) {
                    let comment = found.comment.as_deref();
                    held = frames::leave(socket, batch, port, comment, &mut Vec::new())?;
                }
                self.left = Some((chain, bridge.to_owned()));
                return Ok((1, held));
            }
        }
        let Some(bridge) = self.configured.filter(|_| self.left.is_none()) else { return Ok((0, 0)) };
        let mut held = 0;
        if let Some(port) = self.port {
            held = frames::leave(socket, batch, port, None, &mut Vec::new())?;
        }
        for map in [&INTO, &FROM] {
            let found = element(socket, map, &[interface(bridge)?])?;
            if let Some(chain) = found.and_then(|found| chain_of(&found)) {
                self.left = Some((chain, bridge.to_owned()));
                break;
            }
        }
        Ok((0, held))
    }

    /// Adds the removal of a gate that has no members besides these, and with the last gate the table's.
    fn open_if_unused(
        &mut self,
        socket: &mut Socket,
        batch: &mut Batch,
        name: &str,
        bridge: &str,
        (members, held): (usize, usize),
    ) -> Result<()> {
        let chain = Chain::new(TABLE, name);
        let Some(references) = socket.references(&chain)? else { return Ok(()) };
        let own = own_elements(socket, name, bridge)?;
        if references != own.len() + members {
            return Ok(());
        }
        // Where the members were flushed, those that are there are members.
        let is_flushed = !own.iter().any(|(map, _)| **map == MEMBERS)
            && element(socket, &MEMBERS, &[interface(bridge)?])?.is_none();
        if is_flushed && mark(socket, &chain)?.is_some() {
            let living = ports::on(bridge)?;
            let others: Vec<&Port> = living.iter().filter(|port| self.port != Some(&port.name)).collect();
            if !others.is_empty() {
                self.taken = Taken::new(&others);
                return enter(batch, name, bridge, &others);
            }
        }
        if let Some(note) = remove(socket, batch, name, bridge, held)? {
            self.alone = br_netfilter::switch_back(bridge, &note)?;
        }
        Ok(())
    }
}

impl Entry<Error> for Take<'_> {
    fn table(&self) -> Table<'static> {
        TABLE
    }

    fn prepare(&mut self, socket: &mut Socket, change: &mut Change) -> Result<()> {
        self.alone = None;
        self.taken = Taken::default();
        let (start, batch) = (change.batch.len(), &mut change.batch);
        let leaving = self.leave(socket, batch)?;
        let Some((chain, bridge)) = self.left.clone() else { return Ok(()) };
        self.open_if_unused(socket, batch, &chain, &bridge, leaving)?;
        if batch.len() == start && chains::keeps_apart(&chain) && frames::is_unused(socket)? {
            frames::remove(batch);
        }
        Ok(())
    }

    fn is_settled(&mut self, socket: &mut Socket) -> Result<bool> {
        self.alone = None;
        let Some((chain, bridge)) = &self.left else { return Ok(true) };
        self.taken.forget_gone(socket, bridge)?;
        // Nothing leads to the gate but what it has of its own.
        if let Some(references) = socket.references(&Chain::new(TABLE, chain))?
            && references == own_elements(socket, chain, bridge)?.len()
        {
            return Ok(false);
        }
        Ok(!chains::keeps_apart(chain) || !frames::is_unused(socket)?)
    }
}

/// Ports that were taken for members because they were on the bridge. One may have been on its way out: its DEL takes it off the
/// gate while the link goes.
#[derive(Debug, Default)]
pub(super) struct Taken(Vec<String>);

impl Taken {
    pub(super) fn new(ports: &[&Port]) -> Self {
        Self(ports.iter().map(|port| port.name.clone()).collect())
    }

    /// Takes those off the gate again that have gone, once the transaction is through. What goes later is looked for by its own
    /// DEL when its link has gone ([`forget`]), so one of both sees it.
    pub(super) fn forget_gone(&mut self, socket: &mut Socket, host_link: &str) -> Result<()> {
        let taken = std::mem::take(&mut self.0);
        if taken.is_empty() {
            return Ok(());
        }
        let living = ports::on(host_link)?;
        taken
            .iter()
            .filter(|port| living.iter().all(|there| there.name != **port))
            .try_for_each(|port| forget(socket, port))
    }
}

/// Takes a port off its gate whose link has gone, where an ADD has put it there again: that one found the gate incomplete, and
/// the link still on the bridge ([`Taken`]).
pub(crate) fn forget(socket: &mut Socket, port: &str) -> Result<()> {
    if element(socket, &MEMBERS, &[interface(port)?])?.is_none() {
        return Ok(());
    }
    ledger::put(socket, &mut [&mut Take::new(Some(port), None)])
}

/// Adds to a transaction that ports leave a gate, and says how many of them were held to plain packets, and which addresses
/// they had.
pub(super) fn leave(
    socket: &mut Socket,
    batch: &mut Batch,
    ports: &[String],
) -> Result<(usize, Vec<frames::Key>)> {
    let (mut held, mut gone) = (0, Vec::new());
    for port in ports {
        batch.del_element(&MEMBERS, &[interface(port)?]);
        held += frames::leave(socket, batch, port, None, &mut gone)?;
    }
    Ok((held, gone))
}

/// Adds to a transaction that no link of any bridge is open.
pub(super) fn close_all_links(socket: &mut Socket, batch: &mut Batch) -> Result<()> {
    for chain in socket.chain_names(&TABLE)? {
        if let Some(token) = chain.strip_prefix(chains::BETWEEN) {
            chains::close_links(batch, &links::sets_of(token));
        }
    }
    Ok(())
}

/// Adds to a transaction the removal of a gate that nothing leads to but what it has of its own, besides `held` elements
/// that hold ports to plain packets, which the transaction deletes. Returns what it noted of `br_netfilter`.
pub(super) fn remove(
    socket: &mut Socket,
    batch: &mut Batch,
    name: &str,
    bridge: &str,
    held: usize,
) -> Result<Option<String>> {
    let own = own_elements(socket, name, bridge)?;
    for (map, _) in &own {
        batch.del_element(map, &[interface(bridge)?]);
    }
    let names = Names::of(name, bridge);
    let is_guarded = socket.has_chain(&names.guard())?;
    if is_guarded {
        tunnel::forget(socket, batch, &names.guard, None)?;
    }
    names.del(batch);
    if is_guarded {
        batch.del_chain(&names.guard());
    }
    if chains::keeps_apart(name) {
        frames::del_bridge(socket, batch, bridge, held)?;
    }
    if socket.references(&GATES)? == Some(1) {
        batch.del_chain(&GATES).del_table(&TABLE);
    }
    Ok(own.into_iter().find_map(|(_, found)| found.comment))
}

/// A map with the element that leads a bridge to its gate.
type Leading = (&'static Set<'static>, Element);

/// The elements that lead a bridge itself to its gate.
fn own_elements(socket: &mut Socket, name: &str, bridge: &str) -> Result<Vec<Leading>> {
    let mut own = Vec::new();
    for map in [&INTO, &FROM, &MEMBERS] {
        let found = element(socket, map, &[interface(bridge)?])?;
        own.extend(found.filter(|it| chain_of(it).as_deref() == Some(name)).map(|found| (map, found)));
    }
    Ok(own)
}

/// Adds ports to those of a gate, with the element whose presence shows that the map has not been flushed.
pub(super) fn enter(batch: &mut Batch, name: &str, bridge: &str, ports: &[&Port]) -> Result<()> {
    let leads = |key| Element::new(&[key]).verdict(Verdict::goto(name));
    batch.add_element(&MEMBERS, &leads(interface(bridge)?));
    for port in ports {
        batch.add_element(&MEMBERS, &leads(interface(&port.name)?).comment(port.comment(bridge)));
    }
    Ok(())
}
