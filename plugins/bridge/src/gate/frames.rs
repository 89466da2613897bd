//! What else than packets may pass between ports that are kept apart: ARP, and nothing besides.
//!
//! `br_netfilter` shows a bridge's packets to the packet filter of IP, but none that are in a VLAN's tag. A container
//! with a raw socket may tag its packets with VLAN 0, and who gets them takes them for untagged ones (IEEE 802.1Q,
//! priority tags), so they would pass by the gate.
//!
//! ```text
//! table bridge cleat_gate {
//!     map apart { type ifname : verdict; elements = { "veth…" comment "…" : goto plain } }
//!     chain plain { ether type ip return; ether type ip6 return; ether type arp return; drop }
//!     chain forward { type filter hook forward priority 0; iifname vmap @apart; oifname vmap @apart }
//! }
//! ```
//!
//! The table goes with the last element.

use nftables::{
    Batch, Chain, Element, Expr, Family, Field, HookPoint, Kind, Selector, Set, Socket, Table, Type, Verdict,
    priority,
};

use crate::error::Error;
use crate::tables::{interface, key_of};

const TABLE: Table = Table::new(Family::Bridge, "cleat_gate");
const APART: Set = Set::vmap(TABLE, "apart", &[Type::Ifname]);
const PLAIN: Chain = Chain::new(TABLE, "plain");
const FORWARD: Chain = Chain::base(TABLE, "forward", Kind::Filter, HookPoint::Forward, priority::FILTER);

/// Adds to a transaction what holds a port to plain packets.
pub(super) fn add(socket: &mut Socket, batch: &mut Batch, port: Field, comment: String) -> Result<(), Error> {
    if !socket.has_table(&TABLE)? {
        batch.create_table(&TABLE).add_set(&APART).add_chain(&PLAIN).add_chain(&FORWARD);
        for plain in [Field::ETHER_IP, Field::ETHER_IP6, Field::ETHER_ARP] {
            batch.add_rule(&PLAIN, &[Expr::eq(Selector::EtherType, plain), Expr::to_caller()], None);
        }
        batch.add_rule(&PLAIN, &[Expr::drop()], None);
        for side in [Selector::Iifname, Selector::Oifname] {
            batch.add_rule(&FORWARD, &[Expr::vmap(&[side], APART)], None);
        }
    }
    batch.create_element(&APART, &Element::new(&[port]).verdict(Verdict::goto(PLAIN.name)).comment(comment));
    Ok(())
}

/// Adds the removal to a transaction. Nothing there is nothing to do. A port that another program made has a name that
/// nobody derives: it is looked for by its comment.
pub(super) fn del(
    socket: &mut Socket,
    batch: &mut Batch,
    port: Field,
    comment: Option<&str>,
) -> Result<(), Error> {
    let held = if is_held(socket, port)? { Some(port) } else { find(socket, comment)? };
    if let Some(port) = held {
        batch.del_element(&APART, &[port]);
        if socket.references(&PLAIN)? == Some(1) {
            batch.del_chain(&PLAIN).del_table(&TABLE);
        }
    }
    Ok(())
}

fn find(socket: &mut Socket, comment: Option<&str>) -> Result<Option<Field>, Error> {
    let elements = socket.elements(&APART)?;
    let found = elements.iter().find(|element| comment.is_some() && element.comment.as_deref() == comment);
    found.and_then(key_of).map(|port| interface(&port)).transpose()
}

/// Removes the table where no port is held.
pub(super) fn del_table_if_unused(socket: &mut Socket) -> Result<(), Error> {
    socket.del_unused_table(&PLAIN)?;
    Ok(())
}

/// Whether a port is held to plain packets.
pub(super) fn is_held(socket: &mut Socket, port: Field) -> Result<bool, Error> {
    Ok(socket.get_element(&APART, &[port])?.is_some())
}
