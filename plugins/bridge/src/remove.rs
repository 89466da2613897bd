//! DEL and GC: removes what attachments have, past errors, by derived names and by what the kernel has.

use std::net::IpAddr;

use cni::{Command, Request, Target};
use netlink::Socket;

use crate::conf;
use crate::error::{Error, Result};
use crate::filter::{self, Leftover};
use crate::names;
use crate::parts::bridge;
use crate::parts::veth::removal;

/// Removes an attachment. What is gone already counts as removed.
pub(crate) fn del(request: &Request, target: &Target) -> Result<(), cni::Error> {
    let conf = conf::Lenient::new(request);
    let mut socket = Socket::open().map_err(Error::from)?;
    // Link and rules at the same time. The link before the address: it must be unused when it is given back.
    let link = removal::begin(&mut socket, &conf, target);
    let addresses = addresses(request, target);
    let leftover = Leftover {
        attachment: &target.attachment,
        masqueraded: Some(&addresses),
        is_foreign: matches!(link, Ok(None)),
        gated: conf.gated(),
    };
    let (rules, mut filter_socket) = filter::take(leftover);
    let link = link.and_then(|link| removal::finish(&mut socket, target, link));
    let rules = rules.and(filter_socket.as_mut().map_or(Ok(()), |it| filter::take_again(it, leftover)));
    // Where the interface is still there, so is what uses the address: the DEL that removes the one gives the other back.
    let lease = if link.is_ok() { release(&conf, Command::Del, request, Some(target)) } else { Ok(()) };
    let bridge = del_bridge(&mut socket, &conf);
    // Closed where the process that removes the link can keep it: that one has begun by now.
    drop(filter_socket);
    all([link, rules, lease, bridge])
}

/// The attachment's addresses, where `prevResult` still has them.
fn addresses(request: &Request, target: &Target) -> Vec<IpAddr> {
    let ifname = target.ifname().as_str();
    let result = request.conf.prev_result.iter();
    result.flat_map(|result| result.container_ips(ifname)).map(|ip| ip.address.ip()).collect()
}

/// Removes what attachments left that are not valid any more. What uses an address goes before it, as in DEL.
///
/// The runtime's list is its own: another one may have containers on a network of this name. So what leads to a process
/// stays, whatever the list says, and IPAM gets a list with it.
pub(crate) fn gc(request: &Request) -> Result<(), cni::Error> {
    let conf = conf::Lenient::new(request);
    let network = &request.conf.network;
    let Some(mut valid) = request.conf.valid_attachments()? else {
        return Ok(release(&conf, Command::Gc, request, None)?);
    };
    let mut socket = Socket::open().map_err(Error::from)?;
    valid.extend(removal::inhabited(&mut socket, network, &valid)?);
    let request = Request { conf: request.conf.with_valid_attachments(&valid), ..request.clone() };
    let links = removal::gc(&mut socket, network, &conf, &names::host_interfaces(network, &valid));
    let rules = filter::gc(network, &valid, conf.gated());
    let bridge = del_bridge(&mut socket, &conf);
    let lease = if links.is_ok() { release(&conf, Command::Gc, &request, None) } else { Ok(()) };
    all([links, rules, bridge, lease])
}

/// All failures in one.
fn all(outcomes: impl IntoIterator<Item = Result<()>>) -> Result<(), cni::Error> {
    cni::Error::all(outcomes.into_iter().filter_map(Result::err).map(cni::Error::from).collect())
}

/// Gives addresses back.
fn release(conf: &conf::Lenient, verb: Command, request: &Request, target: Option<&Target>) -> Result<()> {
    Ok(conf.ipam.call(verb, request, target).map(drop)?)
}

/// Without a valid name of the bridge there is nothing to do: no ADD can have succeeded with that configuration.
fn del_bridge(socket: &mut Socket, conf: &conf::Lenient) -> Result<()> {
    let Ok(bridge) = &conf.bridge else { return Ok(()) };
    let (name, gateway) = (bridge.as_str(), conf.vlan_gateway.as_ref());
    bridge::remove_if_unused(socket, name, gateway, conf.is_synchronous)
}
