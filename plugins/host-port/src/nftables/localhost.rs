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
//! The backend of iptables on a kernel without nftables needs it as well, and there is no guard then.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::Duration;

use netlink::sysctl;
use nftables::{Batch, Chain, Expr, Socket};

use super::names;
use super::table::{LO, LO4, NETWORKS, STAND_IN, STAND_IN4, TABLE};
use crate::error::Error;

/// The stand-in that is meant, unless that is an interface.
fn stand_in(local: &str) -> Option<IpAddr> {
    match local {
        LO => Some(IpAddr::V6(STAND_IN)),
        LO4 => Some(IpAddr::V4(STAND_IN4)),
        _ => None,
    }
}

/// Whether this plugin switches it: it has a stand-in, or was switched on by this plugin.
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

/// What is on or off, for messages.
pub(crate) fn what(interface: &str) -> String {
    match stand_in(interface) {
        Some(address) => format!("the local route to {address}"),
        None => format!("route_localnet of interface {interface}"),
    }
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
        // Another process is closing it, or was killed while it did.
        Err(error) if error.is_not_found() => {
            if !has_chain(socket, &closing)? {
                return Ok(());
            }
        }
        Err(error) => return Err(error.into()),
    }
    withdraw(socket, interface)?;
    socket.del_unused_chain(&closing_chain)?;
    Ok(())
}

/// Removes the local routes where the table that stood for them has gone, as after `nft flush ruleset`. An ADD at the same
/// time makes the table first, which is seen afterwards.
pub(crate) fn forget(socket: &mut Socket) -> Result<(), Error> {
    withdraw(socket, LO4)?;
    withdraw(socket, LO)
}

/// Switches it off, and on again where an ADD has made its chain meanwhile.
fn withdraw(socket: &mut Socket, interface: &str) -> Result<(), Error> {
    match stand_in(interface) {
        Some(address) => _ = netlink::Socket::open()?.del_local(address)?,
        // An interface that has gone took the parameter with it.
        None => match sysctl::set(&path(interface), "0") {
            Err(error) if !error.is_not_found() => return Err(error.into()),
            _ => {}
        },
    }
    if has_chain(socket, &names::local_chain(interface))? {
        enable(&mut netlink::Socket::open()?, interface)?;
    }
    Ok(())
}

pub(super) fn path(interface: &str) -> String {
    format!("net/ipv4/conf/{interface}/route_localnet")
}

fn has_chain(socket: &mut Socket, name: &str) -> Result<bool, Error> {
    Ok(socket.has_chain(&Chain::new(TABLE, name))?)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

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
