//! `macspoofchk`: a container may send only from the hardware address that it was given.
//!
//! One rule for all ports, two elements an attachment:
//!
//! ```text
//! table bridge cleat_bridge {
//!     map guarded { type ifname : verdict; elements = { "veth…" comment "02:00:00:00:00:01 …" : goto own_address } }
//!     set addresses { type ifname . ether_addr; elements = { "veth…" . 02:00:00:00:00:01 } }
//!     chain own_address { iifname . ether saddr @addresses return; drop }
//!     chain pre { type filter hook prerouting priority raw; iifname vmap @guarded }
//! }
//! ```

use cni::Attachment;
use netlink::Mac;
use nftables::ledger::Skeleton;
use nftables::{
    Batch, Chain, Element, Expr, Family, Field, HookPoint, Kind, Selector, Set, Socket, Table, Type, Verdict,
    priority,
};

use crate::error::Result;
use crate::filter::owner::{comment, del_if_present, first_word};

/// The table of both checks.
pub(super) const TABLE: Table = Table::new(Family::Bridge, "cleat_bridge");
/// The guarded ports.
pub(crate) const GUARDED: Set = Set::vmap(TABLE, "guarded", &[Type::Ifname]);
const ADDRESSES: Set = Set::new(TABLE, "addresses", &[Type::Ifname, Type::EtherAddr]);
/// Each guarded port's element leads here.
pub(super) const OWN_ADDRESS: Chain = Chain::new(TABLE, "own_address");
const PRE: Chain = Chain::base(TABLE, "pre", Kind::Filter, HookPoint::Prerouting, priority::RAW);

/// What all guarded ports share.
pub(super) fn skeleton() -> Skeleton<'static> {
    let own = Expr::in_set(&[Selector::Iifname, Selector::EtherSaddr], ADDRESSES);
    Skeleton {
        table: TABLE,
        sets: vec![GUARDED, ADDRESSES],
        chains: vec![
            (OWN_ADDRESS, vec![vec![own, Expr::to_caller()], vec![Expr::drop()]]),
            (PRE, vec![vec![Expr::vmap(&[Selector::Iifname], GUARDED)]]),
        ],
    }
}

/// Adds the elements of a port.
pub(super) fn enter(batch: &mut Batch, port: Field, attachment: &Attachment, mac: Mac) {
    let guarded = Element::new(&[port]).verdict(Verdict::goto(OWN_ADDRESS.name));
    batch.create_element(&GUARDED, &guarded.comment(comment(mac, attachment)));
    batch.add_element(&ADDRESSES, &Element::new(&[port, Field::Ether(mac.octets())]));
}

/// Deletes the elements of a port, and says whether there are any.
pub(super) fn leave(socket: &mut Socket, batch: &mut Batch, port: Field) -> Result<bool> {
    let Some(guarded) = socket.get_element(&GUARDED, &[port])? else { return Ok(false) };
    batch.del_element(&GUARDED, &[port]);
    if let Some(mac) = first_word(&guarded).and_then(|mac| mac.parse::<Mac>().ok()) {
        del_if_present(socket, batch, &ADDRESSES, &[port, Field::Ether(mac.octets())])?;
    }
    Ok(true)
}

/// Whether a port may send from this hardware address only.
pub(super) fn is_held(socket: &mut Socket, port: Field, mac: Mac) -> Result<bool> {
    Ok(skeleton().is_complete(socket)?
        && socket.get_element(&GUARDED, &[port])?.is_some()
        && socket.get_element(&ADDRESSES, &[port, Field::Ether(mac.octets())])?.is_some())
}
