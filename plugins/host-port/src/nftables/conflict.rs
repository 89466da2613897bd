//! What conflicts with an ADD: elements under the same keys. Those of containers that have gone are removed; those of others
//! stay theirs.

use cni::{Attachment, ContainerId};
use ipnetwork::IpNetwork;
use nftables::{Batch, Element, Socket};

use super::owner::{Holder, Owner};
use super::owner_record::Record;
use super::place::{Place, hair_place, ip};
use super::plan::{Earlier, Plan};
use super::removal::remove;
use super::table::LOCALHOST;
use crate::error::Error;
use crate::port::Port;

/// What conflicts with a transaction.
pub(crate) enum Conflict {
    /// Nothing: another process has just made the table or the chain.
    None,
    /// What was left behind, which has been removed.
    Removed,
    /// The attachment's own, of an earlier ADD, which has been removed.
    Repeated,
    /// What others have, rightly.
    Earlier(Earlier),
    /// Another container has the port of the mapping at this place.
    Taken { at: usize, port: Port, holder: String },
}

/// Looks for elements under the plan's keys, and removes those that were left behind.
pub(crate) fn resolve(
    rules: &mut Socket,
    plan: &Plan,
    container_id: &ContainerId,
) -> Result<Conflict, Error> {
    // This attachment's own is of an ADD that the runtime repeats, or of a DEL that never came.
    if Record::find(rules, &plan.owner)?.is_some() {
        remove(rules, &plan.owner, &[])?;
        return Ok(Conflict::Repeated);
    }
    let mut earlier = Earlier::default();
    for (place, _, port) in plan.elements() {
        let Some(found) = rules.get_element(place.0, &place.1)? else {
            continue;
        };
        let owner = found.comment.as_deref().and_then(Owner::from_comment);
        let is_living = owner.as_ref().is_some_and(|owner| earlier.owners.contains(owner));
        if is_living || !is_left_behind(plan, &found)? {
            let stays = match (port, &place.1[..]) {
                (Some((_, port)), _) if is_own(container_id, port, &found) => {
                    let is_localhost = LOCALHOST.contains(&place.0);
                    if is_localhost { &mut earlier.localhost } else { &mut earlier.ports }.insert(*port);
                    true
                }
                (Some((at, port)), _) => {
                    return Ok(Conflict::Taken { at: *at, port: *port, holder: holder(&found) });
                }
                (None, [address]) if is_readable(&found) => {
                    earlier.addresses.extend(ip(*address));
                    true
                }
                _ => false,
            };
            if stays {
                earlier.owners.extend(owner.filter(|_| !is_living));
                continue;
            }
        }
        // Its owner has gone, or its comment names none.
        evict(rules, &found, place)?;
        return Ok(Conflict::Removed);
    }
    let is_empty = earlier.owners.is_empty() && earlier.addresses.is_empty();
    Ok(if is_empty { Conflict::None } else { Conflict::Earlier(earlier) })
}

/// Whether an element leads from a port to the same port of the same container, by another of its networks.
pub(crate) fn is_own(container_id: &ContainerId, port: &Port, found: &Element) -> bool {
    let is_of = |comment: &String| Holder::is_of(comment, container_id);
    let other = Port::read(port.place().0, found);
    found.comment.as_ref().is_some_and(is_of)
        && other.is_none_or(|other| other.container.port() == port.container.port())
}

fn is_readable(found: &Element) -> bool {
    found.comment.as_deref().and_then(Holder::read).is_some()
}

/// Whether an element is this attachment's own, or that of a container whose interface has gone. An interface that is this
/// attachment's by now is no longer the earlier container's.
pub(crate) fn is_left_behind(plan: &Plan, found: &Element) -> Result<bool, Error> {
    let comment = found.comment.as_deref();
    if plan.owner.has(comment) {
        return Ok(true);
    }
    let Some(holder) = comment.and_then(Holder::read) else {
        return Ok(false);
    };
    let link = netlink::Socket::open()?.get_link(&holder.interface)?;
    let is_ours = |kind: Option<&str>| holder.interface == plan.interface && kind == Some("veth");
    Ok(link.is_none_or(|link| is_ours(link.kind.as_deref())))
}

/// Removes all that the element's owner has, or the element alone where it has none.
fn evict(rules: &mut Socket, found: &Element, place: Place) -> Result<(), Error> {
    match found.comment.as_deref().and_then(Owner::from_comment) {
        Some(owner) => remove(rules, &owner, &[place]),
        None => match Batch::new().del_element(place.0, &place.1).commit(rules) {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        },
    }
}

fn holder(found: &Element) -> String {
    let comment = found.comment.as_deref().unwrap_or_default();
    match Holder::read(comment) {
        Some(holder) => holder.to_string(),
        None => format!("an element that this plugin did not write (comment {comment:?})"),
    }
}

/// Removes ports that lead to an attachment's addresses, where the interface of the container that had them has gone. For an ADD
/// without ports: one with ports finds them as conflicts.
pub(crate) fn clear_addresses(
    rules: &mut Socket,
    attachment: &Attachment,
    addresses: &[IpNetwork],
) -> Result<(), Error> {
    for address in addresses {
        let place = hair_place(address.ip());
        let Some(comment) = rules.get_element(place.0, &place.1)?.and_then(|found| found.comment) else {
            continue;
        };
        let (Some(owner), Some(holder)) = (Owner::from_comment(&comment), Holder::read(&comment)) else {
            continue;
        };
        let is_gone = || netlink::Socket::open()?.get_link(&holder.interface).map(|link| link.is_none());
        if owner != Owner::of(attachment) && is_gone()? {
            remove(rules, &owner, &[place])?;
        }
    }
    Ok(())
}
