//! DEL and GC: a container leaves a network. Container ID, interface and network are enough to find everything; what is gone
//! already counts as removed.
//!
//! The registry changes last: where the process is killed, the next DEL or GC still finds the member and repeats everything.

use std::path::Path;

use cni::{NamespacesWithProcesses, Request, Target};
use registry::{Locked, Member, Network};

use crate::delivery::Delivery;
use crate::error::Error;
use crate::firewall::Firewall;
use crate::hosts::block::with_slots;
use crate::hosts_change::unsettle;
use crate::view::View;

/// Removes one attachment.
pub(crate) fn del(request: &Request, target: &Target) -> Result<(), Error> {
    let delivery = Delivery::for_removal(&request.conf)?;
    let (container_id, ifname) = (target.container_id().as_str(), target.ifname().as_str());
    let Some(locked) = lock(&delivery, || Ok(delivery.has_any(container_id, target.netns.as_deref())))?
    else {
        return Ok(());
    };
    let before = locked.around(request.conf.network.as_str(), &[container_id], None)?;
    if before.members_of(container_id).next().is_none() {
        // An ADD may have been killed after it made the container's folder, or a DEL after it removed the member.
        leave_network(&locked, &delivery, container_id, &before.name, target.netns.as_deref())?;
        return Ok(locked.forget(&before.name, container_id, ifname)?);
    }
    leave(&locked, &delivery, &before, |member| member.is(container_id, ifname))
}

/// Takes the registry's lock to remove something; `None` where there is nothing. What is there without a state folder is of an
/// earlier boot, or of an ADD that has begun meanwhile and must not lose it: only the lock shows which.
fn lock(delivery: &Delivery, is_any: impl Fn() -> Result<bool, Error>) -> Result<Option<Locked>, Error> {
    match delivery.registry.lock_existing()? {
        None if is_any()? => Ok(Some(delivery.registry.lock()?)),
        locked => Ok(locked),
    }
}

/// Removes all attachments of the network that are not in the list of valid ones.
pub(crate) fn gc(request: &Request) -> Result<(), Error> {
    let Some(valid) = request.conf.valid_attachments()? else {
        return Ok(());
    };
    let delivery = Delivery::for_removal(&request.conf)?;
    let Some(locked) = lock(&delivery, || Ok(!delivery.delivered()?.is_empty()))? else {
        return Ok(());
    };
    let before = locked.network(request.conf.network.as_str())?;
    let name = before.name.clone();
    let is_valid = |container_id: &str, ifname: Option<&str>| {
        valid.iter().any(|(id, name)| {
            id.as_str() == container_id && ifname.is_none_or(|ifname| name.as_str() == ifname)
        })
    };
    // The list is that of one runtime, and another one may have containers on a network of this name: a member with a
    // process in its namespace stays.
    let found = NamespacesWithProcesses::read();
    let lives = |member: &Member| member.netns.as_deref().is_some_and(|netns| found.has(netns));
    let left = leave(&locked, &delivery, &before, |member| {
        !is_valid(&member.container_id, Some(&member.ifname)) && !lives(member)
    });
    let mut outcomes = vec![left];
    // Folders of ADDs that were killed before they changed the registry.
    let after = locked.network(&name)?;
    for container_id in locked.containers()? {
        let member = after.members_of(&container_id).next();
        if member.is_none() && !is_valid(&container_id, None) {
            outcomes.push(leave_network(&locked, &delivery, &container_id, &name, None));
        }
    }
    outcomes.push(delivery.sweep(&locked));
    outcomes.push(locked.remove_if_empty(&name).map_err(Error::from));
    Error::all(outcomes)
}

/// Takes members off a network, and their lines out of the hosts files of others.
fn leave(
    locked: &Locked,
    delivery: &Delivery,
    before: &Network,
    goes: impl Fn(&Member) -> bool,
) -> Result<(), Error> {
    let (gone, remaining): (Vec<Member>, Vec<Member>) = before.members.iter().cloned().partition(goes);
    if gone.is_empty() {
        return Ok(());
    }
    let mut after = Network { name: before.name.clone(), members: remaining, others: before.others.clone() };
    // An earlier version wrote the registry, which gave no slots.
    for tenant in gone.iter().map(Member::tenant) {
        if after.members.iter().any(|member| member.tenant() == tenant && member.slot.is_none()) {
            after = with_slots(after, tenant);
        }
    }
    let firewall = Firewall::new(before, &after, &gone);
    let closed = firewall.close();
    let settled = unsettle(locked, before, &after)?;
    let rewritten = View::new(locked, &after).rewrite_hosts(before, &settled, None);
    let cleaned = clean_up(locked, delivery, &after, &gone);
    let mut outcomes = vec![closed, rewritten];
    if outcomes.iter().all(Result::is_ok) {
        // Files of one container that cannot be removed do not keep the others: by its folder DEL and GC find them again. A
        // link whose source has left may mean another member now.
        outcomes.push(locked.change(before, &after).map_err(Error::from).and_then(|()| firewall.open()));
    }
    outcomes.push(cleaned);
    Error::all(outcomes)
}

/// Takes the containers of these members off a network that none of their interfaces is on any more. With a container's last
/// network go its files; where it has another one, they lose the lines of this one.
pub(crate) fn clean_up(
    locked: &Locked,
    delivery: &Delivery,
    after: &Network,
    gone: &[Member],
) -> Result<(), Error> {
    let is_gone = |member: &&Member| after.members_of(&member.container_id).next().is_none();
    Error::all(gone.iter().filter(is_gone).map(|member| {
        let container_id = member.container_id.as_str();
        leave_network(locked, delivery, container_id, &after.name, member.netns.as_deref())?;
        if locked.container(container_id)?.is_some() {
            let mut before = after.clone();
            gone.iter().cloned().for_each(|member| before.put(member));
            View::new(locked, after).knowing(&before).rewrite_hosts_of(container_id)?;
        }
        Ok(())
    }))
}

/// Takes a container off a network. With its last one goes what was delivered for it, before the list of that.
fn leave_network(
    locked: &Locked,
    delivery: &Delivery,
    container_id: &str,
    network: &str,
    netns: Option<&Path>,
) -> Result<(), Error> {
    let folder = locked.container(container_id)?;
    let others = folder.map(|folder| locked.other_networks_of(&folder, network)).transpose()?;
    if others.is_none_or(|others| others.is_empty()) {
        delivery.withdraw(locked, container_id, netns)?;
    }
    Ok(locked.leave(container_id, network)?)
}
