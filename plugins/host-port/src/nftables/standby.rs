//! Ports that a container has by several of its networks: one serves, the others keep theirs on standby. When the one that
//! serves goes, its heirs take over what it leaves, in the same transaction.
//!
//! A later attachment enters itself as an heir in the owner record of the earlier one. An heir that has gone is skipped, and
//! the remaining heirs become those of the attachment that takes over.

use std::net::IpAddr;

use nftables::{Batch, Element, Field, Socket, Verdict, key};

use super::holdings::{self, Holdings};
use super::owner::Owner;
use super::owner_record as record;
use super::place::{Place, localhost_of, standby_of};
use super::table::{self, HAIR4, HAIR6, LOCALHOST, OWNERS, SPARE4, SPARE6};
use crate::error::Error;

/// An attachment that may take over.
struct Heir {
    owner: Owner,
    holdings: Holdings,
    /// Whether it takes anything over.
    takes: bool,
}

/// Adds to a transaction that removes an owner what its heirs make of it.
pub(crate) fn hand_over(
    socket: &mut Socket,
    batch: &mut Batch,
    owner: &Owner,
    left: &Holdings,
) -> Result<(), Error> {
    let mut heirs = Vec::new();
    for heir in named(socket, owner, left)? {
        if let Some(holdings) = holdings::recall(socket, &heir, &[])?.filter(|heir| heir.chain.is_some()) {
            heirs.push(Heir { owner: heir, holdings, takes: false });
        }
    }
    if heirs.is_empty() {
        return Ok(());
    }
    let mut taken: Vec<(Place, usize)> = Vec::new();
    for place in &left.places {
        let Some(at) = take(socket, batch, &heirs, place)? else { continue };
        heirs[at].takes = true;
        // What localhost led to goes with the port.
        taken.extend(localhost_of(place).map(|place| (place, at)));
    }
    for place in left.places.iter().filter(|(map, _)| LOCALHOST.contains(map)) {
        let (map, key) = place;
        let has_localhost = |heir: &&Heir| {
            record::interfaces(&heir.holdings.text).iter().any(|name| name == table::localhost_of_set(map))
        };
        let next = taken.iter().find(|(of, _)| of == place).map(|(_, at)| &heirs[*at]);
        // An heir that has the port already, by iptables, waited for localhost alone.
        let waits = |heir: &&Heir| record::publishes(&heir.owner, &heir.holdings.text, place);
        if let Some(next) = next.or_else(|| heirs.iter().find(waits)).filter(has_localhost) {
            batch.create_element(map, &commented(Element::new(key), &next.holdings));
        }
    }
    let owners: Vec<Owner> = heirs.iter().map(|heir| heir.owner.clone()).collect();
    for (at, heir) in heirs.iter().enumerate().filter(|(_, heir)| heir.takes) {
        let chain = heir.holdings.chain.as_deref().unwrap_or_default();
        enter(batch, &heir.owner, chain, &heir.holdings.text, &owners[at + 1..])?;
    }
    Ok(())
}

/// Adds to a transaction that an owner has further heirs.
pub(crate) fn enter(
    batch: &mut Batch,
    owner: &Owner,
    chain: &str,
    text: &str,
    heirs: &[Owner],
) -> Result<(), Error> {
    if let Some(element) = record::with_heirs(owner, chain, text, heirs)? {
        batch.del_element(&OWNERS, &[owner.key()?]).create_element(&OWNERS, &element);
    }
    Ok(())
}

/// The heirs that an owner record names; where it had no room for them, every attachment with a port on standby.
fn named(socket: &mut Socket, owner: &Owner, left: &Holdings) -> Result<Vec<Owner>, Error> {
    let mut heirs = left.heirs.clone();
    if !left.is_whole {
        for map in [&SPARE4, &SPARE6] {
            for element in socket.elements(map)? {
                let found =
                    Owner::from_key(&element.key).filter(|heir| heir != owner && !heirs.contains(heir));
                heirs.extend(found);
            }
        }
    }
    Ok(heirs)
}

/// Adds to a transaction that the first heir that can takes over a place. Returns that heir's index.
fn take(
    socket: &mut Socket,
    batch: &mut Batch,
    heirs: &[Heir],
    place: &Place,
) -> Result<Option<usize>, Error> {
    for (at, heir) in heirs.iter().enumerate() {
        if let Some((spares, spare)) = standby_of(&heir.owner, place) {
            let found =
                socket.get_element(spares, &spare)?.filter(|found| heir.owner.has(found.comment.as_deref()));
            if let Some(found) = found {
                batch.del_element(spares, &spare);
                batch.create_element(place.0, &Element { key: key::encode(&place.1), ..found });
                return Ok(Some(at));
            }
        } else if let (Some(chain), [address]) = (&heir.holdings.chain, &place.1[..])
            && (*place.0 == HAIR4 || *place.0 == HAIR6)
            && has_address(&heir.holdings.text, address)
        {
            let element = Element::new(&place.1).verdict(Verdict::goto(chain.as_str()));
            batch.create_element(place.0, &commented(element, &heir.holdings));
            return Ok(Some(at));
        }
    }
    Ok(None)
}

fn has_address(text: &str, field: &Field) -> bool {
    match field {
        Field::Ipv4(address) => record::has_address(text, IpAddr::V4(*address)),
        Field::Ipv6(address) => record::has_address(text, IpAddr::V6(*address)),
        _ => false,
    }
}

fn commented(element: Element, holdings: &Holdings) -> Element {
    match &holdings.comment {
        Some(comment) => element.comment(comment.as_str()),
        None => element,
    }
}
