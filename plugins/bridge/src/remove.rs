//! DEL and GC: removes what attachments have, past errors, by derived names and by what the kernel has.

use std::net::IpAddr;

use cni::{Command, Request, Target};
use netlink::{Namespace, Socket};

use crate::conf;
use crate::error::{Error, Result};
use crate::filter::{self, Leftover};
use crate::names;
use crate::parts::bridge;
use crate::parts::veth::removal;

/// Removes an attachment. What is gone already counts as removed.
pub(crate) fn del(request: &Request, target: &Target) -> Result<(), cni::Error> {
    let conf = conf::Removal::new(request);
    let mut errors: Vec<cni::Error> = Vec::new();
    let mut keep = |outcome: Result<()>| errors.extend(outcome.err().map(cni::Error::from));
    // Link and rules at the same time. The link before the address: it must be unused when it is given back.
    let link = removal::begin(&conf, target);
    let rules = filter::take(Leftover {
        attachment: &target.attachment,
        masqueraded: Some(&addresses(request, target)),
        is_foreign: matches!(link, Ok(None)),
        gated: conf.gated(),
    });
    let link = link.and_then(|link| removal::finish(target, link));
    // Where the interface is still there, so is what uses the address: the DEL that removes the one gives the other back.
    let is_gone = link.is_ok();
    keep(link);
    keep(rules);
    if is_gone {
        keep(conf.ipam.call(Command::Del, request, Some(target)).map(drop).map_err(Error::from));
    }
    keep(del_bridge(&conf));
    cni::Error::all(errors)
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
    let conf = conf::Removal::new(request);
    let (network, mut outcomes) = (&request.conf.network, Vec::new());
    let Some(mut valid) = request.conf.valid_attachments()? else {
        return conf.ipam.call(Command::Gc, request, None).map(drop);
    };
    valid.extend(removal::inhabited(network, &valid)?);
    let request = Request { conf: request.conf.with_valid_attachments(&valid), ..request.clone() };
    let ports = names::host_interfaces(network, &valid);
    outcomes.push(removal::gc(network, &conf, &ports));
    outcomes.push(filter::gc(network, &valid, conf.gated()));
    outcomes.push(del_bridge(&conf));
    let is_gone = outcomes.first().is_none_or(Result::is_ok);
    let mut errors: Vec<cni::Error> =
        outcomes.into_iter().filter_map(Result::err).map(cni::Error::from).collect();
    if is_gone {
        errors.extend(conf.ipam.call(Command::Gc, &request, None).err());
    }
    cni::Error::all(errors)
}

/// Without a valid name of the bridge there is nothing to do: no ADD can have succeeded with that configuration.
fn del_bridge(conf: &conf::Removal) -> Result<()> {
    let Ok(bridge) = &conf.bridge else { return Ok(()) };
    let (name, gateway) = (bridge.as_str(), conf.vlan_gateway.as_ref());
    bridge::remove_if_unused(&Namespace::current()?, &mut Socket::open()?, name, gateway)
}
