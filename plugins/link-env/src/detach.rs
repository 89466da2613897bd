//! DEL and GC: leaving a network. Keyed by container ID, interface and network alone; what is gone already counts as
//! removed.
//!
//! The registry is saved last: whatever kills the process, the next DEL or GC still finds the member and repeats all.

use std::path::Path;

use cni::{Inhabited, Request, Target};
use registry::{Locked, Member, Network};

use crate::delivery::Delivery;
use crate::error::Error;
use crate::firewall::Firewall;
use crate::neighbourhood;
use crate::view::{self, View};

/// Removes one attachment.
pub(crate) fn del(request: &Request, target: &Target) -> Result<(), Error> {
    let delivery = Delivery::for_removal(&request.conf);
    let (container_id, ifname) = (target.container_id().as_str(), target.ifname().as_str());
    let Some(locked) = delivery.registry().lock_existing()? else {
        return delivery.withdraw(None, container_id, target.netns.as_deref());
    };
    let before = locked.around(request.conf.network.as_str(), &[container_id], None)?;
    if before.member(container_id, ifname).is_none() && before.members_of(container_id).next().is_none() {
        // An ADD may have been killed between the container's folder and the registry, or a DEL behind the member.
        leave_network(&locked, &delivery, container_id, &before.name, target.netns.as_deref())?;
        return Ok(locked.forget(&before.name, container_id, ifname)?);
    }
    leave(&locked, &delivery, &before, |member| member.is(container_id, ifname))
}

/// Removes all attachments of the network that are not in the list of valid ones.
pub(crate) fn gc(request: &Request) -> Result<(), Error> {
    let Some(valid) = request.conf.valid_attachments()? else {
        return Ok(());
    };
    let delivery = Delivery::for_removal(&request.conf);
    let Some(locked) = delivery.registry().lock_existing()? else {
        return delivery.sweep(None);
    };
    let before = locked.network(request.conf.network.as_str())?;
    let name = before.name.clone();
    let is_valid = |container_id: &str, ifname: Option<&str>| {
        valid.iter().any(|(id, name)| {
            id.as_str() == container_id && ifname.is_none_or(|ifname| name.as_str() == ifname)
        })
    };
    let mut failures = Vec::new();
    // A runtime's list is its own: another one may have containers on a network of this name. Who has a process stays.
    let inhabited = Inhabited::read();
    let lives = |member: &Member| member.netns.as_deref().is_some_and(|netns| inhabited.has(netns));
    let left = leave(&locked, &delivery, &before, |member| {
        !is_valid(&member.container_id, Some(&member.ifname)) && !lives(member)
    });
    failures.extend(left.err().map(cni::Error::from));
    // Folders of ADDs that were killed before they came to the registry.
    let after = locked.network(&name)?;
    for container_id in locked.containers()? {
        let member = after.members_of(&container_id).next();
        if member.is_none() && !is_valid(&container_id, None) {
            let left = leave_network(&locked, &delivery, &container_id, &name, None);
            failures.extend(left.err().map(cni::Error::from));
        }
    }
    failures.extend(delivery.sweep(Some(&locked)).err().map(cni::Error::from));
    failures.extend(locked.remove_if_empty(&name).map_err(|error| Error::from(error).into()).err());
    Ok(cni::Error::all(failures)?)
}

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
    // A version before wrote it.
    for tenant in gone.iter().map(Member::tenant) {
        if after.members.iter().any(|member| member.tenant() == tenant && member.slot.is_none()) {
            after = neighbourhood::with_slots(after, tenant);
        }
    }
    let firewall = Firewall::new(before, &after, &gone);
    let closed = firewall.close();
    let settled = view::unsettle(locked, before, &after)?;
    let rewritten = View::new(locked, &after).rewrite_hosts(before, &settled, None);
    let cleaned = clean_up(locked, delivery, &after, &gone);
    let mut failures: Vec<cni::Error> =
        [closed, rewritten].into_iter().filter_map(Result::err).map(cni::Error::from).collect();
    if failures.is_empty() {
        // One whose files cannot be removed must not keep the others: its folder leads DEL and GC to them again. A link whose
        // source has gone may mean another member now.
        let changed = locked.change(before, &after).map_err(Error::from).and_then(|()| firewall.open());
        failures.extend(changed.err().map(cni::Error::from));
    }
    failures.extend(cleaned.err().map(cni::Error::from));
    Ok(cni::Error::all(failures)?)
}

/// Takes members' containers off a network where none of their interfaces is on it any more: their files go with
/// their last network, and lose this network's lines where there is another one.
pub(crate) fn clean_up(
    locked: &Locked,
    delivery: &Delivery,
    after: &Network,
    gone: &[Member],
) -> Result<(), Error> {
    let mut failures: Vec<cni::Error> = Vec::new();
    for member in gone {
        let container_id = member.container_id.as_str();
        if after.members_of(container_id).next().is_some() {
            continue;
        }
        let clean = || -> Result<(), Error> {
            leave_network(locked, delivery, container_id, &after.name, member.netns.as_deref())?;
            if locked.container(container_id)?.is_some() {
                let mut before = after.clone();
                gone.iter().cloned().for_each(|member| before.put(member));
                View::new(locked, after).knowing(&before).rewrite_hosts_of(container_id)?;
            }
            Ok(())
        };
        failures.extend(clean().err().map(cni::Error::from));
    }
    Ok(cni::Error::all(failures)?)
}

/// Takes a container off a network. With its last one goes what was put elsewhere for it, before the list of that.
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
        delivery.withdraw(Some(locked), container_id, netns)?;
    }
    Ok(locked.leave(container_id, network)?)
}
