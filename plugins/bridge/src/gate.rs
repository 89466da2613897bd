//! `ingress: published` and `internal`: what may be forwarded to and from a network's bridge.
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
//! The elements of `members` keep a gate's chain: it goes with the bridge's last port, and the table with the last gate.

use cni::{Attachment, IfName, NetworkName, token};
use nftables::{
    Batch, Chain, Data, Element, Expr, Family, Field, HookPoint, Kind, Selector, Set, Socket, Table, Type,
    Verdict, priority, state, status,
};

use crate::conf::Gate;
use crate::error::Error;
use crate::names;
use crate::tables::{TRIES, comment, contended, first_word, ignore_change, interface, ports_of};

const TABLE: Table = Table::new(Family::Inet, "cleat_gate");
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
}

impl BridgeGate<'_> {
    /// Closes the bridge as far as the gate says, before the attachment's port comes up.
    pub(crate) fn add(&self, socket: &mut Socket, attachment: &Attachment) -> Result<(), Error> {
        let port = names::host_interface(attachment);
        // What an earlier life of the same attachment left.
        del(socket, &port)?;
        for _ in 0..TRIES {
            match self.batch(socket, attachment, &port)?.commit(socket) {
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

    fn batch(&self, socket: &mut Socket, attachment: &Attachment, port: &str) -> Result<Batch, Error> {
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
        let (name, bridge) = (self.chain(), interface(self.bridge.as_str())?);
        let chain = Chain::new(TABLE, &name);
        if !socket.has_chain(&chain)? {
            batch.create_chain(&chain).add_rule(&chain, &[Expr::jump(GATES.name)], None);
            for rule in self.rules(bridge) {
                batch.add_rule(&chain, &rule, None);
            }
            for map in self.maps() {
                batch.create_element(map, &Element::new(&[bridge]).verdict(Verdict::jump(name.as_str())));
            }
        }
        let member = Element::new(&[interface(port)?])
            .verdict(Verdict::goto(name))
            .comment(comment(self.bridge, attachment));
        batch.create_element(&MEMBERS, &member);
        Ok(batch)
    }

    /// Another network may want another gate for the same bridge.
    fn refuse_another(&self, socket: &mut Socket) -> Result<(), Error> {
        let found = socket.get_element(&INTO, &[interface(self.bridge.as_str())?])?;
        match found.and_then(|found| found.data) {
            Some(Data::Verdict(verdict)) if verdict.chain() != Some(&self.chain()) => Err(Error::Config {
                problem: format!(
                    "bridge {} belongs to a network with other \"ingress\" or \"internal\"",
                    self.bridge
                ),
                cure: "give this network a bridge of its own",
            }),
            _ => Ok(()),
        }
    }

    /// Names what differs from what [`BridgeGate::add`] set up.
    pub(crate) fn check(&self, socket: &mut Socket, attachment: &Attachment) -> Result<(), Error> {
        let leads = |verdict: Verdict| Some(Data::Verdict(verdict));
        let bridge = interface(self.bridge.as_str())?;
        let member = interface(&names::host_interface(attachment))?;
        let gates = self.maps().iter().map(|map| (*map, bridge, leads(Verdict::jump(self.chain()))));
        for (map, key, wanted) in gates.chain([(&MEMBERS, member, leads(Verdict::goto(self.chain())))]) {
            if socket.get_element(map, &[key])?.and_then(|element| element.data) != wanted {
                return Err(Error::Differs(format!(
                    "bridge {} is not closed: map {} of table inet {} does not lead {key} to chain {}",
                    self.bridge,
                    map.name,
                    TABLE.name,
                    self.chain()
                )));
            }
        }
        Ok(())
    }

    /// Any name is allowed for a bridge, and not every one for a chain.
    fn chain(&self) -> String {
        let kind = match self.gate {
            Gate::Published => "published",
            Gate::Internal => "internal",
        };
        format!("{kind}_{}", &token(&[self.bridge.as_str()])[..8])
    }

    fn maps(&self) -> &'static [&'static Set<'static>] {
        match self.gate {
            Gate::Published => &[&INTO],
            Gate::Internal => &[&INTO, &FROM],
        }
    }

    /// Members that talk to each other are forwarded too, from the bridge to the bridge, where `br_netfilter` is on.
    fn rules(&self, bridge: Field) -> Vec<Vec<Expr<'static>>> {
        let from_bridge = Expr::eq(Selector::Iifname, bridge);
        match self.gate {
            Gate::Published => vec![
                vec![from_bridge, Expr::to_caller()],
                vec![
                    Expr::any_bit(Selector::CtState, state::ESTABLISHED | state::RELATED),
                    Expr::to_caller(),
                ],
                vec![Expr::any_bit(Selector::CtStatus, status::DNAT), Expr::to_caller()],
                vec![Expr::drop()],
            ],
            Gate::Internal => vec![
                vec![from_bridge, Expr::eq(Selector::Oifname, bridge), Expr::to_caller()],
                vec![Expr::drop()],
            ],
        }
    }
}

/// Takes a port off its bridge's gate; the gate goes with the last port. Nothing there is nothing to do.
pub(crate) fn del(socket: &mut Socket, port: &str) -> Result<(), Error> {
    let member = [interface(port)?];
    for _ in 0..TRIES {
        let Some(found) = socket.get_element(&MEMBERS, &member)? else { return Ok(()) };
        let (Some(chain), Some(bridge)) = (chain_of(&found), first_word(&found)) else { return Ok(()) };
        let bridge = interface(bridge)?;
        let mut batch = Batch::new();
        batch.del_element(&MEMBERS, &member);
        open_if_unused(socket, &mut batch, &chain, bridge, 1)?;
        match batch.commit(socket) {
            // Two that went at the same time have each seen the other: whoever is last sees it now.
            Ok(()) => {
                let mut batch = Batch::new();
                open_if_unused(socket, &mut batch, &chain, bridge, 0)?;
                return if batch.is_empty() { Ok(()) } else { ignore_change(batch.commit(socket)) };
            }
            Err(error) if error.is_busy() || error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(contended(&TABLE))
}

/// Adds the removal of a gate that has no members besides those that are `leaving`, and with the last gate the table's.
fn open_if_unused(
    socket: &mut Socket,
    batch: &mut Batch,
    chain: &str,
    bridge: Field,
    leaving: usize,
) -> Result<(), Error> {
    let chain = Chain::new(TABLE, chain);
    let mut gates = Vec::new();
    for map in [&INTO, &FROM] {
        let found = socket.get_element(map, &[bridge])?;
        if found.as_ref().and_then(chain_of).as_deref() == Some(chain.name) {
            gates.push(map);
        }
    }
    if socket.references(&chain)? == Some(gates.len() + leaving) {
        for map in gates {
            batch.del_element(map, &[bridge]);
        }
        batch.del_chain(&chain);
        if socket.references(&GATES)? == Some(1) {
            batch.del_chain(&GATES).del_table(&TABLE);
        }
    }
    Ok(())
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
