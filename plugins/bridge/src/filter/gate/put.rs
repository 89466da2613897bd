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
use super::removal::{Take, close_all_links, enter, leave, remove};
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
pub(in crate::filter) struct Held<'a> {
    pub attachment: &'a Attachment,
    pub port: &'a str,
    pub addresses: &'a [IpAddr],
}

impl<'a> BridgeGate<'a> {
    /// The gate that a configuration asks for.
    pub(crate) fn of(conf: &'a Conf) -> Option<Self> {
        conf.gate.map(|gate| Self { gate, bridge: conf.host_link(), from: &conf.ingress_from })
    }

    fn holding<'h>(&'h self, held: Held<'h>, derived: &'h str) -> Holding<'h> {
        Holding { bridge: self.bridge.as_str(), derived, held: held.port, addresses: held.addresses }
    }

    /// Adds to a transaction that an attachment's port is a member, with what is missing of the gate where it `has_fault`.
    fn join(
        &self,
        socket: &mut Socket,
        batch: &mut Batch,
        (held, derived): (Held, &str),
        switches: Option<BridgeNetfilter>,
        has_fault: bool,
    ) -> Result<()> {
        let mut gone = Vec::new();
        if has_fault {
            gone = self.mend(socket, batch, held.attachment, switches)?;
        }
        let member = Element::new(&[interface(derived)?])
            .verdict(Verdict::goto(self.names().gate))
            .comment(comment(self.bridge, held.attachment));
        batch.add_element(&MEMBERS, &member);
        if self.gate.apart {
            let holding = self.holding(held, derived);
            // What an earlier ADD of the attachment left, or this one before the addresses were known.
            if holding.replaces(socket)? {
                frames::forget(socket, batch, derived, &mut gone)?;
            }
            holding.add(socket, batch, comment(self.bridge, held.attachment), &gone)?;
        }
        Ok(())
    }

    /// Adds to a transaction what is missing of the gate, and says which addresses are free again.
    fn mend(
        &self,
        socket: &mut Socket,
        batch: &mut Batch,
        attachment: &Attachment,
        switches: Option<BridgeNetfilter>,
    ) -> Result<Vec<frames::Key>> {
        let (names, bridge, boot) = (self.names(), interface(self.bridge.as_str())?, boot());
        let living = ports::on(self.bridge.as_str())?;
        self.remove_another(socket, &living)?;
        let is_there = socket.has_chain(&names.chain())?;
        let mark = mark(socket, &names.chain())?;
        let is_current = mark.as_deref() == Some(&boot);
        // Of an older version, or flushed: of this boot where one of its members is still there.
        let members = if is_current { Vec::new() } else { members(socket, &names.gate)? };
        let lives = |port: &String| living.iter().any(|living| living.name == *port);
        let is_stale = !is_current && (mark.is_some() || !members.iter().any(lives));
        let lost = if self.gate.apart { frames::flushed(socket, bridge)? } else { None };
        let parts = names.parts(self.gate, bridge, Some(&boot), self.from);
        layout::mend(socket, batch, &TABLE, &names.sets(), &parts)?;
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
                chains::close_links(batch, &names.links());
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
        if element(socket, &MEMBERS, &[bridge])?.is_none() {
            enter(batch, &names.gate, self.bridge.as_str(), living)?;
        }
        Ok(gone)
    }

    /// Names the first thing by which the gate is not as it should be.
    fn fault(&self, socket: &mut Socket) -> Result<Option<String>> {
        let (names, bridge) = (self.names(), interface(self.bridge.as_str())?);
        let parts = names.parts(self.gate, bridge, Some(&boot()), self.from);
        if let Some(fault) = layout::fault(socket, &TABLE, &parts)? {
            return Ok(Some(fault));
        }
        let fault = self.leads(socket, bridge)?;
        if fault.is_some() {
            return Ok(fault);
        }
        if element(socket, &MEMBERS, &[bridge])?.is_none() {
            return Ok(Some(format!("map {} of table {TABLE} has been flushed", MEMBERS.name)));
        }
        if self.gate.apart { frames::fault(socket, bridge) } else { Ok(None) }
    }

    /// Names the map that does not lead to the gate.
    fn leads(&self, socket: &mut Socket, bridge: Field) -> Result<Option<String>> {
        let chain = self.names().gate;
        for map in chains::maps(self.gate) {
            let found = element(socket, map, &[bridge])?.and_then(|found| found.data);
            if found != Some(Data::Verdict(Verdict::jump(&*chain))) {
                return Ok(Some(format!(
                    "map {} of table {TABLE} does not lead {bridge} to chain {chain}",
                    map.name
                )));
            }
        }
        Ok(None)
    }

    /// Whether the gate is whole as an older version made it: it stays so until the next ADD or repair.
    fn is_of_an_older_version(&self, socket: &mut Socket) -> Result<bool> {
        let (names, bridge) = (self.names(), interface(self.bridge.as_str())?);
        let parts = names.parts(self.gate, bridge, None, &[]);
        Ok(mark(socket, &names.chain())?.is_none()
            && layout::fault(socket, &TABLE, &parts)?.is_none()
            && self.leads(socket, bridge)?.is_none()
            && (!self.gate.apart || frames::is_of_an_older_version(socket)?))
    }

    /// Refuses a bridge that another network closes otherwise; removes the gate that another boot left for it.
    fn remove_another(&self, socket: &mut Socket, living: &[Port]) -> Result<()> {
        let bridge = interface(self.bridge.as_str())?;
        for map in [&INTO, &FROM] {
            let Some(found) = element(socket, map, &[bridge])? else { continue };
            let Some(other) = chain_of(&found).filter(|other| *other != self.names().gate) else { continue };
            let of_other = members(socket, &other)?;
            if of_other.iter().any(|port| living.iter().any(|living| living.name == *port)) {
                return Err(self.another());
            }
            let removal = |socket: &mut Socket, change: &mut Change| {
                let (removed, _) = leave(socket, &mut change.batch, &of_other)?;
                remove(socket, &mut change.batch, &other, self.bridge.as_str(), removed)
            };
            ledger::put(socket, &mut [&mut Removal::new(TABLE, removal)])?;
        }
        Ok(())
    }

    fn another(&self) -> Error {
        config(
            format!(
                "bridge {} belongs to a network with other \"ingress\", \"internal\" or \"icc\"",
                self.bridge
            ),
            "give this network a bridge of its own",
        )
    }

    /// Says what is open of a network that has members.
    pub(crate) fn status(
        &self,
        links: &mut netlink::Socket,
        bridge: &Link,
        network: &NetworkName,
    ) -> Result<()> {
        let prefix = names::alias_prefix(network);
        let is_member = |port: &Link| {
            port.carrier && port.alias.as_deref().is_some_and(|alias| alias.starts_with(&prefix))
        };
        if !links.has_port_that(bridge.index, is_member)? {
            return Ok(());
        }
        let open = |why| Err(Error::Open { bridge: self.bridge.to_string(), why });
        if self.gate.apart
            && let Err(error) = br_netfilter::expect_on(bridge)
        {
            return open(error.to_string());
        }
        let mut socket = Socket::open()?;
        match (BridgeGate { from: &[], ..*self }).fault(&mut socket)? {
            Some(fault) if !self.is_of_an_older_version(&mut socket)? => open(fault),
            _ => Ok(()),
        }
    }

    /// Names what differs from what [`Put`] set up.
    pub(in crate::filter) fn check(&self, socket: &mut Socket, held: Held) -> Result<()> {
        let derived = held.attachment.host_interface();
        let mut fault = self.fault(socket)?;
        if fault.is_none() && self.gate.apart {
            fault = self.holding(held, &derived).fault(socket)?;
        }
        let member = interface(&derived)?;
        let found = element(socket, &MEMBERS, &[member])?;
        if fault.is_none() && found.and_then(|found| chain_of(&found)) != Some(self.names().gate) {
            fault = Some(format!("map {} of table {TABLE} does not have {member}", MEMBERS.name));
        }
        match fault {
            Some(fault) if fault.starts_with(layout::LETS_NOT) => {
                differs(format!("bridge {} {fault}", self.bridge))
            }
            Some(fault) => differs(format!("bridge {} is not closed: {fault}", self.bridge)),
            None => Ok(()),
        }
    }

    fn names(&self) -> Names {
        Names::new(self.gate, self.bridge.as_str())
    }
}

/// Closes a bridge as far as its gate says, whatever the tables are like, and makes an attachment's port a member.
#[derive(Debug)]
pub(in crate::filter) struct Put<'a> {
    gate: BridgeGate<'a>,
    held: Held<'a>,
    derived: String,
    switches: Option<BridgeNetfilter>,
    /// What was wrong with the gate when it was read.
    fault: Option<String>,
}

impl<'a> Put<'a> {
    /// `switches` are what the bridge had of `br_netfilter` before.
    pub(in crate::filter) fn new(
        gate: BridgeGate<'a>,
        held: Held<'a>,
        switches: Option<BridgeNetfilter>,
    ) -> Self {
        Self { gate, held, derived: held.attachment.host_interface(), switches, fault: None }
    }

    fn open(&self, fault: String) -> Error {
        Error::Open { bridge: self.gate.bridge.to_string(), why: fault }
    }
}

impl Entry<Error> for Put<'_> {
    fn table(&self) -> Table<'static> {
        TABLE
    }

    fn prepare(&mut self, socket: &mut Socket, change: &mut Change) -> Result<()> {
        // A member of another gate, by an earlier ADD of the same attachment.
        let found = element(socket, &MEMBERS, &[interface(&self.derived)?])?;
        if found.is_some_and(|found| chain_of(&found) != Some(self.gate.names().gate)) {
            ledger::put(socket, &mut [&mut Take::new(Some(&self.derived), None)])?;
        }
        self.fault = self.gate.fault(socket)?;
        let member = (self.held, self.derived.as_str());
        self.gate.join(socket, &mut change.batch, member, self.switches, self.fault.is_some())
    }

    /// What was put in place is read as well.
    fn is_settled(&mut self, socket: &mut Socket) -> Result<bool> {
        Ok(self.fault.is_none() || self.gate.fault(socket)?.is_none())
    }

    fn refused(&self, error: nftables::Error) -> Error {
        match &self.fault {
            Some(fault) => self.open(format!("{fault}; and {error}")),
            None => error.into(),
        }
    }

    fn contended(&self) -> Error {
        match &self.fault {
            Some(fault) => self.open(fault.clone()),
            None => Contended { table: TABLE.to_string() }.into(),
        }
    }
}
