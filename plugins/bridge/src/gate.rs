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
//!     chain published_… { jump gates; iifname "br0" return; ct state established,related return; ct status dnat return; drop }
//!     chain internal_…  { jump gates; iifname "br1" oifname "br1" return; drop }
//!     chain forward { type filter hook forward priority filter; oifname vmap @into; iifname vmap @from }
//! }
//! ```
//!
//! What `ingressFrom` lets in has a rule each at the head of a published chain: `iifname != "br0" ip saddr 10.244.0.0/16 return
//! comment "from 10.244.0.0/16"`. They stay as long as the gate: of two networks on one bridge neither shuts out the other's.
//!
//! The elements of `members` keep a gate's chain: it goes with the bridge's last port, and the table with the last gate.
//!
//! With `icc: false` (alone: `apart_…`, otherwise `published_apart_…` or `internal_apart_…`) what goes from the bridge to
//! the bridge is not let through by `return` but by
//!
//! ```text
//!     chain between_… {
//!         ct state established ct direction reply return; ct state related return; ct status dnat return
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

use cni::{Attachment, IfName, NetworkName};
use ipnetwork::IpNetwork;
use netlink::BridgeNetfilter;
use nftables::{
    Batch, Chain, Data, Element, Expr, Family, HookPoint, Kind, Selector, Set, Socket, Table, Type, Verdict,
    priority,
};

use crate::conf::Gate;
use crate::error::Error;
use crate::hold::Alone;
use crate::tables::{TRIES, comment, contended, first_word, ignore_change, interface, ports_of};
use crate::{names, netfilter};

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

impl BridgeGate<'_> {
    /// Closes the bridge as far as the gate says, before the attachment's port comes up. `held` is that port's name, by which
    /// the kernel knows its packets; members are counted by the derived one, which DEL and GC know. `switches` are what the bridge
    /// had of `br_netfilter` before.
    pub(crate) fn add(
        &self,
        socket: &mut Socket,
        attachment: &Attachment,
        held: &str,
        switches: Option<BridgeNetfilter>,
    ) -> Result<(), Error> {
        let port = names::host_interface(attachment);
        // What an earlier life of the same attachment left.
        del(socket, &port)?;
        for _ in 0..TRIES {
            match self.batch(socket, attachment, [&port, held], switches)?.commit(socket) {
                Ok(()) => return Ok(()),
                // Somebody else has just made, or removed, the table or this gate.
                Err(error) if error.is_exists() || error.is_busy() || error.is_not_found() => {
                    self.refuse_another(socket)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(contended(&TABLE))
    }

    fn batch(
        &self,
        socket: &mut Socket,
        attachment: &Attachment,
        [port, held]: [&str; 2],
        switches: Option<BridgeNetfilter>,
    ) -> Result<Batch, Error> {
        let mut batch = Batch::new();
        if !socket.has_table(&TABLE)? {
            batch
                .create_table(&TABLE)
                .add_set(&INTO)
                .add_set(&FROM)
                .add_set(&MEMBERS)
                .add_chain(&GATES)
                .add_chain(&FORWARD);
            batch.add_rule(&FORWARD, &[Expr::vmap(&[Selector::Oifname], INTO)], None);
            batch.add_rule(&FORWARD, &[Expr::vmap(&[Selector::Iifname], FROM)], None);
        }
        let (name, bridge, port) = (self.chain(), interface(self.bridge.as_str())?, interface(port)?);
        let comment = comment(self.bridge, attachment);
        if !socket.has_chain(&Chain::new(TABLE, &name))? {
            chains::create(&mut batch, self.gate, self.bridge, bridge);
            chains::let_in(&mut batch, &name, bridge, self.from);
            for map in chains::maps(self.gate) {
                let element = Element::new(&[bridge]).verdict(Verdict::jump(name.as_str()));
                let note = netfilter::note(switches).filter(|_| self.gate.apart && **map == INTO);
                batch.create_element(map, &note.into_iter().fold(element, Element::comment));
            }
        } else if !self.from.is_empty() {
            let there = socket.rules(&Chain::new(TABLE, &name))?;
            chains::let_in(&mut batch, &name, bridge, &chains::missing(&there, self.from));
        }
        if self.gate.apart {
            frames::add(socket, &mut batch, interface(held)?, comment.clone())?;
        }
        let member = Element::new(&[port]).verdict(Verdict::goto(name)).comment(comment);
        batch.create_element(&MEMBERS, &member);
        Ok(batch)
    }

    /// Another network may want another gate for the same bridge.
    fn refuse_another(&self, socket: &mut Socket) -> Result<(), Error> {
        let found = socket.get_element(&INTO, &[interface(self.bridge.as_str())?])?;
        match found.and_then(|found| found.data) {
            Some(Data::Verdict(verdict)) if verdict.chain() != Some(&self.chain()) => Err(Error::Config {
                problem: format!(
                    "bridge {} belongs to a network with other \"ingress\", \"internal\" or \"icc\"",
                    self.bridge
                ),
                cure: "give this network a bridge of its own",
            }),
            _ => Ok(()),
        }
    }

    /// Names what differs from what [`BridgeGate::add`] set up.
    pub(crate) fn check(
        &self,
        socket: &mut Socket,
        attachment: &Attachment,
        held: &str,
    ) -> Result<(), Error> {
        let chain = self.chain();
        let bridge = interface(self.bridge.as_str())?;
        let port = interface(&names::host_interface(attachment))?;
        let leads = |verdict: Verdict| Some(Data::Verdict(verdict));
        let gates = chains::maps(self.gate).iter().map(|map| (*map, bridge, leads(Verdict::jump(&*chain))));
        let member = (&MEMBERS, port, leads(Verdict::goto(&*chain)));
        for (map, key, wanted) in gates.chain([member]) {
            if socket.get_element(map, &[key])?.and_then(|element| element.data) != wanted {
                return Err(Error::Differs(format!(
                    "bridge {} is not closed: map {} of table {TABLE} does not lead {key} to chain {chain}",
                    self.bridge, map.name,
                )));
            }
        }
        for (name, rules) in chains::all(self.gate, self.bridge, bridge) {
            let there = socket.rules(&Chain::new(TABLE, &name))?;
            let found = there.iter().filter(|rule| !chains::lets_in(rule)).count();
            if found != rules {
                return Err(Error::Differs(format!(
                    "bridge {} is not closed: chain {name} of table {TABLE} has {found} rules instead of {rules}",
                    self.bridge,
                )));
            }
            if name == chain
                && let Some(missing) = chains::missing(&there, self.from).first()
            {
                return Err(Error::Differs(format!(
                    "bridge {} does not let {missing} in: chain {name} of table {TABLE} has no rule for it",
                    self.bridge,
                )));
            }
        }
        if self.gate.apart && !frames::is_held(socket, interface(held)?)? {
            return Err(Error::Differs(format!("port {held} is not held to packets without a VLAN's tag")));
        }
        Ok(())
    }

    fn chain(&self) -> String {
        chains::name(self.gate, self.bridge)
    }
}

/// Takes a port off its bridge's gate; the gate goes with the last port. Nothing there is nothing to do.
pub(crate) fn del(socket: &mut Socket, port: &str) -> Result<(), Error> {
    let member = interface(port)?;
    for _ in 0..TRIES {
        let Some(found) = socket.get_element(&MEMBERS, &[member])? else { return Ok(()) };
        let (Some(chain), Some(bridge)) = (chain_of(&found), first_word(&found)) else { return Ok(()) };
        let mut batch = Batch::new();
        batch.del_element(&MEMBERS, &[member]);
        if chains::keeps_apart(&chain) {
            frames::del(socket, &mut batch, member, found.comment.as_deref())?;
        }
        let alone = open_if_unused(socket, &mut batch, &chain, bridge, 1)?;
        match batch.commit(socket) {
            // Two that went at the same time have each seen the other: whoever is last sees it now.
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

/// Removes what nobody uses any more.
fn finish(socket: &mut Socket, chain: &str, bridge: &str) -> Result<(), Error> {
    if chains::keeps_apart(chain) {
        frames::del_table_if_unused(socket)?;
    }
    let mut batch = Batch::new();
    let _alone = open_if_unused(socket, &mut batch, chain, bridge, 0)?;
    if batch.is_empty() { Ok(()) } else { ignore_change(batch.commit(socket)) }
}

/// Adds the removal of a gate that has no members besides those that are `leaving`, and with the last gate the table's.
/// Where that ends a bridge's `br_netfilter`, the guard is to be kept until the gate is gone.
fn open_if_unused(
    socket: &mut Socket,
    batch: &mut Batch,
    name: &str,
    bridge: &str,
    leaving: usize,
) -> Result<Option<Alone>, Error> {
    let chain = Chain::new(TABLE, name);
    let port = interface(bridge)?;
    let mut gates = Vec::new();
    let mut note = None;
    for map in [&INTO, &FROM] {
        let found = socket.get_element(map, &[port])?;
        if let Some(found) = found.filter(|found| chain_of(found).as_deref() == Some(name)) {
            gates.push(map);
            note = note.or(found.comment);
        }
    }
    if socket.references(&chain)? != Some(gates.len() + leaving) {
        return Ok(None);
    }
    for map in gates {
        batch.del_element(map, &[port]);
    }
    chains::del(batch, name, bridge);
    if socket.references(&GATES)? == Some(1) {
        batch.del_chain(&GATES).del_table(&TABLE);
    }
    note.map_or(Ok(None), |note| netfilter::switch_back(bridge, &note))
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
