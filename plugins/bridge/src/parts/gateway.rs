//! The gateway's addresses on the host's own link of a network: the bridge, or the VLAN device on it.
//!
//! Where the operator wants it (`forceAddress`), they take the place of addresses that conflict with them. What else is on the
//! link stays: the kernel would drop all further addresses of an IPv4 network with its first one.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink::{AddressFlags, Link, Mac, Socket};

use crate::conf::Conf;
use crate::error::{Error, Result};
use crate::{cidrs, mac};

const NODAD: AddressFlags = AddressFlags { nodad: true, noprefixroute: false };

/// Gives the host's link a gateway's address. `None` where it has it; otherwise the addresses that had to go for it.
pub(crate) fn ensure(
    socket: &mut Socket,
    conf: &Conf,
    link: &Link,
    wanted: IpNetwork,
) -> Result<Option<Vec<IpNetwork>>> {
    // The bridge is the only one that may have this address, so there is nothing to detect, and it works at once.
    if !socket.add_address(link.index, wanted, NODAD)? {
        return Ok(None);
    }
    if let (IpNetwork::V6(_), Some(mac)) = (wanted, link.mac) {
        ensure_link_local(socket, link.index, mac)?;
        interface::await_solicitable(&link.name, std::iter::once(wanted));
    }
    let others: Vec<IpNetwork> = socket
        .addresses(link.index)?
        .into_iter()
        .filter(|found| !found.secondary && found.network != wanted && conflicts(found.network, wanted))
        .map(|found| found.network)
        // A node of an overlay network may have had another block, whose containers keep their gateway.
        .filter(|found| conf.node.is_none() || cidrs::overlap(*found, wanted))
        .collect();
    let Some(found) = others.first().copied() else { return Ok(Some(others)) };
    if !conf.keys.force_address {
        socket.del_address(link.index, wanted)?;
        return Err(Error::Gateway { bridge: link.name.clone(), found, wanted });
    }
    let replaced = replace(socket, link.index, &others, wanted);
    if replaced.is_err() {
        // Of two failures the first is the one to report.
        let _ = restore(socket, link.index, &others, wanted);
    }
    replaced.map(|()| Some(others))
}

/// Takes back what [`ensure`] has done: the address goes, and those come back that it replaced.
fn restore(socket: &mut Socket, link: u32, replaced: &[IpNetwork], gateway: IpNetwork) -> Result<()> {
    for address in replaced {
        socket.add_address(link, *address, NODAD)?;
    }
    match replaced.first() {
        Some(first) => replace(socket, link, &[gateway], *first),
        None => Ok(socket.del_address(link, gateway).map(drop)?),
    }
}

/// As [`restore`], for an ADD that fails. Another ADD may rely on the address by now: it stays where the bridge has ports,
/// unless these rely on another one that it took the place of.
pub(crate) fn undo(
    socket: &mut Socket,
    [bridge, link]: [u32; 2],
    replaced: &[IpNetwork],
    gateway: IpNetwork,
) -> Result<()> {
    if replaced.is_empty() && socket.has_ports(bridge)? {
        return Ok(());
    }
    restore(socket, link, replaced, gateway)
}

/// Removes addresses from a link, and has one that it has already be the first of its network.
fn replace(socket: &mut Socket, link: u32, old: &[IpNetwork], new: IpNetwork) -> Result<()> {
    if new.is_ipv4() {
        socket.promote_secondaries(link)?;
    }
    for address in old {
        socket.del_address(link, *address)?;
    }
    // Those that were there before it have been promoted: each is put after it.
    let is_of_network = |found: IpNetwork| {
        found.is_ipv4() && (found.network(), found.prefix()) == (new.network(), new.prefix())
    };
    let found = socket.addresses(link)?;
    let before = found.iter().take_while(|found| found.network != new);
    for address in before.filter(|found| is_of_network(found.network)) {
        socket.del_address(link, address.network)?;
        socket.add_address(link, address.network, address.flags)?;
    }
    Ok(())
}

/// What the kernel does itself after a second of duplicate address detection. Until there is a link-local address it
/// solicits no neighbour for packets that it forwards (`ndisc_send_ns`), so they would be lost.
fn ensure_link_local(socket: &mut Socket, link: u32, mac: Mac) -> Result<()> {
    let own = interface::with_length(IpAddr::V6(mac::link_local(mac)), 64);
    if socket.add_address(link, own, NODAD)? {
        return Ok(());
    }
    // A link that has a carrier from the start, as a VLAN device, may have it already, still tentative.
    if socket.addresses(link)?.iter().any(|address| address.network == own && address.tentative) {
        socket.del_address(link, own)?;
        socket.add_address(link, own, NODAD)?;
    }
    Ok(())
}

/// The reference's rule: one IPv4 address a bridge; several IPv6 addresses where their subnets do not overlap.
fn conflicts(found: IpNetwork, wanted: IpNetwork) -> bool {
    found.is_ipv4() && wanted.is_ipv4() || cidrs::overlap(found, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_ipv4_address_and_disjoint_ipv6_subnets() {
        let conflict = |a: &str, b: &str| conflicts(a.parse().unwrap(), b.parse().unwrap());
        assert!(conflict("10.1.0.1/24", "10.2.0.1/24"));
        assert!(conflict("fd00::1/64", "fd00::2/64"));
        assert!(!conflict("fd00::1/64", "fd01::1/64"));
        assert!(!conflict("fe80::1/64", "fd00::1/64"));
        assert!(!conflict("10.1.0.1/24", "fd00::1/64"));
    }
}
