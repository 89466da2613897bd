//! Ports that a container has by several of its networks: one serves, the others keep theirs on standby. When the one that
//! serves goes, its heirs take over what it leaves, in the same transaction.
//!
//! A later attachment enters itself as an heir in the owner record of the earlier one. An heir that has gone is skipped, and
//! the remaining heirs become those of the attachment that takes over.

use nftables::{Batch, Element, Socket, Verdict, key};

use super::holdings::{self, Holdings};
use super::owner::Owner;
use super::owner_record::Record;
use super::place::{Place, ip, localhost_of, standby_of};
use super::table::{HAIR4, HAIR6, LOCALHOST, OWNERS, SPARE, localhost_of_set};
use crate::error::Error;

/// An attachment that may take over.
struct Heir {
    record: Record,
    /// The comment of its elements.
    comment: Option<String>,
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
        if let Some(Holdings { record: Some(record), comment, .. }) = holdings::recall(socket, &heir, &[])? {
            heirs.push(Heir { record, comment, takes: false });
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
        let has_localhost =
            |heir: &&Heir| heir.record.locals().iter().any(|name| name == localhost_of_set(map));
        let next = taken.iter().find(|(of, _)| of == place).map(|(_, at)| &heirs[*at]);
        // An heir that has the port already, by iptables, waited for localhost alone.
        let next = next.or_else(|| heirs.iter().find(|heir| heir.record.publishes(place)));
        if let Some(next) = next.filter(has_localhost) {
            batch.create_element(map, &Element { comment: next.comment.clone(), ..Element::new(key) });
        }
    }
    let owners: Vec<Owner> = heirs.iter().map(|heir| heir.record.owner.clone()).collect();
    for (at, heir) in heirs.iter().enumerate().filter(|(_, heir)| heir.takes) {
        enter(batch, &heir.record, &owners[at + 1..])?;
    }
    Ok(())
}

/// Adds to a transaction that an owner has further heirs.
pub(crate) fn enter(batch: &mut Batch, record: &Record, heirs: &[Owner]) -> Result<(), Error> {
    if let Some(more) = record.with_heirs(heirs) {
        batch.del_element(&OWNERS, &[record.owner.key()?]).create_element(&OWNERS, &more.element()?);
    }
    Ok(())
}

/// The heirs that an owner record names; where it had no room for them, every attachment with a port on standby.
fn named(socket: &mut Socket, owner: &Owner, left: &Holdings) -> Result<Vec<Owner>, Error> {
    let Some(record) = &left.record else { return Ok(Vec::new()) };
    let mut heirs = record.heirs();
    for map in SPARE.into_iter().filter(|_| !record.is_whole()) {
        for element in socket.elements(map)? {
            let found = Owner::from_key(&element.key).filter(|heir| heir != owner && !heirs.contains(heir));
            heirs.extend(found);
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
    for (at, Heir { record, comment, .. }) in heirs.iter().enumerate() {
        if let Some((map, key)) = standby_of(&record.owner, place) {
            let found = socket.get_element(map, &key)?;
            if let Some(found) = found.filter(|found| record.owner.has(found.comment.as_deref())) {
                batch.del_element(map, &key);
                batch.create_element(place.0, &Element { key: key::encode(&place.1), ..found });
                return Ok(Some(at));
            }
        } else if let (HAIR4 | HAIR6, [address]) = (*place.0, &place.1[..])
            && ip(*address).is_some_and(|address| record.has_address(address))
        {
            let element = Element::new(&place.1).verdict(Verdict::goto(record.chain.as_str()));
            batch.create_element(place.0, &Element { comment: comment.clone(), ..element });
            return Ok(Some(at));
        }
    }
    Ok(None)
}
