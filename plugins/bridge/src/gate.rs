//! `ingress: published`, `internal` and `icc: false`: what may be forwarded to, from and within a network's bridge.
//!
//! One table, one rule a direction, whatever the number of networks; the host itself is not held to it, only what it
//! forwards. A bridge has one gate, which all networks on it share:
//!
//! ```text
//! table inet cleat_gate {
//!     map into { type ifname : verdict; elements = { "br0" : jump published_… } }      # by the bridge
//!     map from { type ifname : verdict; elements = { "br1" : jump internal_… } }
//!     map members { type ifname : verdict; elements = { "veth…" : goto published_… } } # by the port; no rule looks here
//!     chain gates { }
//!     chain published_… { jump gates comment "boot …"; iifname "br0" return; ct state established,related return; ct status dnat return; drop }
//!     chain internal_…  { jump gates comment "boot …"; iifname "br1" oifname "br1" return; drop }
//!     chain forward { type filter hook forward priority filter; oifname vmap @into; iifname vmap @from }
//! }
//! ```
//!
//! What `ingressFrom` lets in has a rule each at the head of a published chain: `iifname != "br0" ip saddr 10.244.0.0/16 return
//! comment "from 10.244.0.0/16"`. They stay as long as the gate: of two networks on one bridge neither shuts out the other's.
//!
//! The elements of `members` keep a gate's chain: it goes with the bridge's last port, and the table with the last gate. One
//! of them is the bridge's own: where it is missing, the map has been flushed, and the kernel's ports count instead.
//!
//! Each ADD reads the chains of its bridge, whatever made them, and puts back what is not as above, for the members that are
//! there as well; STATUS and CHECK read the same. A gate of another boot, whose rules somebody saved and loaded, is emptied
//! of members and links first: names and addresses are others' by now. Links are also closed where it cannot be said any
//! more which port an address belongs to; `cleat repair` opens them again.
//!
//! With `icc: false` (alone: `apart_…`, otherwise `published_apart_…` or `internal_apart_…`) what goes from the bridge to
//! the bridge is not let through by `return` but by
//!
//! ```text
//!     chain between_… {
//!         ct state established ct direction reply return
//!         ct state related ct direction reply meta l4proto icmp
//!             ip daddr . ip saddr . ct protocol . ct original proto-dst @links4_… return     # IPv6 likewise
//!         ct state related drop; ct status dnat return
//!         icmpv6 type nd-neighbor-solicit return; icmpv6 type nd-neighbor-advert return
//!         ip saddr . ip daddr . meta l4proto . th dport @links4_… return          # see cni::links
//!         ip6 saddr . ip6 daddr . meta l4proto . th dport @links6_… return
//!         drop
//!     }
//! ```
//!
//! `br_netfilter` brings it here (see `netfilter`; the element of `into` notes what was switched on), and `frames` sees to
//! what that module passes over.

mod chains;
mod frames;
mod layout;
mod ports;
mod removal;

use std::net::IpAddr;

use cni::{Attachment, IfName, NetworkName};
use ipnetwork::IpNetwork;
use netlink::{BridgeNetfilter, Link};
use nftables::{
    Batch, Chain, Data, Element, Family, Field, HookPoint, Kind, Set, Socket, Table, Type, Verdict, priority,
};

use crate::conf::Gate;
use crate::error::Error;
use crate::tables::{TRIES, boot, comment, contended, element, interface, key_of, ports_of};
use crate::{names, netfilter};
use chains::Names;
use frames::Holding;
use ports::Port;
use removal::{close_all_links, enter, leave, remove};
pub(crate) use removal::{del, tidy};

const TABLE: Table = Table::new(Family::Inet, cni::links::TABLE);
const INTO: Set = Set::vmap(TABLE, "into", &[Type::Ifname]);
const FROM: Set = Set::vmap(TABLE, "from", &[Type::Ifname]);
const MEMBERS: Set = Set::vmap(TABLE, "members", &[Type::Ifname]);
const GATES: Chain = Chain::new(TABLE, "gates");
const FORWARD: Chain = Chain::base(TABLE, "forward", Kind::Filter, HookPoint::Forward, priority::FILTER);

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

impl BridgeGate<'_> {
    /// Closes the bridge as far as the gate says, before the attachment's port comes up, whatever the tables are like.
    /// `switches` are what the bridge had of `br_netfilter` before.
    pub(crate) fn add(
        &self,
        socket: &mut Socket,
        held: Held,
        switches: Option<BridgeNetfilter>,
    ) -> Result<(), Error> {
        let derived = names::host_interface(held.attachment);
        self.leave_other(socket, held, &derived)?;
        let mut fault = None;
        for _ in 0..TRIES {
            fault = self.fault(socket)?;
            let outcome = self.batch(socket, held, &derived, switches, fault.is_some())?.commit(socket);
            match outcome {
                // What was put in place is read as well.
                Ok(()) if fault.is_none() || self.fault(socket)?.is_none() => return Ok(()),
                Ok(()) => {}
                // Somebody else has just made, or removed, the table or this gate.
                Err(error) if error.is_exists() || error.is_busy() || error.is_not_found() => {}
                Err(error) => return Err(self.open(fault, error)),
            }
        }
        match fault {
            Some(fault) => Err(Error::Open { bridge: self.bridge.to_string(), why: fault }),
            None => Err(contended(&TABLE)),
        }
    }

    /// Holds addresses to a port that was added before they were known.
    pub(crate) fn hold(&self, socket: &mut Socket, held: Held) -> Result<(), Error> {
        let derived = names::host_interface(held.attachment);
        let mut batch = Batch::new();
        if self.gate.apart && !held.addresses.is_empty() {
            frames::release(socket, &derived)?;
            let comment = comment(self.bridge, held.attachment);
            self.holding(held, &derived).add(socket, &mut batch, comment, &[])?;
        }
        Ok(batch.commit(socket)?)
    }

    /// Takes the attachment off what an earlier life of it left.
    fn leave_other(&self, socket: &mut Socket, held: Held, derived: &str) -> Result<(), Error> {
        let found = element(socket, &MEMBERS, &[interface(derived)?])?;
        if found.is_some_and(|found| chain_of(&found) != Some(self.names().gate)) {
            del(socket, derived)?;
        }
        if self.gate.apart && self.holding(held, derived).replaces(socket)? {
            frames::release(socket, derived)?;
        }
        Ok(())
    }

    fn holding<'a>(&'a self, held: Held<'a>, derived: &'a str) -> Holding<'a> {
        Holding { bridge: self.bridge.as_str(), derived, held: held.port, addresses: held.addresses }
    }

    fn batch(
        &self,
        socket: &mut Socket,
        held: Held,
        derived: &str,
        switches: Option<BridgeNetfilter>,
        has_fault: bool,
    ) -> Result<Batch, Error> {
        let mut batch = Batch::new();
        let mut gone = Vec::new();
        if has_fault {
            gone = self.mend(socket, &mut batch, held.attachment, switches)?;
        }
        let member = Element::new(&[interface(derived)?])
            .verdict(Verdict::goto(self.names().gate))
            .comment(comment(self.bridge, held.attachment));
        batch.add_element(&MEMBERS, &member);
        if self.gate.apart {
            let comment = comment(self.bridge, held.attachment);
            self.holding(held, derived).add(socket, &mut batch, comment, &gone)?;
        }
        Ok(batch)
    }

    /// Adds to a transaction what is missing of the gate, and says which addresses are nobody's any more.
    fn mend(
        &self,
        socket: &mut Socket,
        batch: &mut Batch,
        attachment: &Attachment,
        switches: Option<BridgeNetfilter>,
    ) -> Result<Vec<frames::Key>, Error> {
        let (names, bridge, boot) = (self.names(), interface(self.bridge.as_str())?, boot());
        let living = ports::on(self.bridge.as_str())?;
        self.remove_another(socket, &living)?;
        let is_there = socket.has_chain(&names.chain())?;
        let mark = mark(socket, &names.chain())?;
        let is_current = mark.as_deref() == Some(&boot);
        // Of versions before, or flushed: of this boot where one of its members is still there.
        let members = if is_current { Vec::new() } else { members(socket, &names.gate)? };
        let lives = |port: &String| living.iter().any(|living| living.name == *port);
        let is_stale = !is_current && (mark.is_some() || !members.iter().any(lives));
        let lost = if self.gate.apart { frames::flushed(socket, bridge)? } else { None };
        let parts = names.parts(self.gate, bridge, Some(&boot), self.from);
        layout::mend(socket, batch, &TABLE, &names.sets(), &parts)?;
        // A gate of this boot whose members were flushed may have had them of several networks.
        let label = names::network_label(&attachment.network);
        let own = names::host_interface(attachment);
        let is_other = |port: &&Port| port.name != own && (is_current || port.is_of(&label));
        let living: Vec<&Port> = living.iter().filter(is_other).collect();
        let dead: &[String] = if is_stale { &members } else { &[] };
        let (_, gone) = leave(socket, batch, dead)?;
        if self.gate.apart {
            frames::mend(socket, batch, self.bridge.as_str(), &living)?;
            if is_stale || !is_there {
                chains::close_links(batch, &names.links());
            } else if is_current && lost.is_some() {
                // They may be links of any bridge whose addresses are nobody's any more.
                close_all_links(socket, batch)?;
            }
        }
        for map in chains::maps(self.gate) {
            if element(socket, map, &[bridge])?.is_none() {
                let element = Element::new(&[bridge]).verdict(Verdict::jump(names.gate.as_str()));
                let note = netfilter::note(switches).filter(|_| self.gate.apart && **map == INTO);
                batch.add_element(map, &note.into_iter().fold(element, Element::comment));
            }
        }
        if element(socket, &MEMBERS, &[bridge])?.is_none() {
            enter(batch, &names.gate, self.bridge.as_str(), living)?;
        }
        Ok(gone)
    }

    /// Names the first thing by which the gate is not as it should be.
    fn fault(&self, socket: &mut Socket) -> Result<Option<String>, Error> {
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
    fn leads(&self, socket: &mut Socket, bridge: Field) -> Result<Option<String>, Error> {
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

    /// Whether the gate is whole as versions before made it: so it stays until the next ADD or repair.
    fn is_of_before(&self, socket: &mut Socket) -> Result<bool, Error> {
        let (names, bridge) = (self.names(), interface(self.bridge.as_str())?);
        let parts = names.parts(self.gate, bridge, None, &[]);
        Ok(mark(socket, &names.chain())?.is_none()
            && layout::fault(socket, &TABLE, &parts)?.is_none()
            && self.leads(socket, bridge)?.is_none()
            && (!self.gate.apart || frames::is_of_before(socket)?))
    }

    /// Refuses a bridge that another network closes otherwise; removes the gate that another boot left for it.
    fn remove_another(&self, socket: &mut Socket, living: &[Port]) -> Result<(), Error> {
        let bridge = interface(self.bridge.as_str())?;
        for map in [&INTO, &FROM] {
            let Some(found) = element(socket, map, &[bridge])? else { continue };
            let Some(other) = chain_of(&found).filter(|other| *other != self.names().gate) else { continue };
            let of_other = members(socket, &other)?;
            if of_other.iter().any(|port| living.iter().any(|living| living.name == *port)) {
                return Err(self.another());
            }
            let mut batch = Batch::new();
            let (removed, _) = leave(socket, &mut batch, &of_other)?;
            remove(socket, &mut batch, &other, self.bridge.as_str(), removed)?;
            batch.commit(socket)?;
        }
        Ok(())
    }

    fn another(&self) -> Error {
        Error::Config {
            problem: format!(
                "bridge {} belongs to a network with other \"ingress\", \"internal\" or \"icc\"",
                self.bridge
            ),
            cure: "give this network a bridge of its own",
        }
    }

    fn open(&self, fault: Option<String>, error: nftables::Error) -> Error {
        match fault {
            Some(fault) => {
                Error::Open { bridge: self.bridge.to_string(), why: format!("{fault}; and {error}") }
            }
            None => error.into(),
        }
    }

    /// Says what is open of a network that has members.
    pub(crate) fn status(
        &self,
        links: &mut netlink::Socket,
        bridge: &Link,
        network: &NetworkName,
    ) -> Result<(), Error> {
        let prefix = names::alias_prefix(network);
        let is_member = |port: &Link| {
            port.carrier && port.alias.as_deref().is_some_and(|alias| alias.starts_with(&prefix))
        };
        if !links.has_port_that(bridge.index, is_member)? {
            return Ok(());
        }
        let open = |why| Err(Error::Open { bridge: self.bridge.to_string(), why });
        if self.gate.apart
            && let Err(error) = netfilter::expect_on(bridge)
        {
            return open(error.to_string());
        }
        let mut socket = Socket::open()?;
        match (BridgeGate { from: &[], ..*self }).fault(&mut socket)? {
            Some(fault) if !self.is_of_before(&mut socket)? => open(fault),
            _ => Ok(()),
        }
    }

    /// Names what differs from what [`BridgeGate::add`] set up.
    pub(crate) fn check(&self, socket: &mut Socket, held: Held) -> Result<(), Error> {
        let derived = names::host_interface(held.attachment);
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
                Err(Error::Differs(format!("bridge {} {fault}", self.bridge)))
            }
            Some(fault) => Err(Error::Differs(format!("bridge {} is not closed: {fault}", self.bridge))),
            None => Ok(()),
        }
    }

    fn names(&self) -> Names {
        Names::new(self.gate, self.bridge.as_str())
    }
}

/// The boot that a gate's rules are of; `None` where they do not tell, as those of versions before.
fn mark(socket: &mut Socket, chain: &Chain) -> Result<Option<String>, Error> {
    let rules = socket.rules(chain)?;
    let mut comments = rules.iter().filter_map(|rule| rule.comment.as_deref());
    Ok(comments.find_map(|comment| comment.strip_prefix(chains::BOOT)).map(str::to_owned))
}

/// The ports that lead to a gate, the bridge's own element not among them.
fn members(socket: &mut Socket, chain: &str) -> Result<Vec<String>, Error> {
    if socket.is_as_set(&MEMBERS)? != Some(true) {
        return Ok(Vec::new());
    }
    let elements = socket.elements(&MEMBERS)?;
    let of_gate = elements.iter().filter(|found| found.comment.is_some());
    Ok(of_gate.filter(|found| chain_of(found).as_deref() == Some(chain)).filter_map(key_of).collect())
}

fn chain_of(element: &Element) -> Option<String> {
    match &element.data {
        Some(Data::Verdict(verdict)) => verdict.chain().map(str::to_owned),
        _ => None,
    }
}

/// The ports of a network that have a gate.
pub(crate) fn ports(socket: &mut Socket, network: &NetworkName) -> Result<Vec<String>, Error> {
    ports_of(socket, &MEMBERS, network)
}
