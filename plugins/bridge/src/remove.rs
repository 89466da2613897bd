//! DEL and GC: removes what attachments have, past errors, by names that are derived and by what the kernel tells.

use std::net::IpAddr;

use cni::{Attachment, ContainerId, IfName, NetworkName, Request, Target};
use netlink::{Link, Namespace, NsidsWithProcesses, Socket};

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
    let link = begin_link(&conf, target);
    let rules = del_rules(request, target, &conf, matches!(link, Ok(None)));
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
    let ports = ports(network, &valid);
    outcomes.push(gc_links(network, &conf, &ports));
    outcomes.push(gc_rules(network, &conf, &valid, &ports));
    outcomes.push(del_bridge(&conf));
    let is_gone = outcomes.first().is_none_or(Result::is_ok);
    let mut errors: Vec<cni::Error> =
        outcomes.into_iter().filter_map(Result::err).map(cni::Error::from).collect();
    if is_gone {
        errors.extend(conf.ipam.gc(&request).err());
    }
    cni::Error::all(errors)
}

fn ports(network: &NetworkName, attachments: &[(ContainerId, IfName)]) -> Vec<String> {
    let host_interface = |(container_id, ifname): &(ContainerId, IfName)| {
        let (container_id, ifname) = (container_id.clone(), ifname.clone());
        names::host_interface(&Attachment { network: network.clone(), container_id, ifname })
    };
    attachments.iter().map(host_interface).collect()
}

/// The attachments of a network, besides the valid ones, whose container has a process.
fn inhabited(
    network: &NetworkName,
    valid: &[(ContainerId, IfName)],
) -> Result<Vec<(ContainerId, IfName)>, Error> {
    let known = ports(network, valid);
    let mut socket = Socket::open()?;
    let mut links = socket.links()?;
    links.retain(|link| names::is_of_network(network, link) && !known.contains(&link.name));
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let inhabited = NsidsWithProcesses::read(&mut socket)?;
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

/// Also what the configuration does not ask for any more: it may have when the container was added. Where the pair was not
/// made by this suite, or has gone, so may what guards its port.
fn del_rules(
    request: &Request,
    target: &Target,
    conf: &conf::Removal,
    is_foreign: bool,
) -> Result<(), Error> {
    let mut rules = nftables::Socket::open_if_supported()?;
    let masquerade = masquerade::del(rules.as_mut(), &target.attachment, &addresses(request, target));
    let Some(socket) = &mut rules else { return masquerade };
    let port = names::host_interface(&target.attachment);
    let guard = spoof::del_all(socket, &port);
    let foreign = if is_foreign { spoof::reference::del(socket, &target.attachment) } else { Ok(()) };
    // Before the gate: nothing is to come in that it kept out.
    let forward = forward::del(socket, &port);
    let gate = gate::del(socket, &port).and(tidy_gate(socket, Some(&port), conf));
    gate.and(forward).and(guard).and(foreign).and(masquerade)
}

/// Removes what is left of a gate whose members somebody flushed.
fn tidy_gate(socket: &mut nftables::Socket, port: Option<&str>, conf: &conf::Removal) -> Result<(), Error> {
    let (true, Ok(bridge)) = (conf.has_gate, &conf.bridge) else { return Ok(()) };
    gate::tidy(socket, port, conf.vlan_gateway.as_ref().map_or(bridge, |device| &device.name).as_str())
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

/// Removes the rules for a network's attachments that are not valid any more; `ports` are those that are.
fn gc_rules(
    network: &NetworkName,
    conf: &conf::Removal,
    valid: &[(ContainerId, IfName)],
    ports: &[String],
) -> Result<(), Error> {
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
    tidy_gate(rules, None, conf)
}
