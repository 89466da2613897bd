//! Putting back what is missing of an attachment whose interface is still there: the bridge with its addresses, the
//! port, the packet filter's side, the container's addresses and routes.
//!
//! No verb of the contract does this: an ADD is for what is not there, and refuses what is. It is a function for
//! `cleat repair`, and repeats the steps of ADD, each of which finds its work done where it is. The pair of interfaces is
//! neither made nor replaced, so that the container keeps its addresses and its connections. What another program made is
//! left as it is where nothing is wrong with it.

use cni::{Code, NetworkName, Request, Target};
use netlink::{Link, Mac, Socket};
use nftables::ledger;

use crate::add::Add;
use crate::bridge_lock::Shared;
use crate::check::{self, interface};
use crate::error::{Error, Result};
use crate::filter::gate::{BridgeGate, Close};
use crate::filter::{Filter, Stage};
use crate::overlay::{self, Need};
use crate::parts::veth::{self, Port};
use crate::parts::{br_netfilter, forwarding};
use crate::plan::Plan;

/// Restores an attachment to what the previous result says of it.
///
/// # Errors
/// Code 3 where either end of the pair has gone: only DEL and ADD cure that. Otherwise what ADD would answer.
pub fn repair(request: &Request, target: &Target) -> Result<(), cni::Error> {
    let (completed, conf) = overlay::for_existing(request, target, Need::File)?;
    let result = request.conf.require_prev_result()?;
    let ifname = target.ifname().as_str();
    let plan = Plan::of_existing(&conf, result, ifname)?;
    let mut add = Add::new(&completed, target, &conf)?;
    let inner = add.container.socket().and_then(|mut inside| inside.get_link(ifname)).map_err(Error::from)?;
    let gone =
        |why: &str| cni::Error::new(Code::UnknownContainer, format!("{} has gone{why}", target.attachment));
    let port = match veth::find(&mut add.socket, &conf, target, result) {
        Ok(port) if inner.is_some() => port,
        Ok(_) => return Err(gone("")),
        Err(Error::Differs(why)) => return Err(gone(&format!(": {why}"))),
        Err(error) => return Err(error.into()),
    };
    if !port.is_ours {
        // Where nothing but the host's own settings is wrong, the rest is left as it is.
        forwarding::enable(&mut add.socket, &plan.gateways)?;
        if check::check(request, target).is_ok() {
            return Ok(());
        }
    }
    let addresses = plan.ips.iter().map(|ip| ip.address.ip());
    conf.ipam.restore(&completed, target, addresses)?;
    let mac_of =
        |name: &str, on_host| interface(result, name, on_host).and_then(|listed| listed.mac.parse().ok());
    let ends = (port.link.name.as_str(), mac_of(ifname, false));
    let filter = Filter::new(&conf, &target.attachment, ends, Some(&plan));
    // With the hardware address that the neighbours know.
    Ok(restore(&mut add, &filter, mac_of(conf.bridge.as_str(), true), &plan, &port)?)
}

/// Says what is open of a network that its configuration closes, and that has members; `None` where nothing is. The
/// configuration may be another one than they were added with.
///
/// # Errors
/// A failure of the configuration, or of a question to the kernel.
pub fn open_to(request: &Request) -> Result<Option<String>, cni::Error> {
    with_gate(request, |gate, links, bridge, network| match gate.status(links, bridge, network) {
        Err(Error::NotClosed { why, .. }) => Ok(Some(why)),
        outcome => outcome.map(|()| None),
    })
}

/// Closes a network for the members that are there, as its configuration says by now.
///
/// # Errors
/// What ADD would answer where it cannot close the bridge.
pub fn close(request: &Request) -> Result<(), cni::Error> {
    let closed = with_gate(request, |gate, links, bridge, network| {
        let is_apart = gate.gate.apart;
        if is_apart {
            br_netfilter::expect()?;
        }
        let mut close = Close::new(gate, network, bridge.netfilter);
        ledger::put(&mut nftables::Socket::open()?, &mut [&mut close])?;
        if is_apart {
            br_netfilter::switch_on(links, bridge)?;
        }
        Ok(Some(()))
    });
    closed.map(drop)
}

/// Does something with the gate of a network whose bridge is there.
fn with_gate<T>(
    request: &Request,
    work: impl FnOnce(BridgeGate, &mut Socket, &Link, &NetworkName) -> Result<Option<T>>,
) -> Result<Option<T>, cni::Error> {
    let (request, conf) = overlay::for_new(request, None)?;
    let Some(gate) = BridgeGate::of(&conf) else { return Ok(None) };
    let mut links = Socket::open().map_err(Error::from)?;
    let bridge = links.get_link(gate.bridge.as_str()).map_err(Error::from)?;
    Ok(bridge.map_or(Ok(None), |bridge| work(gate, &mut links, &bridge, &request.conf.network))?)
}

/// Repeats the steps of an ADD on the pair that is there.
fn restore(add: &mut Add, filter: &Filter, bridge_mac: Option<Mac>, plan: &Plan, found: &Port) -> Result<()> {
    let port = found.link.index;
    let lock = Shared::take(&add.host, add.conf.bridge.as_str())?;
    let bridge = add.ensure_bridge(bridge_mac)?;
    let host_link = add.ensure_gateways(&bridge, plan)?;
    add.socket.set_master(port, Some(bridge.index))?;
    add.connect(filter, Stage::Repair(found), &bridge, port, lock)?;
    add.socket.set_up(port)?;
    add.configure(plan, &host_link, port)?;
    filter.restore_masquerade()
}
