//! DEL and GC: removes what attachments have, past errors, by names that are derived and by what the kernel tells.

use std::net::IpAddr;

use cni::{Attachment, ContainerId, IfName, NetworkName, Request, Target};
use netlink::{Link, Namespace, Socket};

use crate::conf;
use crate::deputy::Removal;
use crate::error::Error;
use crate::hold::Alone;
use crate::{container, forward, gate, host, masquerade, names, spoof};

/// Removes an attachment. What is gone already counts as removed.
pub(crate) fn del(request: &Request, target: &Target) -> Result<(), cni::Error> {
    let conf = conf::Removal::new(request);
    let mut errors: Vec<cni::Error> = Vec::new();
    let mut keep = |outcome: Result<(), Error>| errors.extend(outcome.err().map(cni::Error::from));
    // Link and rules at the same time. The link before the address: nobody may use it any more when it is given back.
    let link = begin_link(target);
    let rules = del_rules(request, target, matches!(link, Ok(None)));
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
pub(crate) fn gc(request: &Request) -> Result<(), cni::Error> {
    let conf = conf::Removal::new(request);
    let (network, mut outcomes) = (&request.conf.network, Vec::new());
    if let Some(valid) = request.conf.valid_attachments()? {
        let host_interface = |(container_id, ifname): &(ContainerId, IfName)| {
            let (container_id, ifname) = (container_id.clone(), ifname.clone());
            names::host_interface(&Attachment { network: network.clone(), container_id, ifname })
        };
        let ports: Vec<String> = valid.iter().map(host_interface).collect();
        outcomes.push(gc_links(network, &conf, &ports));
        outcomes.push(gc_rules(network, &valid, &ports));
        outcomes.push(del_bridge(&conf));
    }
    let is_gone = outcomes.first().is_none_or(Result::is_ok);
    let mut errors: Vec<cni::Error> =
        outcomes.into_iter().filter_map(Result::err).map(cni::Error::from).collect();
    if is_gone {
        errors.extend(conf.ipam.gc(request).err());
    }
    cni::Error::all(errors)
}

/// Also what the configuration does not ask for any more: it may have when the container was added. Where the pair was not
/// made by this suite, or has gone, so may what guards its port.
fn del_rules(request: &Request, target: &Target, is_foreign: bool) -> Result<(), Error> {
    let mut rules = nftables::Socket::open_if_supported()?;
    let masquerade = masquerade::del(rules.as_mut(), &target.attachment, &addresses(request, target));
    let Some(socket) = &mut rules else { return masquerade };
    let port = names::host_interface(&target.attachment);
    let guard = spoof::del_all(socket, &port);
    let foreign = if is_foreign { spoof::reference::del(socket, &target.attachment) } else { Ok(()) };
    // Before the gate: nothing is to come in that it kept out.
    let forward = forward::del(socket, &port);
    gate::del(socket, &port).and(forward).and(guard).and(foreign).and(masquerade)
}

/// The host's end by its derived name, if it is there.
fn begin_link(target: &Target) -> Result<Option<Removal>, Error> {
    let link = Socket::open()?.get_link(&names::host_interface(&target.attachment))?;
    Ok(link.map(|link| Removal::begin(link.index)))
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

/// Removes what masquerades an attachment with these addresses.
pub(crate) fn del_masquerade(attachment: &Attachment, addresses: &[IpAddr]) -> Result<(), Error> {
    masquerade::del(nftables::Socket::open_if_supported()?.as_mut(), attachment, addresses)
}

/// Removes what guards the port of this name.
pub(crate) fn del_guard(port: &str) -> Result<(), Error> {
    spoof::del(&mut nftables::Socket::open()?, port)
}

/// Removes what holds the port of this name to its addresses.
pub(crate) fn del_binding(port: &str) -> Result<(), Error> {
    spoof::addresses::del(&mut nftables::Socket::open()?, port)
}

/// Takes back that other programs' chains are open for the port of this name.
pub(crate) fn del_forward(port: &str) -> Result<(), Error> {
    forward::del(&mut nftables::Socket::open()?, port)
}

/// Takes the port of this name off its bridge's gate.
pub(crate) fn del_gate(port: &str) -> Result<(), Error> {
    gate::del(&mut nftables::Socket::open()?, port)
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
            let is_left = match port.alias.as_deref() {
                Some(alias) => alias.starts_with(&prefix) && !valid.contains(&port.name),
                None => alone.is_some() && names::is_host_interface(&port.name),
            };
            if is_left {
                socket.del_link(port.index)?;
            }
        }
    }
    Ok(())
}

/// Removes the rules for a network's attachments that are not valid any more; `ports` are those that are.
fn gc_rules(network: &NetworkName, valid: &[(ContainerId, IfName)], ports: &[String]) -> Result<(), Error> {
    let mut rules = nftables::Socket::open_if_supported()?;
    masquerade::gc(rules.as_mut(), network, valid)?;
    let Some(rules) = &mut rules else { return Ok(()) };
    let is_gone = |port: &String| !ports.contains(port);
    for port in spoof::ports(rules, network)?.iter().filter(|port| is_gone(port)) {
        spoof::del(rules, port)?;
    }
    for port in spoof::addresses::ports(rules, network)?.iter().filter(|port| is_gone(port)) {
        spoof::addresses::del(rules, port)?;
    }
    spoof::reference::gc(rules, &mut Socket::open()?, valid)?;
    for port in forward::ports(rules, network)?.iter().filter(|port| is_gone(port)) {
        forward::del(rules, port)?;
    }
    for port in gate::ports(rules, network)?.iter().filter(|port| is_gone(port)) {
        gate::del(rules, port)?;
    }
    Ok(())
}
