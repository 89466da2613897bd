//! Closing a bridge, and looking whether it is closed.

use std::net::IpAddr;

use cni::{Attachment, IfName, NetworkName};
use ipnetwork::IpNetwork;
use netlink::{BridgeNetfilter, Link};
use nftables::ledger::{self, Change, Contended, Entry, Removal};
use nftables::{Batch, Data, Element, Field, Socket, Table, Verdict};

use super::chains::{self, Names};
use super::frames::{self, Holding};
use super::layout;
use super::ports::{self, Port};
use super::removal::{Take, Taken, close_all_links, enter, leave, remove};
use super::table::{FROM, INTO, MEMBERS, TABLE, boot, chain_of, mark, members};
use crate::conf::{Conf, Gate};
use crate::error::{Error, Result, config, differs};
use crate::filter::owner::{comment, element, interface};
use crate::names;
use crate::parts::br_netfilter;

/// The gate of a bridge, as one attachment needs it.
#[derive(Debug)]
pub(crate) struct BridgeGate<'a> {
    pub gate: Gate,
    pub bridge: &'a IfName,
    /// What may come in besides published ports and answers.
    pub from: &'a [IpNetwork],
}

/// What a gate is about: an attachment, with the name by which the kernel knows its port, and its addresses. Members are
/// counted by the derived name, which DEL and GC know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held<'a> {
    pub attachment: &'a Attachment,
    pub port: &'a str,
    pub addresses: &'a [IpAddr],
}

/// What a comparison found, as text.
fn fault(outcome: Result<()>) -> Result<Option<String>> {
    match outcome {
        Err(Error::Differs(fault)) => Ok(Some(fault)),
        outcome => outcome.map(|()| None),
    }
}

impl<'a> BridgeGate<'a> {
    /// The gate that a configuration asks for.
    pub(crate) fn of(conf: &'a Conf) -> Option<Self> {
        conf.gate.map(|gate| Self { gate, bridge: conf.host_link(), from: &conf.ingress_from })
    }

    fn names(&self) -> Names {
        Names::new(self.gate, self.bridge.as_str())
    }

    fn holding<'h>(&'h self, held: Held<'h>, derived: &'h str) -> Holding<'h> {
        Holding { bridge: self.bridge.as_str(), derived, held: held.port, addresses: held.addresses }
    }

    /// Adds to a transaction what is missing of the gate. Says which addresses are free again, and which ports it took for
    /// members because they are on the bridge.
    fn mend(
        &self,
        socket: &mut Socket,
        batch: &mut Batch,
        attachment: &Attachment,
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
        let chains = names.chains(self.gate, bridge, Some(&boot), self.from);
        layout::mend(socket, batch, &TABLE, &names.sets(), &chains)?;
        // A gate of this boot whose members were flushed may have had them of several networks.
        let label = names::network_label(&attachment.network);
        let own = attachment.host_interface();
        let is_other = |port: &&Port| port.name != own && (is_current || port.is_of(&label));
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

    /// Names the first thing by which the gate is not as it should be.
    fn expect(&self, socket: &mut Socket) -> Result<()> {
        let (names, bridge) = (self.names(), interface(self.bridge.as_str())?);
        layout::expect(socket, &TABLE, &names.chains(self.gate, bridge, Some(&boot()), self.from))?;
        self.expect_maps(socket, bridge)?;
        if element(socket, &MEMBERS, &[bridge])?.is_none() {
            return differs(format!("map {} of table {TABLE} has been flushed", MEMBERS.name));
        }
        if self.gate.apart { frames::expect(socket, bridge) } else { Ok(()) }
    }

    /// Names the map that does not lead to the gate.
    fn expect_maps(&self, socket: &mut Socket, bridge: Field) -> Result<()> {
        let chain = self.names().gate;
        for map in chains::maps(self.gate) {
            let found = element(socket, map, &[bridge])?.and_then(|found| found.data);
            if found != Some(Data::Verdict(Verdict::jump(&*chain))) {
                let map = map.name;
                return differs(format!(
                    "map {map} of table {TABLE} does not lead {bridge} to chain {chain}"
                ));
            }
        }
        Ok(())
    }

    /// Whether the gate is whole as an older version made it: it stays so until the next ADD or repair.
    fn is_of_an_older_version(&self, socket: &mut Socket) -> Result<bool> {
        let (names, bridge) = (self.names(), interface(self.bridge.as_str())?);
        if mark(socket, &names.chain())?.is_some() {
            return Ok(false);
        }
        let outcome = layout::expect(socket, &TABLE, &names.chains(self.gate, bridge, None, &[]))
            .and_then(|()| self.expect_maps(socket, bridge))
            .and_then(|()| if self.gate.apart { frames::expect_older(socket) } else { Ok(()) });
        Ok(fault(outcome)?.is_none())
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

    /// Says what is open of a network that has members.
    pub(crate) fn status(
        &self,
        links: &mut netlink::Socket,
        bridge: &Link,
        network: &NetworkName,
    ) -> Result<()> {
        let is_member = |port: &Link| port.carrier && names::is_of_network(network, port);
        if !links.has_port_that(bridge.index, is_member)? {
            return Ok(());
        }
        if self.gate.apart
            && let Err(error) = br_netfilter::expect_on(bridge)
        {
            return Err(self.open(error.to_string()));
        }
        let mut socket = Socket::open()?;
        match fault(BridgeGate { from: &[], ..*self }.expect(&mut socket))? {
            Some(fault) if !self.is_of_an_older_version(&mut socket)? => Err(self.open(fault)),
            _ => Ok(()),
        }
    }

    fn open(&self, why: String) -> Error {
        Error::NotClosed { bridge: self.bridge.to_string(), why }
    }

    /// Names what differs from what [`Put`] set up.
    pub(crate) fn check(&self, socket: &mut Socket, held: Held) -> Result<()> {
        match fault(self.expect_member(socket, held))? {
            Some(fault) if fault.starts_with(layout::LETS_NOT) => {
                differs(format!("bridge {} {fault}", self.bridge))
            }
            Some(fault) => differs(format!("bridge {} is not closed: {fault}", self.bridge)),
            None => Ok(()),
        }
    }

    fn expect_member(&self, socket: &mut Socket, held: Held) -> Result<()> {
        let derived = held.attachment.host_interface();
        self.expect(socket)?;
        if self.gate.apart {
            self.holding(held, &derived).expect(socket)?;
        }
        let member = interface(&derived)?;
        let found = element(socket, &MEMBERS, &[member])?;
        if found.and_then(|found| chain_of(&found)) != Some(self.names().gate) {
            return differs(format!("map {} of table {TABLE} does not have {member}", MEMBERS.name));
        }
        Ok(())
    }
}

/// Closes a bridge as far as its gate says, whatever the tables are like, and makes an attachment's port a member.
#[derive(Debug)]
pub(crate) struct Put<'a> {
    gate: BridgeGate<'a>,
    held: Held<'a>,
    switches: Option<BridgeNetfilter>,
    /// What was wrong with the gate when it was read.
    fault: Option<String>,
    taken: Taken,
}

impl<'a> Put<'a> {
    /// `switches` are what the bridge had of `br_netfilter` before.
    pub(crate) fn new(gate: BridgeGate<'a>, held: Held<'a>, switches: Option<BridgeNetfilter>) -> Self {
        Self { gate, held, switches, fault: None, taken: Taken::default() }
    }
}

impl Entry<Error> for Put<'_> {
    fn table(&self) -> Table<'static> {
        TABLE
    }

    fn prepare(&mut self, socket: &mut Socket, change: &mut Change) -> Result<()> {
        self.taken = Taken::default();
        let Self { gate, held, .. } = self;
        let (derived, chain) = (held.attachment.host_interface(), gate.names().gate);
        let (member, comment) = (interface(&derived)?, comment(gate.bridge, held.attachment));
        // A member of another gate, by an earlier ADD of the same attachment.
        let found = element(socket, &MEMBERS, &[member])?;
        if found.is_some_and(|found| chain_of(&found).as_ref() != Some(&chain)) {
            ledger::put(socket, &mut [&mut Take::new(Some(&derived), None)])?;
        }
        self.fault = fault(gate.expect(socket))?;
        let (batch, mut gone) = (&mut change.batch, Vec::new());
        if self.fault.is_some() {
            (gone, self.taken) = gate.mend(socket, batch, held.attachment, self.switches)?;
        }
        let element = Element::new(&[member]).verdict(Verdict::goto(chain));
        batch.add_element(&MEMBERS, &element.comment(comment.as_str()));
        if gate.gate.apart {
            let holding = gate.holding(*held, &derived);
            // What an earlier ADD of the attachment left, or this one before the addresses were known.
            if holding.replaces(socket)? {
                frames::forget(socket, batch, &derived, &mut gone)?;
            }
            holding.add(socket, batch, comment, &gone)?;
        }
        Ok(())
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
