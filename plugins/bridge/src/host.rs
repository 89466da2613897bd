//! The host's side: the bridge with its gateway addresses, forwarding, and the removal of a bridge that nobody uses.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::thread;
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use netlink::{AddressFlags, Bridge, Link, Mac, Namespace, PortFlags, Socket, sysctl};

use crate::conf::Conf;
use crate::error::Error;
use crate::names::BRIDGE_ALIAS;
use crate::neighbours::await_solicitable;

/// How long an ADD waits for a DEL that is removing an empty bridge, which takes the kernel some 35 ms. Any process
/// of the namespace could hold the lock, so the ADD then goes on without it.
const PATIENCE: Duration = Duration::from_millis(500);

const PAUSE: Duration = Duration::from_micros(500);

const NODAD: AddressFlags = AddressFlags { nodad: true, noprefixroute: false };

/// Keeps every DEL from removing a bridge that has no port yet, while the guard lives.
pub(crate) fn hold_bridges(host: &Namespace) -> Result<Option<netlink::NamespaceLock>, Error> {
    Ok(host.lock_shared(PATIENCE)?)
}

/// Finds the bridge or makes it, with that hardware address where one is given. Says whether it was made.
pub(crate) fn ensure_bridge(
    socket: &mut Socket,
    conf: &Conf,
    mac: Option<Mac>,
) -> Result<(Link, bool), Error> {
    let name = conf.bridge.as_str();
    let mut made = false;
    let link = if let Some(link) = socket.get_link(name)? {
        link
    } else {
        // With an address of its own from the start, the bridge does not take on that of each new port.
        let spec = Bridge {
            name,
            mac: Some(mac.unwrap_or_else(random_mac)),
            mtu: conf.mtu,
            alias: Some(BRIDGE_ALIAS),
            ..Bridge::default()
        };
        match socket.add_bridge(&spec) {
            Ok(_) => made = true,
            Err(error) if error.is_exists() => {}
            Err(error) => return Err(error.into()),
        }
        socket
            .get_link(name)?
            .ok_or_else(|| Error::Differs(format!("bridge {name} went away while it was set up")))?
    };
    expect_bridge(&link)?;
    if made {
        // A container must not hand the host a route (router advertisements, RFC 4861).
        set_where_present(&format!("net/ipv6/conf/{name}/accept_ra"), "0")?;
    }
    if !link.up {
        socket.set_up(link.index)?;
    }
    if conf.promiscuous && !link.promisc {
        socket.set_promisc(link.index, true)?;
    }
    Ok((link, made))
}

/// Refuses a link of another kind.
pub(crate) fn expect_bridge(link: &Link) -> Result<(), Error> {
    match link.kind.as_deref() {
        Some("bridge") => Ok(()),
        kind => {
            Err(Error::NotABridge { name: link.name.clone(), kind: kind.unwrap_or("a device").to_owned() })
        }
    }
}

/// Waits until a port whose other end has just been set up forwards frames, and a bridge that it is the first port of
/// is known to run: what ADD returns must be reachable. Without the one the first packet is lost now and then, and with
/// it a second; without the other the bridge has no route for groups yet, and solicitations to it are lost.
///
/// The kernel sees to both from a work queue. Since Linux 6.8 being asked about a link makes it catch up first; before,
/// the port can mostly be set forwarding at once.
pub(crate) fn await_forwarding(socket: &mut Socket, bridge: &Link, port: u32) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    while !forwards(socket, port)? && Instant::now() < deadline {
        thread::sleep(PAUSE);
    }
    let mut operational = bridge.operational;
    while !operational && Instant::now() < deadline {
        operational = socket.get_link_by_index(bridge.index)?.is_none_or(|bridge| bridge.operational);
        if !operational {
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// Whether a port forwards, or will without our doing.
fn forwards(socket: &mut Socket, port: u32) -> Result<bool, Error> {
    if socket.get_bridge_port(port)?.unwrap_or_default().forwarding == Some(true) {
        return Ok(true);
    }
    match socket.set_bridge_port(port, &PortFlags { forwarding: Some(true), ..PortFlags::default() }) {
        // The spanning tree protocol decides, and takes its time.
        Err(error) if error.is_busy() => Ok(true),
        Err(error) if error.is_down() => Ok(false),
        outcome => outcome.map(|()| true).map_err(Error::from),
    }
}

/// Gives the bridge a gateway's address. Says whether it was added.
pub(crate) fn ensure_gateway(
    socket: &mut Socket,
    conf: &Conf,
    bridge: &Link,
    wanted: IpNetwork,
) -> Result<bool, Error> {
    // The bridge is the only one that may have this address, so there is nothing to detect, and it works at once.
    if !socket.add_address(bridge.index, wanted, NODAD)? {
        return Ok(false);
    }
    if let (IpNetwork::V6(_), Some(mac)) = (wanted, bridge.mac) {
        // What the kernel would do itself after a second of duplicate address detection. Until there is a link-local
        // address it solicits no neighbour for packets that it forwards (ndisc_send_ns), so they would be lost.
        socket.add_address(bridge.index, link_local(mac), NODAD)?;
        await_solicitable(&bridge.name, std::iter::once(wanted));
    }
    for address in socket.addresses(bridge.index)? {
        let found = address.network;
        if found == wanted || !conflicts(found, wanted) {
            continue;
        }
        if conf.force_address {
            socket.del_address(bridge.index, found)?;
        } else {
            socket.del_address(bridge.index, wanted)?;
            return Err(Error::Gateway { bridge: conf.bridge.to_string(), found, wanted });
        }
    }
    Ok(true)
}

/// The link-local address that the kernel derives from a hardware address (RFC 4291, appendix A).
fn link_local(mac: Mac) -> IpNetwork {
    let mut octets = [0; 16];
    octets[..2].copy_from_slice(&[0xfe, 0x80]);
    let mac = mac.octets();
    let (maker, number) = mac.split_at(3);
    octets[8..11].copy_from_slice(maker);
    octets[8] ^= 2;
    octets[11..13].copy_from_slice(&[0xff, 0xfe]);
    octets[13..].copy_from_slice(number);
    let address = Ipv6Addr::from(octets);
    IpNetwork::new(address.into(), 64).unwrap_or(IpNetwork::from(IpAddr::V6(address)))
}

/// The reference's rule: one IPv4 address a bridge; several IPv6 addresses where their subnets do not overlap.
fn conflicts(found: IpNetwork, wanted: IpNetwork) -> bool {
    match (found, wanted) {
        (IpNetwork::V4(_), IpNetwork::V4(_)) => true,
        (IpNetwork::V6(found), IpNetwork::V6(wanted)) => {
            found.contains(wanted.ip()) || wanted.contains(found.ip())
        }
        _ => false,
    }
}

/// Lets the host forward packets of the families that have a gateway.
pub(crate) fn enable_forwarding(gateways: &[IpNetwork]) -> Result<(), Error> {
    if gateways.iter().any(IpNetwork::is_ipv4) {
        sysctl::set("net/ipv4/ip_forward", "1")?;
    }
    if gateways.iter().any(IpNetwork::is_ipv6) {
        sysctl::set("net/ipv6/conf/all/forwarding", "1")?;
    }
    Ok(())
}

/// Removes the bridge where an ADD made it and it has no port any more.
pub(crate) fn remove_bridge_if_unused(
    host: &Namespace,
    socket: &mut Socket,
    name: &str,
) -> Result<(), Error> {
    let is_ours =
        |link: &Link| link.alias.as_deref() == Some(BRIDGE_ALIAS) && link.kind.as_deref() == Some("bridge");
    let Some(link) = socket.get_link(name)?.filter(is_ours) else {
        return Ok(());
    };
    if socket.has_ports(link.index)? {
        return Ok(());
    }
    // Somebody who holds it shared is about to add a port: then the bridge is in use.
    let Some(_alone) = host.try_lock_exclusive()? else {
        return Ok(());
    };
    if !socket.has_ports(link.index)? {
        socket.del_link(link.index)?;
    }
    Ok(())
}

/// An address of the locally administered range (IEEE 802: second lowest bit set, lowest clear).
pub(crate) fn random_mac() -> Mac {
    // Each state is keyed anew from the kernel's random numbers; that is all the randomness needed here.
    let [_, _, mut octets @ ..] = RandomState::new().hash_one(0_u8).to_be_bytes();
    octets[0] = (octets[0] & 0xfc) | 2;
    Mac::from(octets)
}

/// Sets a parameter that a kernel without IPv6 does not have.
pub(crate) fn set_where_present(path: &str, value: &str) -> Result<(), Error> {
    match sysctl::set(path, value) {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_addresses_are_local_unicast_and_differ() {
        let (one, other) = (random_mac(), random_mac());
        assert_ne!(one, other);
        assert_eq!(one.octets()[0] & 3, 2);
    }

    #[test]
    fn link_local_addresses_are_the_kernels() {
        assert_eq!(
            link_local(Mac::new([0x02, 0x11, 0x22, 0x33, 0x44, 0x55])).to_string(),
            "fe80::11:22ff:fe33:4455/64"
        );
    }

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
