//! DEL and GC: removes what attachments have, past errors, by names that are derived and by what the kernel tells.

use std::net::IpAddr;

use cni::{ContainerId, IfName, NetworkName, Request, Target};
use netlink::{Inhabited, Link, Namespace, Socket};

use crate::conf;
use crate::deputy::Removal;
use crate::error::Error;
use crate::filter::{self, Leftover};
use crate::hold::Alone;
use crate::{container, host, names};

/// Removes an attachment. What is gone already counts as removed.
pub(crate) fn del(request: &Request, target: &Target) -> Result<(), cni::Error> {
    let conf = conf::Removal::new(request);
    let mut errors: Vec<cni::Error> = Vec::new();
    let mut keep = |outcome: Result<(), Error>| errors.extend(outcome.err().map(cni::Error::from));
    // Link and rules at the same time. The link before the address: nobody may use it any more when it is given back.
    let link = begin_link(&conf, target);
    let rules = filter::take(Leftover {
        attachment: &target.attachment,
        addresses: &addresses(request, target),
        is_foreign: matches!(link, Ok(None)),
        gated: conf.gated(),
    });
    let link = link.and_then(|link| finish_link(target, link));
    // Where the interface is still there, so is what uses the address: the DEL that removes the one gives the other back.
    let is_gone = link.is_ok();
    keep(link);
    keep(rules);
    if is_gone {
        keep(conf.ipam.del(request, target).map_err(Error::from));
    }
    keep(del_bridge(&conf));
    cni::Error::all(errors)
}

/// The attachment's addresses, where the runtime still tells them.
fn addresses(request: &Request, target: &Target) -> Vec<IpAddr> {
    let ifname = target.ifname().as_str();
    let result = request.conf.prev_result.iter();
    result.flat_map(|result| result.container_ips(ifname)).map(|ip| ip.address.ip()).collect()
}

/// Removes what attachments left that are not valid any more. What uses an address goes before it, as in DEL.
///
/// The runtime's list is its own: another one may have containers on a network of this name. So what leads to a process
/// stays, whatever the list says, and IPAM is told so.
pub(crate) fn gc(request: &Request) -> Result<(), cni::Error> {
    let conf = conf::Removal::new(request);
    let (network, mut outcomes) = (&request.conf.network, Vec::new());
    let Some(mut valid) = request.conf.valid_attachments()? else { return conf.ipam.gc(request) };
    valid.extend(inhabited(network, &valid)?);
    let request = Request { conf: request.conf.with_valid_attachments(&valid), ..request.clone() };
    let ports = names::host_interfaces(network, &valid);
    outcomes.push(gc_links(network, &conf, &ports));
    outcomes.push(filter::gc(network, &valid, conf.gated()));
    outcomes.push(del_bridge(&conf));
    let is_gone = outcomes.first().is_none_or(Result::is_ok);
    let mut errors: Vec<cni::Error> =
        outcomes.into_iter().filter_map(Result::err).map(cni::Error::from).collect();
    if is_gone {
        errors.extend(conf.ipam.gc(&request).err());
    }
    cni::Error::all(errors)
}

/// The attachments of a network, besides the valid ones, whose container has a process.
fn inhabited(
    network: &NetworkName,
    valid: &[(ContainerId, IfName)],
) -> Result<Vec<(ContainerId, IfName)>, Error> {
    let known = names::host_interfaces(network, valid);
    let mut socket = Socket::open()?;
    let mut links = socket.links()?;
    links.retain(|link| names::is_of_network(network, link) && !known.contains(&link.name));
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let inhabited = Inhabited::read(&mut socket)?;
    let mut living = Vec::new();
    for link in links.iter().filter(|link| inhabited.is_behind(link)) {
        let Some(attachment) = names::attachment_of(network, link) else {
            return Err(Error::Passing(format!(
                "link {} leads to a process, and has no room for the whole ID of its container: nothing of network {network} is \
                removed while it is there",
                link.name
            )));
        };
        living.push((attachment.container_id, attachment.ifname));
    }
    Ok(living)
}

/// The host's end by its derived name, if it is there and is what an ADD made.
fn begin_link(conf: &conf::Removal, target: &Target) -> Result<Option<Removal>, Error> {
    let mut socket = Socket::open()?;
    match socket.get_link(&names::host_interface(&target.attachment))? {
        Some(link) if is_own(&mut socket, &link, conf, target)? => Ok(Some(Removal::begin(link.index))),
        _ => Ok(None),
    }
}

/// Whether a link of the derived name is the attachment's: by its alias; where it has none, as an ADD that was killed
/// leaves it, a port of the bridge whose other end is in another namespace; where somebody gave it another one, the other
/// end of the container's interface. Anybody may have a link of that name for himself, which stays.
fn is_own(socket: &mut Socket, link: &Link, conf: &conf::Removal, target: &Target) -> Result<bool, Error> {
    if link.kind.as_deref() != Some("veth") {
        return Ok(false);
    }
    match &link.alias {
        Some(alias) if *alias == names::alias(&target.attachment) => return Ok(true),
        None if link.peer_netns.is_some() => {
            // Where nobody can say which bridge it is, that it is a port tells enough.
            let Some(master) = link.master else { return Ok(false) };
            let Ok(bridge) = &conf.bridge else { return Ok(true) };
            let master = socket.get_link_by_index(master)?;
            return Ok(master.is_some_and(|master| master.name == bridge.as_str()));
        }
        _ => {}
    }
    let Some(inside) = target.netns.as_deref().map(Namespace::open_if_present).transpose()?.flatten() else {
        return Ok(false);
    };
    let inner = inside.socket()?.get_link(target.ifname().as_str())?;
    Ok(inner.is_some_and(|inner| {
        inner.peer_index == Some(link.index)
            && link.peer_index == Some(inner.index)
            && inner.peer_netns.is_some()
    }))
}

/// Failing the host's end, the container's, where another program made the pair.
fn finish_link(target: &Target, begun: Option<Removal>) -> Result<(), Error> {
    if let Some(begun) = begun {
        return begun.finish(&mut Socket::open()?);
    }
    // A namespace that cannot be opened any more has taken the interface with it.
    let Some(path) = target.netns.as_deref() else { return Ok(()) };
    if let Some(namespace) = Namespace::open_if_present(path)? {
        let mut socket = Socket::open()?;
        container::remove(&namespace, target.ifname().as_str(), |inner| is_of_another(&mut socket, inner))?;
    }
    Ok(())
}

/// Whether a container's end leads to an interface of ours on this host: then, the one of the own name being gone, it is
/// another attachment's. Its namespace has got the path that a former one had, as after a reboot.
fn is_of_another(socket: &mut Socket, inner: &Link) -> Result<bool, Error> {
    let Some(index) = inner.peer_index else { return Ok(false) };
    let outer = socket.get_link_by_index(index)?;
    Ok(outer
        .is_some_and(|outer| names::is_host_interface(&outer.name) && outer.peer_index == Some(inner.index)))
}

/// The bridge of a name that nobody can have given stays, where there is one: no attachment is left by that.
fn del_bridge(conf: &conf::Removal) -> Result<(), Error> {
    let Ok(bridge) = &conf.bridge else { return Ok(()) };
    let (name, gateway) = (bridge.as_str(), conf.vlan_gateway.as_ref());
    host::remove_bridge_if_unused(&Namespace::current()?, &mut Socket::open()?, name, gateway)
}

/// Removes the links of a network's attachments that are not valid any more.
fn gc_links(network: &NetworkName, conf: &conf::Removal, valid: &[String]) -> Result<(), Error> {
    let mut socket = Socket::open()?;
    // Without its name nobody can say what is left on it.
    let bridge = conf.bridge.as_ref().map_err(|error| crate::conf::config(&error.to_string(), ""))?;
    if let Some(link) = socket.get_link(bridge.as_str())? {
        let prefix = names::alias_prefix(network);
        // A port of ours without an alias is one whose ADD was killed before it could give it, unless an ADD is at it:
        // that one holds the lock.
        let alone = Alone::take(&Namespace::current()?, bridge.as_str())?;
        for port in socket.ports(link.index)? {
            let is_left = if let Some(alias) = port.alias.as_deref() {
                alias.starts_with(&prefix) && !valid.contains(&port.name)
            } else {
                let is_pair = port.kind.as_deref() == Some("veth") && port.peer_netns.is_some();
                alone.is_some() && is_pair && names::is_host_interface(&port.name)
            };
            if is_left {
                socket.del_link(port.index)?;
            }
        }
    }
    Ok(())
}
