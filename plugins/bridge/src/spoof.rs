//! `macspoofchk`: a container may send only from the hardware address that it was given.
//!
//! One table, one rule for every port, two elements an attachment:
//!
//! ```text
//! table bridge cleat_bridge {
//!     map guarded { type ifname : verdict; elements = { "veth…" comment "…" : goto own_address } }
//!     set addresses { type ifname . ether_addr; elements = { "veth…" . 02:00:00:00:00:01 } }
//!     chain own_address { iifname . ether saddr @addresses return; drop }
//!     chain pre { type filter hook prerouting priority raw; iifname vmap @guarded }
//! }
//! ```
//!
//! The table goes with the last element that leads to `own_address`, or to the chain of [`addresses`].

pub(crate) mod addresses;
pub(crate) mod reference;

use cni::{Attachment, NetworkName};
use netlink::Mac;
use nftables::{
    Batch, Chain, Element, Expr, Family, Field, HookPoint, Kind, Selector, Set, Socket, Table, Type, Verdict,
    priority,
};

use crate::error::Error;
use crate::names;
use crate::port::Port;
use crate::tables::{TRIES, comment, contended, first_word, ignore_change, interface, ports_of};
use addresses::OWN_NETWORK;

const TABLE: Table = Table::new(Family::Bridge, "cleat_bridge");
const GUARDED: Set = Set::vmap(TABLE, "guarded", &[Type::Ifname]);
const ADDRESSES: Set = Set::new(TABLE, "addresses", &[Type::Ifname, Type::EtherAddr]);
const OWN_ADDRESS: Chain = Chain::new(TABLE, "own_address");
const PRE: Chain = Chain::base(TABLE, "pre", Kind::Filter, HookPoint::Prerouting, priority::RAW);

/// Lets the attachment's port take in frames from one hardware address only. What an earlier life of the same
/// attachment left is replaced.
pub(crate) fn add(socket: &mut Socket, attachment: &Attachment, mac: Mac) -> Result<(), Error> {
    let port = names::host_interface(attachment);
    del(socket, &port)?;
    let name = interface(&port)?;
    let guarded =
        Element::new(&[name]).verdict(Verdict::goto(OWN_ADDRESS.name)).comment(comment(mac, attachment));
    for _ in 0..TRIES {
        let mut batch = Batch::new();
        if !is_complete(socket)? {
            make(&mut batch);
        }
        batch
            .create_element(&GUARDED, &guarded)
            .add_element(&ADDRESSES, &Element::new(&[name, Field::Ether(mac.octets())]));
        match batch.commit(socket) {
            Ok(()) => return Ok(()),
            // Another ADD has just made the table, or a DEL has just removed it.
            Err(error) if error.is_exists() || error.is_not_found() || error.is_busy() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(contended(&TABLE))
}

/// Whether everything is there that ports have in common.
fn is_complete(socket: &mut Socket) -> Result<bool, Error> {
    Ok(socket.rules(&OWN_ADDRESS)?.len() == 2 && socket.rules(&PRE)?.len() == 1)
}

/// Makes it, or makes it anew where somebody has flushed a chain.
fn make(batch: &mut Batch) {
    batch.add_table(&TABLE).add_set(&GUARDED).add_set(&ADDRESSES);
    for chain in [&OWN_ADDRESS, &PRE] {
        batch.add_chain(chain).flush_chain(chain);
    }
    let own = Expr::in_set(&[Selector::Iifname, Selector::EtherSaddr], ADDRESSES);
    batch.add_rule(&OWN_ADDRESS, &[own, Expr::to_caller()], None);
    batch.add_rule(&OWN_ADDRESS, &[Expr::drop()], None);
    batch.add_rule(&PRE, &[Expr::vmap(&[Selector::Iifname], GUARDED)], None);
}

/// Removes all that restricts what a port may send. Costs one question where there is no table.
pub(crate) fn del_all(socket: &mut Socket, port: &str) -> Result<(), Error> {
    if !socket.has_table(&TABLE)? {
        return Ok(());
    }
    let guard = del(socket, port);
    addresses::del(socket, port).and(guard)
}

/// Removes what guards a port. Nothing there is nothing to do.
pub(crate) fn del(socket: &mut Socket, port: &str) -> Result<(), Error> {
    let name = interface(port)?;
    for _ in 0..TRIES {
        let Some(guarded) = socket.get_element(&GUARDED, &[name])? else { return Ok(()) };
        let mut batch = Batch::new();
        batch.del_element(&GUARDED, &[name]);
        // Somebody may have flushed the set.
        let address = first_word(&guarded)
            .and_then(|mac| mac.parse::<Mac>().ok())
            .map(|mac| [name, Field::Ether(mac.octets())]);
        if let Some(address) = address
            && socket.get_element(&ADDRESSES, &address)?.is_some()
        {
            batch.del_element(&ADDRESSES, &address);
        }
        // In one transaction: between two a process may be killed, and the table would stay.
        let is_last = socket.references(&OWN_ADDRESS)? == Some(1);
        if is_last {
            remove_common(socket, &mut batch)?;
        }
        match batch.commit(socket) {
            Ok(()) if is_last => return Ok(()),
            // Two that went at the same time have each seen the other: whoever is last sees it now.
            Ok(()) => {
                if socket.references(&OWN_ADDRESS)? == Some(0) {
                    let mut batch = Batch::new();
                    remove_common(socket, &mut batch)?;
                    ignore_change(batch.commit(socket))?;
                }
                return Ok(());
            }
            Err(error) if error.is_busy() || error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(contended(&TABLE))
}

/// Adds to a transaction that what ports have in common goes: the table, unless ports are held to their addresses in it.
fn remove_common(socket: &mut Socket, batch: &mut Batch) -> Result<(), Error> {
    if socket.has_chain(&OWN_NETWORK)? {
        batch.flush_chain(&PRE).flush_chain(&OWN_ADDRESS).del_chain(&PRE).del_chain(&OWN_ADDRESS);
        batch.del_set(&GUARDED).del_set(&ADDRESSES);
    } else {
        batch.del_chain(&OWN_ADDRESS).del_table(&TABLE);
    }
    Ok(())
}

/// Names what differs from what [`add`] set up, or the reference.
pub(crate) fn check(
    socket: &mut Socket,
    attachment: &Attachment,
    port: &Port,
    mac: Mac,
) -> Result<(), Error> {
    let is_guarded = if port.is_ours {
        let name = interface(&port.link.name)?;
        is_complete(socket)?
            && socket.get_element(&GUARDED, &[name])?.is_some()
            && socket.get_element(&ADDRESSES, &[name, Field::Ether(mac.octets())])?.is_some()
    } else {
        reference::is_guarded(socket, attachment, &port.link.name, mac)?
    };
    if is_guarded {
        Ok(())
    } else {
        Err(Error::Differs(format!("port {} is not held to MAC address {mac}", port.link.name)))
    }
}

/// Puts back what [`check`] misses.
pub(crate) fn restore(
    socket: &mut Socket,
    attachment: &Attachment,
    port: &Port,
    mac: Mac,
) -> Result<(), Error> {
    match check(socket, attachment, port, mac) {
        Ok(()) => Ok(()),
        Err(_) if port.is_ours => add(socket, attachment, mac),
        Err(_) => reference::add(socket, attachment, &port.link.name, mac),
    }
}

/// The ports of a network that are guarded.
pub(crate) fn ports(socket: &mut Socket, network: &NetworkName) -> Result<Vec<String>, Error> {
    ports_of(socket, &GUARDED, network)
}
