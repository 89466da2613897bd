//! The host's side: the bridge, forwarding, and the removal of a bridge that nobody uses.

use std::hash::{BuildHasher, RandomState};
use std::thread;
use std::time::{Duration, Instant};

use cni::{hex, token};
use ipnetwork::IpNetwork;
use netlink::{Bridge, Family, Link, Mac, Namespace, PortFlags, Socket, sysctl};

use crate::advertisements::{self, Heeded};
use crate::conf::Conf;
use crate::deputy;
use crate::error::Error;
use crate::existing;
use crate::gateway::VlanGateway;
use crate::hold::{self, Alone};
use crate::names::BRIDGE_ALIAS;

/// How long the kernel is waited for, and a DEL waits for ADDs that may need the bridge.
const PATIENCE: Duration = Duration::from_millis(500);

/// The most hardware addresses that a bridge of ours learns: four for each port that it can have. One container that sends from
/// ever new ones would have it keep them all for five minutes each, as much memory as that takes.
const FDB_MAX: u32 = 4_096;

const PAUSE: Duration = Duration::from_micros(500);

/// A bridge that is as the configuration wants it.
#[derive(Debug)]
pub(crate) struct Ensured {
    /// The bridge as it was found, or made.
    pub link: Link,
    /// What it had been where it was there before and was changed.
    pub before: Option<Link>,
    /// That the host may go on heeding router advertisements by it.
    pub heeded: Option<Heeded>,
}

/// Finds the bridge and brings it to the configuration, or makes it, with that hardware address where one is given.
pub(crate) fn ensure_bridge(socket: &mut Socket, conf: &Conf, mac: Option<Mac>) -> Result<Ensured, Error> {
    let name = conf.bridge.as_str();
    let mut made = false;
    let link = if let Some(link) = socket.get_link(name)? {
        link
    } else {
        // With an address of its own from the start, the bridge does not take on that of each new port.
        let spec = Bridge {
            name,
            mac: Some(mac.unwrap_or_else(|| marked_mac(name))),
            mtu: conf.mtu,
            alias: Some(BRIDGE_ALIAS),
            vlan_filtering: conf.vlans.is_some(),
            fdb_max_learned: Some(FDB_MAX),
        };
        match socket.add_bridge(&spec) {
            Ok(_) => made = true,
            Err(error) if error.is_exists() => {}
            Err(error) => return Err(Error::vlan_filtering(error)),
        }
        socket
            .get_link(name)?
            .ok_or_else(|| Error::Passing(format!("bridge {name} went away while it was set up")))?
    };
    expect_bridge(&link)?;
    if keeps_mac(&link) && link.fdb_max_learned == Some(0) {
        // Made by a version before this one.
        socket.set_fdb_max_learned(link.index, FDB_MAX)?;
    }
    // A container must not hand the host a route.
    let heeded = advertisements::refuse(socket, &link)?;
    // A bridge that another ADD has just made needs this as little as one of our own, but for promiscMode.
    let adapted = existing::adapt(socket, conf, &link)?;
    let before = (adapted && !made).then(|| link.clone());
    Ok(Ensured { link, before, heeded })
}

/// Keeps the hardware address of a bridge that somebody else made: one that was never set is the lowest of its ports', and
/// changes as they come and go, and containers would lose their gateway.
pub(crate) fn pin_mac(socket: &mut Socket, bridge: &Link) -> Result<(), Error> {
    match bridge.mac.filter(|_| !keeps_mac(bridge)) {
        Some(mac) => Ok(socket.set_mac(bridge.index, mac)?),
        None => Ok(()),
    }
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

/// The bridge as it is with its new port: one that somebody else made may have that port's hardware address by now.
pub(crate) fn with_port(socket: &mut Socket, bridge: Link) -> Result<Link, Error> {
    if keeps_mac(&bridge) {
        return Ok(bridge);
    }
    Ok(socket.get_link_by_index(bridge.index)?.unwrap_or(bridge))
}

/// Whether the bridge's hardware address is its own for sure.
pub(crate) fn keeps_mac(bridge: &Link) -> bool {
    bridge.alias.as_deref() == Some(BRIDGE_ALIAS)
}

const FORWARDING_V6: &str = "net/ipv6/conf/all/forwarding";

/// Lets the host forward packets of the families that have a gateway, and keep its own IPv6 as it does.
pub(crate) fn enable_forwarding(socket: &mut Socket, gateways: &[IpNetwork]) -> Result<(), Error> {
    let off = not_forwarded(socket, gateways)?;
    if gateways.iter().any(IpNetwork::is_ipv6) {
        advertisements::keep(socket, !off.contains(&FORWARDING_V6))?;
    }
    for parameter in off {
        sysctl::write(parameter, "1").map_err(|source| Error::Sysctl {
            parameter: parameter.to_owned(),
            value: "1",
            source,
        })?;
    }
    Ok(())
}

/// The parameters by which the host does not forward packets of the families that have a gateway.
pub(crate) fn not_forwarded(socket: &mut Socket, gateways: &[IpNetwork]) -> Result<Vec<&'static str>, Error> {
    let families = [
        (Family::V4, gateways.iter().any(IpNetwork::is_ipv4), "net/ipv4/ip_forward"),
        (Family::V6, gateways.iter().any(IpNetwork::is_ipv6), FORWARDING_V6),
    ];
    let mut off = Vec::new();
    for (family, _, parameter) in families.into_iter().filter(|(_, is_needed, _)| *is_needed) {
        // Where the kernel does not have the family, the parameter's absence says so in better known words.
        if !socket.forwards(family).unwrap_or_default() && sysctl::get(parameter)? == "0" {
            off.push(parameter);
        }
    }
    Ok(off)
}

/// Switches a new port's own IPv6 off, before it has a carrier. Nobody speaks to it, but all ports' routes to groups are
/// one list, which the kernel walks at every packet to a group, and whenever a link comes or goes: 1 ms of an ADD among
/// 5,000, and 2 ms of a DEL. Where it cannot be switched off, the port costs that.
pub(crate) fn leave_ipv6_to_the_bridge(port: &str) {
    let _ = sysctl::write(&format!("net/ipv6/conf/{port}/disable_ipv6"), "1");
}

/// Removes the bridge where an ADD made it and it has no port any more; failing that, the gateway's device of a VLAN that
/// no port is on any more.
pub(crate) fn remove_bridge_if_unused(
    host: &Namespace,
    socket: &mut Socket,
    name: &str,
    gateway: Option<&VlanGateway>,
) -> Result<(), Error> {
    let Some(bridge) = socket.get_link(name)?.filter(|link| link.kind.as_deref() == Some("bridge")) else {
        hold::forget(name);
        return Ok(());
    };
    let is_ours = match bridge.alias.as_deref() {
        Some(alias) => alias == BRIDGE_ALIAS,
        // The kernel takes no alias when it makes a link: this is one whose ADD was killed before it could give it.
        None => bridge.mac.is_some_and(|mac| is_marked(mac, name)),
    };
    if !is_ours {
        hold::forget(name);
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let bridge_unused = is_ours && !bridge.forwards() && !socket.has_ports(bridge.index)?;
        let unused_gateway = match gateway.filter(|_| !bridge_unused) {
            Some(gateway) if gateway.is_unused(socket, &bridge)? => Some(gateway),
            _ => None,
        };
        if !bridge_unused && unused_gateway.is_none() {
            return Ok(());
        }
        // Somebody who holds it shared is about to add a port.
        let Some(alone) = Alone::take(host, name)? else {
            if Instant::now() >= deadline {
                return Ok(());
            }
            thread::sleep(PAUSE);
            continue;
        };
        let mut is_gone = false;
        if bridge_unused && !socket.has_ports(bridge.index)? {
            deputy::remove(socket, bridge.index)?;
            is_gone = true;
        }
        let outcome = match unused_gateway {
            Some(gateway) if gateway.is_unused(socket, &bridge)? => gateway.remove(socket, &bridge),
            _ => Ok(()),
        };
        if is_gone || !is_ours {
            alone.forget();
        }
        return outcome;
    }
}

/// An address of the locally administered range (IEEE 802: second lowest bit set, lowest clear).
pub(crate) fn random_mac() -> Mac {
    // Each state is keyed anew from the kernel's random numbers; that is all the randomness needed here.
    let [_, _, mut octets @ ..] = RandomState::new().hash_one(0_u8).to_be_bytes();
    octets[0] = (octets[0] & 0xfc) | 2;
    Mac::from(octets)
}

/// An address for a bridge that an ADD makes: random as any, but for its last half, which follows from the first half
/// and the name. It tells the bridge from other people's in the moment that it has no alias yet.
fn marked_mac(name: &str) -> Mac {
    let mut octets = random_mac().octets();
    let (half, rest) = octets.split_at_mut(3);
    rest.copy_from_slice(&mark(half, name));
    Mac::from(octets)
}

fn is_marked(mac: Mac, name: &str) -> bool {
    let octets = mac.octets();
    let (half, rest) = octets.split_at(3);
    rest == mark(half, name)
}

fn mark(half: &[u8], name: &str) -> [u8; 3] {
    let hash = token(&[BRIDGE_ALIAS, name, &hex(half)]);
    let byte = |at: usize| hash.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    [0, 2, 4].map(|at| byte(at).unwrap_or_default())
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
    fn a_bridges_address_tells_that_an_add_made_it() {
        let mac = marked_mac("cni0");
        assert_eq!(mac.octets()[0] & 3, 2);
        assert!(is_marked(mac, "cni0") && !is_marked(mac, "cni1"));
        assert!(!is_marked(random_mac(), "cni0"));
        assert_ne!(marked_mac("cni0"), mac);
    }
}
