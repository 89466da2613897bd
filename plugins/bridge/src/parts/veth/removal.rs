//! The removal of pairs: of one attachment's, and of those that attachments left which are not valid any more.

use cni::{ContainerId, IfName, NetworkName, Target};
use interface::Removal;
use netlink::{Link, Namespace, NsidsWithProcesses, Socket};

use crate::bridge_lock::Exclusive;
use crate::conf;
use crate::error::{Error, Result, config};
use crate::names;

/// The host's end by its derived name, if it is there and is what an ADD made.
pub(crate) fn begin(socket: &mut Socket, conf: &conf::Lenient, target: &Target) -> Result<Option<Removal>> {
    match socket.get_link(&target.attachment.host_interface())? {
        Some(link) if is_own(socket, &link, conf, target)? => {
            Ok(Some(Removal::begin(link.index, conf.is_synchronous)))
        }
        _ => Ok(None),
    }
}

/// Whether a link of the derived name is the attachment's: by its alias; where it has none, as an ADD that was killed
/// leaves it, a port of the bridge whose other end is in another namespace; where it was given another one, the other
/// end of the container's interface. Another program's link of that name stays.
fn is_own(socket: &mut Socket, link: &Link, conf: &conf::Lenient, target: &Target) -> Result<bool> {
    if link.kind.as_deref() != Some("veth") {
        return Ok(false);
    }
    match &link.alias {
        Some(alias) if *alias == interface::alias(&target.attachment) => return Ok(true),
        None if link.peer_netns.is_some() => {
            // Where the bridge's name is not known, it is enough that it is a port.
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

/// Failing the host's end, the container's, where another program made the pair. Anything but a veth was not made by a bridge
/// plugin and stays.
pub(crate) fn finish(socket: &mut Socket, target: &Target, begun: Option<Removal>) -> Result<()> {
    if let Some(begun) = begun {
        return Ok(begun.finish(socket)?);
    }
    // A namespace that cannot be opened any more has taken the interface with it.
    let Some(path) = target.netns.as_deref() else { return Ok(()) };
    let Some(namespace) = Namespace::open_if_present(path)? else { return Ok(()) };
    let mut inside = namespace.socket()?;
    if let Some(inner) = inside.get_link(target.ifname().as_str())?
        && inner.kind.as_deref() == Some("veth")
        && !is_of_another(socket, &inner)?
    {
        inside.del_link(inner.index)?;
    }
    Ok(())
}

/// Whether a container's end leads to an interface of ours on this host: then, the one of the own name being gone, it is
/// another attachment's. Its namespace has the path that an earlier one had, as after a reboot.
fn is_of_another(socket: &mut Socket, inner: &Link) -> Result<bool> {
    let Some(index) = inner.peer_index else { return Ok(false) };
    let outer = socket.get_link_by_index(index)?;
    Ok(outer
        .is_some_and(|outer| names::is_host_interface(&outer.name) && outer.peer_index == Some(inner.index)))
}

/// Removes the links of a network's attachments that are not valid any more.
pub(crate) fn gc(
    socket: &mut Socket,
    network: &NetworkName,
    conf: &conf::Lenient,
    valid: &[String],
) -> Result<()> {
    // Without its name nothing on it can be found.
    let bridge = conf.bridge.as_ref().map_err(|error| config(error.to_string(), ""))?;
    if let Some(link) = socket.get_link(bridge.as_str())? {
        // A port of ours without an alias is one whose ADD was killed before it could give it, unless an ADD is at it:
        // that one holds the lock.
        let alone = Exclusive::take(bridge.as_str())?;
        for port in socket.ports(link.index)? {
            let is_left = if port.alias.is_some() {
                names::is_of_network(network, &port) && !valid.contains(&port.name)
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

/// The attachments of a network, besides the valid ones, whose container has a process.
pub(crate) fn inhabited(
    socket: &mut Socket,
    network: &NetworkName,
    valid: &[(ContainerId, IfName)],
) -> Result<Vec<(ContainerId, IfName)>> {
    let known = names::host_interfaces(network, valid);
    let mut links = socket.links()?;
    links.retain(|link| names::is_of_network(network, link) && !known.contains(&link.name));
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let inhabited = NsidsWithProcesses::read(socket)?;
    let mut living = Vec::new();
    for link in links.iter().filter(|link| inhabited.is_behind(link)) {
        let Some(attachment) = names::attachment_of(network, link) else {
            return Err(Error::Transient(format!(
                "link {} leads to a process, and has no room for the whole ID of its container: nothing of network {network} is \
                removed while it is there",
                link.name
            )));
        };
        living.push((attachment.container_id, attachment.ifname));
    }
    Ok(living)
}
