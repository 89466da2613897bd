//! `127.0.0.1` and `[::1]`: what the host needs besides rules before they lead to a container.
//!
//! The kernel routes packets from `127.0.0.1` to a container, and answers back, only with `route_localnet` on the interface that
//! leads to it. With it the neighbours behind that interface reach what listens on the host's 127.0.0.1 (CVE-2020-8558), and
//! rules that keep them out are gone after `nft flush ruleset`, while the switch stays on. Behind connection tracking an answer
//! looks like a neighbour's packet to 127.0.0.1, so nothing in routing can tell the two apart.
//!
//! Therefore nothing is switched on: packets from `127.0.0.1` to a published port get [`STAND_IN4`] for their source before
//! connection tracking sees them, and answers get `127.0.0.1` back behind it. The destination stays; connection tracking knows
//! it. For IPv6 there is no such switch at all: answers to `::1` that come by another link than `lo` are dropped
//! (`ipv6_rcv`), so that [`STAND_IN`] takes the place of both addresses. Local routes on `lo` make the stand-ins addresses of
//! this host; the guard keeps others from using them, and without the table they are addresses where nothing listens.
//!
//! The routes are there only while the table is: the chain `local_<what>` stands for "on, by this plugin", `closing_<what>` for
//! "about to be switched off", and both keep the table. [`LO4`] is what 127.0.0.1 needs, [`LO`] what `[::1]` does. Any other
//! name is that of an interface whose `route_localnet` a version before this one switched on, for containers that still need it.
//! Who has the backend of iptables on a kernel without nftables needs it as well, and has no guard.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread::sleep;
use std::time::Duration;

use cni::links::{BRIDGE_ALIAS, GATEWAY_ALIAS};
use ipnetwork::{IpNetwork, Ipv4Network};
use netlink::{Link, sysctl};
use nftables::{Batch, Chain, Expr, Set, Socket};

use crate::container::Container;
use crate::error::Error;
use crate::ruleset::{LOCAL6, NETWORKS, TABLE};
use crate::{chains, names, reference};

/// What stands in for `::1`: an address of the range for private use (RFC 4193). Its 16-bit words have the sum of those
/// of `::1`, so no checksum of a packet changes with it (as RFC 6296 does it); kernels get checksums of reassembled
/// packets wrong when an address is rewritten to another sum (`nft_payload_l4csum_update`, seen on 6.18).
pub(crate) const STAND_IN: Ipv6Addr = Ipv6Addr::new(0xfd63, 0x6c65, 0x6174, 0, 0, 0, 0, 0x34c3);
/// The same for `127.0.0.1`, of the range that never leaves a link (RFC 3927).
pub(crate) const STAND_IN4: Ipv4Addr = Ipv4Addr::new(169, 254, 213, 2);
/// What `[::1]` needs.
pub(crate) const LO: &str = "lo";
/// What `127.0.0.1` needs.
pub(crate) const LO4: &str = "127.0.0.1";

/// What a set of ports of localhost needs.
pub(crate) fn of_set(set: &Set<'_>) -> &'static str {
    if *set == LOCAL6 { LO } else { LO4 }
}

/// The stand-in that is meant, unless that is an interface.
fn stand_in(local: &str) -> Option<IpAddr> {
    match local {
        LO => Some(IpAddr::V6(STAND_IN)),
        LO4 => Some(IpAddr::V4(STAND_IN4)),
        _ => None,
    }
}

/// 127.0.0.0/8 (RFC 1122, 3.2.1.3).
pub(crate) const LOOPBACK: IpNetwork = match Ipv4Network::new_checked(Ipv4Addr::new(127, 0, 0, 0), 8) {
    Some(network) => IpNetwork::V4(network),
    None => unreachable!(),
};

/// Whether it is this plugin's to switch, where it is on: on by this plugin.
pub(crate) fn is_ours(socket: &mut Socket, interface: &str) -> Result<bool, Error> {
    Ok(stand_in(interface).is_some()
        || has_chain(socket, &names::local_chain(interface))?
        || has_chain(socket, &names::closing_chain(interface))?)
}

/// Whether this host has `::1` at all.
pub(crate) fn has_ipv6() -> Result<bool, Error> {
    match sysctl::get("net/ipv6/conf/lo/disable_ipv6") {
        Ok(value) => Ok(value == "0"),
        // A kernel without IPv6.
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether localhost leads through the interface. A DEL that ends while an ADD begins may switch it off for a moment.
pub(crate) fn is_on(interface: &str) -> Result<bool, Error> {
    if is_switched_on(interface)? {
        return Ok(true);
    }
    sleep(Duration::from_millis(10));
    is_switched_on(interface)
}

/// What of the host is on or off, in words.
pub(crate) fn what(interface: &str) -> String {
    if let Some(address) = stand_in(interface) {
        return format!("the local route to {address}");
    }
    format!("route_localnet of interface {interface}")
}

fn is_switched_on(interface: &str) -> Result<bool, Error> {
    if let Some(address) = stand_in(interface) {
        return Ok(netlink::Socket::open()?.is_local(address)?);
    }
    let link = netlink::Socket::open()?.get_link(interface)?;
    Ok(link.is_some_and(|link| link.route_localnet == Some(true)))
}

/// Switches it on, and says whether it was off. The interface's chain must be there by then, and be referred to.
pub(crate) fn enable(links: &mut netlink::Socket, interface: &str) -> Result<bool, Error> {
    if let Some(address) = stand_in(interface) {
        return Ok(links.add_local(address)?);
    }
    match links.get_link(interface)?.filter(|link| link.route_localnet != Some(true)) {
        Some(link) => links.route_localnet(link.index).map(|()| true).map_err(Error::from),
        None => Ok(false),
    }
}

/// Takes back what [`enable`] has just switched on where a DEL has removed its chain since: that DEL found nothing to
/// switch off.
pub(crate) fn take_back(socket: &mut Socket, interface: &str) -> Result<(), Error> {
    if has_chain(socket, &names::local_chain(interface))? { Ok(()) } else { withdraw(socket, interface) }
}

/// Switches it off and removes the interface's chains, unless something refers to them.
///
/// An ADD refers to the chain before it switches on. Whatever an ADD does in between is therefore seen afterwards, and
/// it ends up on.
pub(crate) fn release(socket: &mut Socket, interface: &str) -> Result<(), Error> {
    let (local, closing) = (names::local_chain(interface), names::closing_chain(interface));
    let (local_chain, closing_chain) = (Chain::new(TABLE, &local), Chain::new(TABLE, &closing));
    if socket.is_referenced(&local_chain)? {
        return Ok(());
    }
    let closed = Batch::new()
        .del_chain(&local_chain)
        .add_chain(&closing_chain)
        .add_rule(&closing_chain, &[Expr::jump(NETWORKS.name)], None)
        .commit(socket);
    match closed {
        Ok(()) => {}
        Err(error) if error.is_busy() => return Ok(()),
        // Somebody else is at it, or was killed at it.
        Err(error) if error.is_not_found() => {
            if !has_chain(socket, &closing)? {
                return Ok(());
            }
        }
        Err(error) => return Err(error.into()),
    }
    switch(interface, false)?;
    if has_chain(socket, &local)? {
        switch(interface, true)?;
    }
    socket.del_unused_chain(&closing_chain)?;
    Ok(())
}

/// The container's bridge, or the VLAN device on it, where that has `route_localnet` on and nothing needs it: a version before
/// this one switched it on, and its table was flushed or the reference has left. On a bridge that somebody else made it is
/// theirs.
pub(crate) fn left_on(
    socket: &mut Socket,
    links: &mut netlink::Socket,
    container: &Container,
) -> Result<Option<Link>, Error> {
    for name in container.shared() {
        let is_made = |link: &Link| {
            link.alias.as_deref().is_some_and(|alias| [BRIDGE_ALIAS, GATEWAY_ALIAS].contains(&alias))
        };
        let link = links.get_link(name)?.filter(|link| link.route_localnet == Some(true) && is_made(link));
        if let Some(link) = link
            && !is_ours(socket, name)?
            && !chains::have_ports(socket)?
            && !reference::has_ports(socket)?
        {
            return Ok(Some(link));
        }
    }
    Ok(None)
}

/// Switches off what is [`left_on`]. Where `/proc/sys` is read-only it stays: the table's rules guard it, and CHECK names it.
pub(crate) fn close_left_on(
    socket: &mut Socket,
    links: &mut netlink::Socket,
    container: &Container,
) -> Result<(), Error> {
    let Some(link) = left_on(socket, links, container)? else { return Ok(()) };
    match sysctl::set(&path(&link.name), "0") {
        Err(error) if error.is_not_found() || error.is_read_only() => Ok(()),
        outcome => Ok(outcome.map(drop)?),
    }
}

/// Takes the local routes back where the table has gone that told of it, as after `nft flush ruleset`. An ADD at the same
/// time makes the table first, which is seen afterwards.
pub(crate) fn forget(socket: &mut Socket) -> Result<(), Error> {
    withdraw(socket, LO4)?;
    withdraw(socket, LO)
}

fn withdraw(socket: &mut Socket, interface: &str) -> Result<(), Error> {
    switch(interface, false)?;
    if has_chain(socket, &names::local_chain(interface))? {
        switch(interface, true)?;
    }
    Ok(())
}

fn switch(interface: &str, on: bool) -> Result<(), Error> {
    if on {
        return enable(&mut netlink::Socket::open()?, interface).map(drop);
    }
    if let Some(address) = stand_in(interface) {
        netlink::Socket::open()?.del_local(address)?;
        return Ok(());
    }
    match sysctl::set(&path(interface), "0") {
        // An interface that has gone took the parameter with it.
        Err(error) if error.is_not_found() => Ok(()),
        outcome => Ok(outcome.map(drop)?),
    }
}

fn path(interface: &str) -> String {
    format!("net/ipv4/conf/{interface}/route_localnet")
}

fn has_chain(socket: &mut Socket, name: &str) -> Result<bool, Error> {
    Ok(socket.has_chain(&Chain::new(TABLE, name))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stand_in_changes_no_checksum() {
        // Ones' complement (RFC 1071).
        let sum = |address: Ipv6Addr| address.segments().into_iter().map(u32::from).sum::<u32>() % 0xffff;
        assert_eq!(sum(STAND_IN), sum(Ipv6Addr::LOCALHOST));
        let mapped = |address: Ipv4Addr| sum(address.to_ipv6_compatible());
        assert_eq!(mapped(STAND_IN4), mapped(Ipv4Addr::LOCALHOST));
    }
}
