//! CHECK: what ADD set up against what there is. Differences are named; what a later plugin of the chain may change
//! is taken from the previous result, which that plugin has amended.

use cni::{AddResult, Command, Interface, Request, Target};
use ipnetwork::IpNetwork;
use netlink::{Link, Namespace, Socket};

use crate::conf::Conf;
use crate::error::{Error, NOT_FORWARDED, Result, differs};
use crate::filter::Filter;
use crate::names;
use crate::overlay::{self, Need};
use crate::parts::veth::Port;
use crate::parts::{advertisements, br_netfilter, expect_link, expect_up, forwarding, veth};
use crate::plan::Plan;

/// Compares an attachment with its previous result and the configuration.
pub(crate) fn check(request: &Request, target: &Target) -> Result<(), cni::Error> {
    let (request, conf) = overlay::for_existing(request, target, Need::Not)?;
    let result = request.conf.require_prev_result()?;
    conf.ipam.call(Command::Check, &request, Some(target))?;
    let plan = Plan::of_existing(&conf, result, target.ifname().as_str())?;
    let mut socket = Socket::open().map_err(Error::from)?;
    let port = host(&mut socket, &conf, target, result, &plan)?;
    container(&conf, target, result, &plan)?;
    rules(&conf, target, result, &plan, &port)?;
    // What is the host's own comes last: it hides nothing that is the attachment's.
    if conf.gateway && plan.gateways.iter().any(IpNetwork::is_ipv6) {
        advertisements::check(&mut socket)?;
    }
    Ok(overlay::expect_device(&mut socket, &conf)?)
}

/// Compares the packet filter's side.
fn rules(conf: &Conf, target: &Target, result: &AddResult, plan: &Plan, port: &Port) -> Result<()> {
    let mut mac = None;
    if conf.checks_spoofing() {
        let expected = container_interface(result, target)?;
        let none = |_| Error::Differs(format!("prevResult has no MAC address for {}", expected.name));
        mac = Some(expected.mac.parse().map_err(none)?);
    }
    Filter::new(conf, &target.attachment, (&port.link.name, mac), Some(plan)).check(port)
}

/// Compares the host's side, and returns the host's end of the pair.
fn host(socket: &mut Socket, conf: &Conf, target: &Target, result: &AddResult, plan: &Plan) -> Result<Port> {
    let name = conf.bridge.as_str();
    let bridge = expect_link(socket, name)?;
    if bridge.kind.as_deref() != Some("bridge") {
        return differs(format!("link {name} is no bridge"));
    }
    expect_up(&bridge)?;
    if conf.keeps_apart() {
        br_netfilter::expect_on(&bridge)?;
    }
    if conf.keys.promisc_mode && !bridge.promisc {
        return differs(format!("bridge {name} is not in promiscuous mode"));
    }
    let found = veth::find(socket, conf, target, result)?;
    // That of another program's bridge follows its ports, unless it was kept for the gateway's sake. What the reference makes
    // gets an address from udev afterwards.
    let keeps_mac = found.is_ours && (conf.gateway || names::keeps_mac(&bridge));
    if let Some(expected) = interface(result, name, true).filter(|_| keeps_mac) {
        expect_mac(&bridge, expected)?;
    }
    // Beside what the reference made it has not been switched off.
    if found.is_ours {
        advertisements::expect_refused(socket, &bridge)?;
    }
    if conf.gateway {
        let gateway = &conf.vlan_gateway;
        let link =
            gateway.as_ref().map_or_else(|| Ok(bridge.clone()), |device| device.check(socket, &bridge))?;
        if found.is_ours && gateway.is_some() {
            advertisements::expect_refused(socket, &link)?;
        }
        let addresses: Vec<IpNetwork> =
            socket.addresses(link.index)?.into_iter().map(|address| address.network).collect();
        if let Some(missing) = plan.gateways.iter().find(|gateway| !addresses.contains(gateway)) {
            return differs(format!("bridge {} does not have gateway address {missing}", link.name));
        }
        if let Some(parameter) = forwarding::missing(socket, &plan.gateways)?.first() {
            return differs(format!("{parameter} {NOT_FORWARDED} {name}"));
        }
    }
    let port = &found.link;
    expect_up(port)?;
    if port.master != Some(bridge.index) {
        return differs(format!("interface {} is not a port of bridge {name}", port.name));
    }
    if let Some(expected) = interface(result, &port.name, true).filter(|_| found.is_ours) {
        expect_mac(port, expected)?;
    }
    if let Some(vlans) = &conf.vlans {
        if bridge.vlan_filtering != Some(true) {
            return differs(format!("bridge {name} does not filter VLANs"));
        }
        vlans.check(socket, port.index, &port.name)?;
    }
    let flags = port.port.unwrap_or_default();
    for (key, wanted, found) in [
        ("hairpinMode", conf.keys.hairpin_mode, flags.hairpin),
        ("portIsolation", conf.keys.port_isolation, flags.isolated),
    ] {
        if wanted != found.unwrap_or_default() {
            return differs(format!("interface {} does not have {key} {wanted}", port.name));
        }
    }
    Ok(found)
}

/// Compares the container's side.
fn container(conf: &Conf, target: &Target, result: &AddResult, plan: &Plan) -> Result<()> {
    let (path, ifname) = (target.netns()?, target.ifname().as_str());
    let tables: Vec<u32> = plan.routes.iter().filter_map(|route| route.table).collect();
    let Some(found) = interface::observe(&Namespace::open(path)?, ifname, &tables)? else {
        return differs(format!("the container has no interface {ifname}"));
    };
    if found.link.kind.as_deref() != Some("veth") {
        return differs(format!("the container's interface {ifname} is no veth"));
    }
    if !conf.keys.disable_container_interface {
        expect_up(&found.link)?;
    }
    let expected = container_interface(result, target)?;
    expect_mac(&found.link, expected)?;
    if let Some(missing) = plan.ips.iter().find(|ip| !found.addresses.contains(&ip.address)) {
        return differs(format!("interface {ifname} does not have address {}", missing.address));
    }
    for route in &plan.routes {
        if !found.has_route(route) {
            return differs(format!("interface {ifname} does not have the route to {}", route.dst));
        }
    }
    Ok(())
}

/// What a result says of an interface, on the host or in the container.
pub(crate) fn interface<'a>(result: &'a AddResult, name: &str, on_host: bool) -> Option<&'a Interface> {
    result.interfaces.iter().find(|expected| expected.name == name && expected.sandbox.is_empty() == on_host)
}

/// What the previous result says of the container's interface, which it has to name.
fn container_interface<'a>(result: &'a AddResult, target: &Target) -> Result<&'a Interface> {
    let ifname = target.ifname().as_str();
    let missing = || Error::Differs(format!("prevResult has no interface {ifname} in a sandbox"));
    interface(result, ifname, false).ok_or_else(missing)
}

fn expect_mac(link: &Link, expected: &Interface) -> Result<()> {
    let found = link.mac.map(|mac| mac.to_string()).unwrap_or_default();
    if expected.mac.is_empty() || expected.mac.parse().ok() == link.mac {
        return Ok(());
    }
    differs(format!("link {} has MAC address {found}, prevResult says {}", link.name, expected.mac))
}
