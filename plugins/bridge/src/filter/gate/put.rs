//! Closing a bridge.

use cni::NetworkName;
use netlink::BridgeNetfilter;
use nftables::ledger::{self, Change, Contended, Entry, Removal};
use nftables::{Batch, Element, Socket, Table, Verdict};

use super::chains;
use super::check::{BridgeGate, Held, fault};
use super::frames;
use super::layout;
use super::ports::{self, Port};
use super::removal::{Take, Taken, close_all_links, enter, leave, remove};
use super::table::{FROM, INTO, MEMBERS, TABLE, boot, chain_of, mark, members};
use crate::error::{Error, Result, config};
use crate::filter::owner::{comment, element, interface};
use crate::names;
use crate::parts::br_netfilter;

impl BridgeGate<'_> {
    /// Adds to a transaction what is missing of the gate, for a network and all its ports but the caller's `own`. Says which
    /// addresses are free again, and which ports it took for members because they are on the bridge.
    fn mend(
        &self,
        socket: &mut Socket,
        batch: &mut Batch,
        (network, own): (&NetworkName, Option<&str>),
        switches: Option<BridgeNetfilter>,
    ) -> Result<(Vec<frames::Key>, Taken)> {
        let (names, bridge, boot) = (self.names(), interface(self.bridge.as_str())?, boot());
        let living = ports::on(self.bridge.as_str())?;
        self.remove_another(socket, &living)?;
        let is_there = socket.has_chain(&names.chain())?;
        let mark = mark(socket, &names.chain())?;
        let is_current = mark.as_deref() == Some(&boot);
        // Of an older version, or flushed: of this boot where one of its members is still there.
        let members = if is_current { Vec::new() } else { members(socket, &names.gate)? };
        let is_stale = !is_current && (mark.is_some() || !ports::has_any(&living, &members));
        let lost = if self.gate.apart { frames::flushed(socket, bridge)? } else { None };
        let chains = names.chains(self.gate, bridge, Some(&boot), (self.from, self.tunnel));
        layout::mend(socket, batch, &TABLE, &names.sets(), &chains)?;
        if let Some(tunnel) = &self.tunnel {
            tunnel.mend(socket, batch, &names.guard, self.bridge)?;
        }
        // A gate of this boot whose members were flushed may have had them of several networks.
        let label = names::network_label(network);
        let is_other = |port: &&Port| own != Some(port.name.as_str()) && (is_current || port.is_of(&label));
        let living: Vec<&Port> = living.iter().filter(is_other).collect();
        let dead: &[String] = if is_stale { &members } else { &[] };
        let (_, gone) = leave(socket, batch, dead)?;
        if self.gate.apart {
            frames::mend(socket, batch, self.bridge.as_str(), &living)?;
            if is_stale || !is_there {
                chains::close_links(batch, &names.links);
            } else if is_current && lost.is_some() {
                // They may be links of any bridge whose addresses are free again.
                close_all_links(socket, batch)?;
            }
        }
        for map in chains::maps(self.gate) {
            if element(socket, map, &[bridge])?.is_none() {
                let element = Element::new(&[bridge]).verdict(Verdict::jump(names.gate.as_str()));
                let note = br_netfilter::note(switches).filter(|_| self.gate.apart && **map == INTO);
                batch.add_element(map, &note.into_iter().fold(element, Element::comment));
            }
        }
        // Ports that are held to plain packets are members, so that who takes one off the gate finds both.
        if self.gate.apart || element(socket, &MEMBERS, &[bridge])?.is_none() {
            enter(batch, &names.gate, self.bridge.as_str(), &living)?;
        }
        Ok((gone, Taken::new(&living)))
    }

    /// Refuses a bridge that another network closes otherwise; removes the gate that another boot left for it.
    fn remove_another(&self, socket: &mut Socket, living: &[Port]) -> Result<()> {
        let bridge = interface(self.bridge.as_str())?;
        for map in [&INTO, &FROM] {
            let Some(found) = element(socket, map, &[bridge])? else { continue };
            let Some(other) = chain_of(&found).filter(|other| *other != self.names().gate) else { continue };
            let of_other = members(socket, &other)?;
            if ports::has_any(living, &of_other) {
                return Err(config(
                    format!(
                        "bridge {} belongs to a network with other \"ingress\", \"internal\" or \"icc\"",
                        self.bridge
                    ),
                    "give this network a bridge of its own",
                ));
            }
            let removal = |socket: &mut Socket, change: &mut Change| {
                let (held, _) = leave(socket, &mut change.batch, &of_other)?;
                remove(socket, &mut change.batch, &other, self.bridge.as_str(), held).map(drop)
            };
            ledger::put(socket, &mut [&mut Removal::new(TABLE, removal)])?;
        }
        Ok(())
    }
}

/// Closes a bridge as far as its gate says, whatever the tables are like, for the members that are there.
#[derive(Debug)]
pub(crate) struct Close<'a> {
    gate: BridgeGate<'a>,
    network: &'a NetworkName,
    switches: Option<BridgeNetfilter>,
    /// What was wrong with the gate when it was read.
    fault: Option<String>,
    taken: Taken,
}

impl<'a> Close<'a> {
    /// `switches` are what the bridge had of `br_netfilter` before.
    pub(crate) fn new(
        gate: BridgeGate<'a>,
        network: &'a NetworkName,
        switches: Option<BridgeNetfilter>,
    ) -> Self {
        Self { gate, network, switches, fault: None, taken: Taken::default() }
    }

    /// Adds to a transaction what closes the bridge, but for one port, and says which addresses are free again.
    fn close(
        &mut self,
        socket: &mut Socket,
        batch: &mut Batch,
        own: Option<&str>,
    ) -> Result<Vec<frames::Key>> {
        self.taken = Taken::default();
        self.fault = fault(self.gate.expect(socket))?;
        if self.fault.is_none() {
            return Ok(Vec::new());
        }
        let (gone, taken) = self.gate.mend(socket, batch, (self.network, own), self.switches)?;
        self.taken = taken;
        Ok(gone)
    }
}

impl Entry<Error> for Close<'_> {
    fn table(&self) -> Table<'static> {
        TABLE
    }

    fn prepare(&mut self, socket: &mut Socket, change: &mut Change) -> Result<()> {
        self.close(socket, &mut change.batch, None).map(drop)
    }

    /// What was put in place is read as well.
    fn is_settled(&mut self, socket: &mut Socket) -> Result<bool> {
        self.taken.forget_gone(socket, self.gate.bridge.as_str())?;
        Ok(self.fault.is_none() || fault(self.gate.expect(socket))?.is_none())
    }

    fn refused(&self, error: nftables::Error) -> Error {
        match &self.fault {
            Some(fault) => self.gate.open(format!("{fault}; and {error}")),
            None => error.into(),
        }
    }

    fn contended(&self) -> Error {
        match &self.fault {
            Some(fault) => self.gate.open(fault.clone()),
            None => Contended { table: TABLE.to_string() }.into(),
        }
    }
}

/// Closes a bridge, and makes an attachment's port a member.
#[derive(Debug)]
pub(crate) struct Put<'a> {
    close: Close<'a>,
    held: Held<'a>,
}

impl<'a> Put<'a> {
    /// As [`Close::new`].
    pub(crate) fn new(gate: BridgeGate<'a>, held: Held<'a>, switches: Option<BridgeNetfilter>) -> Self {
        Self { close: Close::new(gate, &held.attachment.network, switches), held }
    }
}

impl Entry<Error> for Put<'_> {
    fn table(&self) -> Table<'static> {
        self.close.table()
    }

    fn prepare(&mut self, socket: &mut Socket, change: &mut Change) -> Result<()> {
        let Self { close, held } = self;
        let (derived, chain) = (held.attachment.host_interface(), close.gate.names().gate);
        let (member, comment) = (interface(&derived)?, comment(close.gate.bridge, held.attachment));
        // A member of another gate, by an earlier ADD of the same attachment.
        let found = element(socket, &MEMBERS, &[member])?;
        if found.is_some_and(|found| chain_of(&found).as_ref() != Some(&chain)) {
            ledger::put(socket, &mut [&mut Take::new(Some(&derived), None)])?;
        }
        let batch = &mut change.batch;
        let mut gone = close.close(socket, batch, Some(&derived))?;
        let element = Element::new(&[member]).verdict(Verdict::goto(chain));
        batch.add_element(&MEMBERS, &element.comment(comment.as_str()));
        if close.gate.gate.apart {
            let holding = close.gate.holding(*held, &derived);
            // What an earlier ADD of the attachment left, or this one before the addresses were known.
            if holding.replaces(socket)? {
                frames::forget(socket, batch, &derived, &mut gone)?;
            }
            holding.add(socket, batch, comment, &gone)?;
        }
        Ok(())
    }

    fn is_settled(&mut self, socket: &mut Socket) -> Result<bool> {
        self.close.is_settled(socket)
    }

    fn refused(&self, error: nftables::Error) -> Error {
        self.close.refused(error)
    }

    fn contended(&self) -> Error {
        self.close.contended()
    }
}
