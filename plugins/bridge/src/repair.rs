//! Putting back what is missing of an attachment whose interface is still there: the bridge with its addresses, the
//! port, the packet filter's side, the container's addresses and routes.
//!
//! No verb of the contract does this: an ADD is for what is not there, and refuses what is. It is a function for
//! `cleat repair`, and repeats the steps of ADD, each of which finds its work done where it is. The pair of interfaces is
//! neither made nor replaced, so that the container keeps its addresses and its connections. What another program made is
//! left as it is where nothing is wrong with it.

use cni::{AddResult, Args, Code, Interface, Plugin, Request, Target};
use host_local::HostLocal;
use netlink::{Mac, Namespace, Socket};
use serde_json::{Map, Value, json};

use crate::bridge_lock::Shared;
use crate::check;
use crate::conf::Conf;
use crate::error::{Error, Result};
use crate::filter::{Filter, Stage};
use crate::parts::lease::Ipam;
use crate::parts::veth::{self, Port};
use crate::parts::{advertisements, br_netfilter, bridge, container, forwarding, gateway};
use crate::plan::Plan;

/// Restores an attachment to what the previous result says of it.
///
/// # Errors
/// Code 3 where either end of the pair has gone: only DEL and ADD cure that. Otherwise what ADD would answer.
pub fn repair(request: &Request, target: &Target) -> Result<(), cni::Error> {
    let conf = Conf::new(request, Some(target))?;
    let result = request.conf.require_prev_result()?;
    let ifname = target.ifname().as_str();
    let ips = result.container_ips(ifname).cloned().collect();
    let routes = result.routes.clone();
    let plan = Plan::new(&conf, &AddResult { ips, routes, ..AddResult::default() })?;
    let inside = Namespace::open(target.netns()?).map_err(Error::from)?;
    let inner = container::observe(&inside, ifname, &[])?.link;
    let gone =
        |why: &str| cni::Error::new(Code::UnknownContainer, format!("{} has gone{why}", target.attachment));
    let port = match veth::find(&mut Socket::open().map_err(Error::from)?, &conf, target, result) {
        Ok(port) if inner.is_some() => port,
        Ok(_) => return Err(gone("")),
        Err(Error::Differs(why)) => return Err(gone(&format!(": {why}"))),
        Err(error) => return Err(error.into()),
    };
    if !port.is_ours {
        // Where nothing but the host's own settings is wrong, the rest is left as it is.
        forwarding::enable(&mut Socket::open().map_err(Error::from)?, &plan.gateways)?;
        if check::check(request, target).is_ok() {
            return Ok(());
        }
    }
    restore_leases(&conf, request, target, &plan)?;
    Ok(restore(&conf, target, result, &plan, &inside, &port)?)
}

fn restore(
    conf: &Conf,
    target: &Target,
    result: &AddResult,
    plan: &Plan,
    inside: &Namespace,
    found: &Port,
) -> Result<()> {
    let port = found.link.index;
    let mut socket = Socket::open()?;
    let here = Namespace::current()?;
    let lock = Shared::take(&here, conf.bridge.as_str())?;
    // With the hardware address that the neighbours know.
    let mac = mac_of(result, conf.bridge.as_str(), true);
    let bridge::Ensured { link: bridge, heeded, .. } = bridge::ensure(&mut socket, conf, mac)?;
    let (host_link, heeded_there) = match &conf.vlan_gateway {
        Some(device) => {
            let link = device.ensure(&mut socket, &bridge)?;
            let heeded = advertisements::refuse(&mut socket, &link)?;
            (link, heeded)
        }
        None => (bridge.clone(), None),
    };
    heeded.or(heeded_there).map_or(Ok(()), |heeded| heeded.matters(plan))?;
    for gateway in &plan.gateways {
        gateway::ensure(&mut socket, conf, &host_link, *gateway)?;
    }
    socket.set_master(port, Some(bridge.index))?;
    if let Some(vlans) = &conf.vlans {
        vlans.add(&mut socket, port)?;
    }
    let mac = mac_of(result, target.ifname().as_str(), false);
    let filter = Filter::new(conf, &target.attachment, (&found.link.name, mac), Some(plan));
    let programs = filter.put(Stage::Repair(found), bridge.netfilter)?;
    if conf.keeps_apart() {
        br_netfilter::switch_on(&mut socket, &bridge)?;
    }
    lock.release(&bridge);
    programs.run()?;
    veth::set_flags(&mut socket, conf, port, false)?;
    socket.set_up(port)?;
    forwarding::enable(&mut socket, &plan.gateways)?;
    if !conf.keys.disable_container_interface {
        container::configure(inside, target.ifname().as_str(), plan, conf.keys.enabledad, conf.heeds)?;
        veth::await_forwarding(&mut socket, &host_link, port)?;
    }
    filter.restore_masquerade()
}

/// What the result says of the hardware address of an interface, on the host or in the container.
fn mac_of(result: &AddResult, name: &str, on_host: bool) -> Option<Mac> {
    let is_it = |told: &&Interface| told.name == name && told.sandbox.is_empty() == on_host;
    result.interfaces.iter().find(is_it).and_then(|told| told.mac.parse().ok())
}

/// Leases the addresses again that the attachment has, where their files have gone. What another program leases is its own
/// affair: nothing says that its ADD may be repeated.
fn restore_leases(conf: &Conf, request: &Request, target: &Target, plan: &Plan) -> Result<(), cni::Error> {
    if conf.ipam != Ipam::HostLocal || conf.ipam.check(request, target).is_ok() {
        return Ok(());
    }
    HostLocal::del(request, target)?;
    let wanted: Vec<String> = plan.ips.iter().map(|ip| ip.address.ip().to_string()).collect();
    let mut keys: Map<String, Value> = request.conf.raw().clone();
    keys.insert("args".into(), json!({"cni": {"ips": wanted}}));
    if let Some(Value::Object(runtime)) = keys.get_mut("runtimeConfig") {
        runtime.remove("ips");
    }
    let conf = cni::Conf::from_object(keys)?;
    // What was asked for once is what it has, or an older version ignored it.
    let target = Target { args: Args::default(), ..target.clone() };
    HostLocal::add(&Request { conf, ..request.clone() }, &target).map(|_| ())
}
