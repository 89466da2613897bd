//! DEL and GC: removes what attachments have, past errors. Links are in the containers' namespaces: where one has gone, so has
//! its link.

use std::net::IpAddr;

use cni::{Command, ContainerId, IfName, NetworkName, Request, Target, links};
use interface::{ALIAS_MAX, Ipam};
use netlink::{FoundNamespace, Link, Namespace, Socket};
use serde_json::Value;

use crate::conf::Family;
use crate::error::{Error, Result};
use crate::host_access::{self, HostAccess};
use crate::{link, names};

/// `EPERM` and `EACCES` (asm-generic/errno-base.h).
const EPERM: i32 = 1;
const EACCES: i32 = 13;

/// Removes an attachment. What is gone already counts as removed.
pub(crate) fn del(family: Family, request: &Request, target: &Target) -> Result<(), cni::Error> {
    let reached = reached(family, request, target);
    let link = remove_link(family, request, target);
    // Before the address is given back: the next container with it has a route of its own.
    let access = reached.as_deref().map_or(Ok(()), |addresses| close(request, Some(addresses)));
    // Where the interface is still there, so is what uses the address: the DEL that removes the one gives the other back.
    let lease = if link.is_ok() { release(Command::Del, request, Some(target)) } else { Ok(()) };
    let left = if reached.is_none() { close(request, None) } else { Ok(()) };
    all([link, access, lease, left])
}

/// The container's addresses, where the host may have routes to them: by the previous result, or as long as the interface is there.
fn reached(family: Family, request: &Request, target: &Target) -> Option<Vec<IpAddr>> {
    if !has_host_access(request) {
        return None;
    }
    let result = request.conf.prev_result.iter();
    let told = result.flat_map(|result| result.container_ips(target.ifname().as_str()));
    let told: Vec<IpAddr> = told.map(|ip| ip.address.ip()).collect();
    if !told.is_empty() {
        return Some(told);
    }
    let container = Namespace::open_if_present(target.netns.as_deref()?).ok()??;
    let link = link::find(&mut container.socket().ok()?, family, &target.attachment).ok()??;
    host_access::addresses_of(&container, &link).ok()
}

/// Takes the host's routes to a container back; where its addresses are not known, those to addresses that are not leased any
/// more.
fn close(request: &Request, reached: Option<&[IpAddr]>) -> Result<()> {
    if !has_host_access(request) {
        return Ok(());
    }
    let access = HostAccess::of(&request.conf.network);
    let mut host = Socket::open()?;
    match reached {
        Some(addresses) => access.remove(&mut host, addresses),
        None => match Ipam::of_removal(&request.conf).leased(request)? {
            Some(leased) => access.retain(&mut host, |address| leased.contains(&address)),
            None => Ok(()),
        },
    }
}

fn has_host_access(request: &Request) -> bool {
    request.conf.value(&["hostAccess"]) == Some(&Value::Bool(true))
}

fn remove_link(family: Family, request: &Request, target: &Target) -> Result<()> {
    let Some(path) = target.netns.as_deref() else { return Ok(()) };
    let Some(container) = Namespace::open_if_present(path)? else { return Ok(()) };
    let mut inside = container.socket()?;
    match link::find(&mut inside, family, &target.attachment)? {
        Some(found) => link::remove(&container, &mut inside, found.index, is_synchronous(request)),
        None => Ok(()),
    }
}

/// Removes what attachments left that are not valid any more. What uses an address goes before it, as in DEL.
///
/// The runtime's list is its own: another one may have containers on a network of this name. So what is in a namespace with a
/// process stays, whatever the list says, and IPAM gets a list with it. That includes what an ADD left unfinished there.
pub(crate) fn gc(family: Family, request: &Request) -> Result<(), cni::Error> {
    let Some(mut valid) = request.conf.valid_attachments()? else {
        return Ok(release(Command::Gc, request, None)?);
    };
    let mut links = Ok(());
    for found in FoundNamespace::all().map_err(Error::from)? {
        let outcome = clear(family, &request.conf.network, &found, &mut valid);
        links = links.and(outcome);
    }
    let request = Request { conf: request.conf.with_valid_attachments(&valid), ..request.clone() };
    let lease = if links.is_ok() { release(Command::Gc, &request, None) } else { Ok(()) };
    let access = close(&request, None);
    all([links, lease, access])
}

/// Removes the network's links from a namespace that has no process; of one that has, notes whose they are.
fn clear(
    family: Family,
    network: &NetworkName,
    namespace: &FoundNamespace,
    valid: &mut Vec<(ContainerId, IfName)>,
) -> Result<()> {
    let mut inside = match namespace.namespace.socket() {
        // Another user's.
        Err(error) if error.errno().is_some_and(|errno| [EPERM, EACCES].contains(&errno)) => return Ok(()),
        outcome => outcome?,
    };
    let mut found = inside.links()?;
    found.retain(|link| link.kind.as_deref() == Some(family.kind()) && is_of(network, link));
    let is_inhabited = namespace.has_process;
    for link in found {
        let named = link.alias.as_deref().and_then(|alias| named_by(network, alias));
        match named {
            Some(attachment) if valid.contains(&attachment) => {}
            Some(attachment) if is_inhabited => valid.push(attachment),
            None if is_inhabited && link.alias.is_some() => {
                return Err(Error::Transient(format!(
                    "link {} is in a namespace with a process, and has no room for the whole ID of its container: nothing of \
                    network {network} is removed while it is there",
                    link.name
                )));
            }
            None if is_inhabited => {}
            _ => {
                inside.del_link(link.index)?;
            }
        }
    }
    Ok(())
}

/// Whether a link is one of the network's, or one that an ADD did not finish.
fn is_of(network: &NetworkName, link: &Link) -> bool {
    let alias = link.alias.as_deref();
    links::is_of_network(network, alias) || (alias.is_none() && names::is_unfinished(&link.name))
}

/// Whose an alias is, where it had room to say so.
fn named_by(network: &NetworkName, alias: &str) -> Option<(ContainerId, IfName)> {
    let attachment = links::named_by(network, alias).filter(|_| alias.len() < ALIAS_MAX)?;
    Some((attachment.container_id, attachment.ifname))
}

/// All failures in one.
fn all(outcomes: impl IntoIterator<Item = Result<()>>) -> Result<(), cni::Error> {
    cni::Error::all(outcomes.into_iter().filter_map(Result::err).map(cni::Error::from).collect())
}

/// Gives addresses back.
fn release(verb: Command, request: &Request, target: Option<&Target>) -> Result<()> {
    Ok(Ipam::of_removal(&request.conf).call(verb, request, target).map(drop)?)
}

/// Whether DEL waits until the kernel has freed the link, so that no process outlives it.
fn is_synchronous(request: &Request) -> bool {
    request.conf.value(&["synchronousDel"]) == Some(&Value::Bool(true))
}
