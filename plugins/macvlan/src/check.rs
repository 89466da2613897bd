//! CHECK: what ADD set up against what there is. Differences are named; what a later plugin of the chain may change
//! is taken from the previous result, which that plugin has amended.

use cni::{AddResult, Command, Interface, Request, Target};
use interface::{Observed, observe};
use netlink::{Link, Namespace, Socket, UpperKind};

use crate::conf::{Conf, Family};
use crate::error::{Error, Result, differs};
use crate::host_access::HostAccess;
use crate::link::mode;
use crate::plan::Plan;

/// Compares an attachment with its previous result and the configuration.
pub(crate) fn check(family: Family, request: &Request, target: &Target) -> Result<(), cni::Error> {
    let conf = Conf::new(family, request, Some(target))?;
    let result = request.conf.require_prev_result()?;
    conf.ipam.call(Command::Check, request, Some(target))?;
    let ifname = target.ifname().as_str();
    let plan = Plan::of_existing(&conf, result, ifname)?;
    let container = Namespace::open(target.netns()?).map_err(Error::from)?;
    let found = observe(&container, ifname, &plan.tables()).map_err(Error::from)?;
    let found = found.ok_or_else(|| Error::Differs(format!("the container has no interface {ifname}")))?;
    link(&conf, &found.link, container_interface(result, target)?)?;
    addresses(&found, &plan)?;
    let master = master(&conf, &found.link, &container)?;
    if conf.host_access {
        let addresses = plan.addresses().map(|address| address.ip());
        let mut host = Socket::open().map_err(Error::from)?;
        HostAccess::of(&target.attachment.network).check(&mut host, &master, addresses)?;
    }
    Ok(())
}

/// Compares the interface itself.
fn link(conf: &Conf, found: &Link, expected: &Interface) -> Result<()> {
    let (name, kind) = (&found.name, conf.family.kind());
    if found.kind.as_deref() != Some(kind) {
        return differs(format!("the container's interface {name} is no {kind}"));
    }
    let wanted = mode(&conf.kind);
    match &found.upper {
        Some(upper) if mode(upper) != wanted => {
            return differs(format!("interface {name} is in mode {}, and not {wanted}", mode(upper)));
        }
        None => return differs(format!("interface {name} is not in mode {wanted}")),
        Some(_) => {}
    }
    if !found.up {
        return differs(format!("link {name} is down"));
    }
    if let Some(mtu) = conf.mtu.filter(|mtu| *mtu != found.mtu) {
        return differs(format!("interface {name} has MTU {}, and not {mtu}", found.mtu));
    }
    if !expected.mac.is_empty() && expected.mac.parse().ok() != found.mac {
        let mac = found.mac.map(|mac| mac.to_string()).unwrap_or_default();
        return differs(format!("link {name} has MAC address {mac}, prevResult says {}", expected.mac));
    }
    // The queue is one for all on the master, as long as the longest that was asked for.
    if let (
        UpperKind::Macvlan { bc_queue_len: Some(wanted), .. },
        Some(UpperKind::Macvlan { bc_queue_len: Some(there), .. }),
    ) = (&conf.kind, &found.upper)
        && there < wanted
    {
        return differs(format!("interface {name} has bcqueuelen {there}, and not {wanted}"));
    }
    Ok(())
}

/// Compares addresses and routes.
fn addresses(found: &Observed, plan: &Plan) -> Result<()> {
    let name = &found.link.name;
    if let Some(missing) = plan.addresses().find(|address| !found.addresses.contains(address)) {
        return differs(format!("interface {name} does not have address {missing}"));
    }
    match plan.routes.iter().find(|route| !found.has_route(route)) {
        Some(route) => differs(format!("interface {name} does not have the route to {}", route.dst)),
        None => Ok(()),
    }
}

/// Compares what the interface is on with the master. Where the configuration names none, which one it was at ADD is known to the
/// kernel alone.
fn master(conf: &Conf, found: &Link, container: &Namespace) -> Result<Link> {
    if conf.in_container == found.peer_netns.is_some() {
        let place = if conf.in_container { "in the container" } else { "on the host" };
        return differs(format!("interface {} is not on a master {place}", found.name));
    }
    let mut socket = if conf.in_container { container.socket()? } else { Socket::open()? };
    let master = match (&conf.master, found.peer_index) {
        (Some(name), _) => socket.get_link(name.as_str())?,
        (None, Some(index)) => socket.get_link_by_index(index)?,
        (None, None) => None,
    };
    match master {
        None => differs(format!(
            "the master of interface {} does not exist{}",
            found.name,
            conf.master.as_ref().map(|name| format!(": {name}")).unwrap_or_default()
        )),
        Some(master) if found.peer_index != Some(master.index) => {
            differs(format!("interface {} is not on master {}", found.name, master.name))
        }
        Some(master) if !master.up => differs(format!("master {} is down", master.name)),
        Some(master) => Ok(master),
    }
}

/// What the previous result says of the container's interface, which it has to name.
fn container_interface<'a>(result: &'a AddResult, target: &Target) -> Result<&'a Interface> {
    let ifname = target.ifname().as_str();
    let is_it = |listed: &&Interface| listed.name == ifname && !listed.sandbox.is_empty();
    let missing = || Error::Differs(format!("prevResult has no interface {ifname} in a sandbox"));
    result.interfaces.iter().find(is_it).ok_or_else(missing)
}
