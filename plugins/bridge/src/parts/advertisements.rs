//! Router advertisements (RFC 4861): the host accepts no container's, and still accepts those of its uplinks when it becomes a
//! router.
//!
//! When IPv6 forwarding is switched on, the kernel drops the default routes that advertisements brought, and accepts no further
//! ones, unless the link has `accept_ra` 2 (`rt6_purge_dflt_routers`, `ipv6_accept_ra`). What else they brought, addresses and
//! the routes to their networks, goes when its lifetime ends.

use std::collections::BTreeSet;

use ipnetwork::IpNetwork;
use netlink::{Advertisements, Link, Route, Socket, sysctl};

use crate::error::{Error, Result, differs};
use crate::names::{BRIDGE_ALIAS, GATEWAY_ALIAS};
use crate::plan::Plan;

/// `accept_ra`: accepted unless the link forwards, and accepted always.
const UNLESS_ROUTER: u32 = 1;
const ALWAYS: &str = "2";

/// That the host may accept advertisements by a network's bridge, as that cannot be switched off.
#[derive(Debug)]
pub(crate) struct AcceptsRa {
    accepted: u32,
    error: Error,
}

impl AcceptsRa {
    /// The failure, where a network must not put up with it: one that has IPv6, and does not make the host a router.
    pub(crate) fn matters(self, plan: &Plan) -> Result<()> {
        let is_router = plan.gateways.iter().any(IpNetwork::is_ipv6);
        let has_ipv6 = plan.ips.iter().any(|ip| ip.address.is_ipv6());
        if has_ipv6 && !(is_router && self.accepted == UNLESS_ROUTER) { Err(self.error) } else { Ok(()) }
    }
}

/// Has the host accept no advertisements that come in by a network's bridge (CVE-2020-10749), unless that is its own way out.
pub(crate) fn refuse(socket: &mut Socket, link: &Link) -> Result<Option<AcceptsRa>> {
    let Some(found) = link.advertisements.filter(|found| found.accepted != 0) else {
        return Ok(None);
    };
    if is_way_out(socket, link)? {
        return Ok(None);
    }
    let parameter = parameter(link);
    Ok(match sysctl::write(&parameter, "0") {
        Err(source) if found.take_effect() && !source.is_not_found() => {
            let error = interface::sysctl(&parameter, "0", source).into();
            Some(AcceptsRa { accepted: found.accepted, error })
        }
        _ => None,
    })
}

/// Names a link of the host by which containers' advertisements are accepted again, where that can be set right.
pub(crate) fn expect_refused(socket: &mut Socket, link: &Link) -> Result<()> {
    let is_heeded = link.advertisements.is_some_and(Advertisements::take_effect);
    if !is_heeded || is_way_out(socket, link)? || !sysctl::is_writable(&parameter(link)) {
        return Ok(());
    }
    differs(format!("the host heeds router advertisements of containers: {} is not 0", parameter(link)))
}

/// Whether a network's bridge, or the VLAN device on it, is also the operator's own link to the outside, which brought the
/// host a route or an address.
fn is_way_out(socket: &mut Socket, link: &Link) -> Result<bool> {
    if is_ours(link) {
        return Ok(false);
    }
    let brought = |route: &Route| route.oif == Some(link.index);
    Ok(socket.advertised_routes()?.iter().any(brought) && leads_out(socket, link)?)
}

/// Has the uplinks whose advertisements brought the host something accept them although it forwards, before it does where
/// it does not yet (`forwards`). One that forwards already, by another program or an older version, has lost its default routes
/// and gets them back by the next advertisement.
pub(crate) fn keep(socket: &mut Socket, forwards: bool) -> Result<()> {
    for link in unheeded(socket)?.1 {
        let parameter = parameter(&link);
        match sysctl::write(&parameter, ALWAYS) {
            // What was so before makes no network worse: STATUS reports it.
            Err(source) if !forwards => {
                return Err(interface::sysctl(&parameter, ALWAYS, source).into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Names an uplink whose advertisements the host has accepted and does not accept any more, since it forwards. Before the
/// network has a bridge there is nothing to report where the first ADD will set it: a runtime would never come to that ADD.
pub(crate) fn status(socket: &mut Socket, has_bridge: bool) -> Result<()> {
    let (_, mut unheeded) = unheeded(socket)?;
    unheeded.retain(|link| has_bridge || !sysctl::is_writable(&parameter(link)));
    unheeded.first().map_or(Ok(()), |link| Err(Error::Unheeded(link.name.clone())))
}

/// As [`status`], where the host has lost its way out by that, or is about to: an address that ends is not enough while
/// there is a default route. Only what [`keep`] could have set counts, which every ADD calls.
pub(crate) fn check(socket: &mut Socket) -> Result<()> {
    let (brought, mut unheeded) = unheeded(socket)?;
    unheeded.retain(|link| sysctl::is_writable(&parameter(link)));
    if unheeded.is_empty() {
        return Ok(());
    }
    let is_cut_off = !socket.routes_v6()?.iter().any(|route| route.dst.prefix() == 0);
    let is_losing =
        |link: &Link| brought.iter().any(|route| route.advertised && route.oif == Some(link.index));
    let lost = unheeded.into_iter().find(|link| is_cut_off || is_losing(link));
    lost.map_or(Ok(()), |link| Err(Error::Unheeded(link.name)))
}

/// The routes that advertisements brought, and the links that they lead out of, which accept advertisements unless they
/// forward, and are not containers'.
fn unheeded(socket: &mut Socket) -> Result<(Vec<Route>, Vec<Link>)> {
    let routes = socket.advertised_routes()?;
    let mut uplinks = Vec::new();
    for index in routes.iter().filter_map(|route| route.oif).collect::<BTreeSet<u32>>() {
        let Some(link) = socket.get_link_by_index(index)? else { continue };
        let is_concerned = link.advertisements.is_some_and(|found| found.accepted == UNLESS_ROUTER);
        if is_concerned && link.port.is_none() && !is_ours(&link) && leads_out(socket, &link)? {
            uplinks.push(link);
        }
    }
    Ok((routes, uplinks))
}

fn is_ours(link: &Link) -> bool {
    link.alias.as_deref().is_some_and(|alias| [BRIDGE_ALIAS, GATEWAY_ALIAS].contains(&alias))
}

/// Whether a link may lead anywhere but to containers and virtual machines. A bridge does by a port that is neither a veth
/// nor a tap, and so does a VLAN device on one.
fn leads_out(socket: &mut Socket, link: &Link) -> Result<bool> {
    let below = match (link.kind.as_deref(), link.peer_index) {
        (Some("vlan"), Some(below)) => socket.get_link_by_index(below)?,
        _ => None,
    };
    let link = below.as_ref().unwrap_or(link);
    if link.kind.as_deref() != Some("bridge") {
        return Ok(true);
    }
    let is_physical = |port: &Link| !matches!(port.kind.as_deref(), Some("veth" | "tun"));
    Ok(socket.has_port_that(link.index, is_physical)?)
}

fn parameter(link: &Link) -> String {
    format!("net/ipv6/conf/{}/accept_ra", link.name)
}
