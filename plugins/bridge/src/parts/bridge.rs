//! The bridge: found or made, brought to the configuration, and removed when it is unused.

pub(crate) mod existing;

use std::thread;
use std::time::{Duration, Instant};

use cni::trace;
use netlink::{Bridge, Link, Mac, Socket};

use super::vlan_gateway::VlanGateway;
use crate::bridge_lock::{self, Exclusive};
use crate::conf::Conf;
use crate::error::{Error, Result};
use crate::mac;
use crate::names::{BRIDGE_ALIAS, keeps_mac};

/// How long a DEL waits for ADDs that may need the bridge.
const PATIENCE: Duration = Duration::from_millis(500);

/// The most hardware addresses that a bridge of ours learns: four for each port that it can have. One container that sends from
/// ever new ones would have it keep them all for five minutes each, as much memory as that takes.
const FDB_MAX: u32 = 4_096;

const PAUSE: Duration = Duration::from_micros(500);

/// Finds the bridge, or makes it, with that hardware address where one is given. Says whether it was made.
pub(crate) fn find_or_make(socket: &mut Socket, conf: &Conf, mac: Option<Mac>) -> Result<(Link, bool)> {
    let name = conf.bridge.as_str();
    let mut made = false;
    let link = if let Some(link) = socket.get_link(name)? {
        link
    } else {
        // With an address of its own from the start, the bridge does not take on that of each new port.
        let spec = Bridge {
            name,
            mac: Some(mac.unwrap_or_else(|| mac::of_bridge(name))),
            mtu: conf.mtu,
            alias: Some(BRIDGE_ALIAS),
            vlan_filtering: conf.vlans.is_some(),
            fdb_max_learned: Some(FDB_MAX),
        };
        match socket.add_bridge(&spec) {
            Ok(link) => {
                made = true;
                link
            }
            Err(error) if error.is_exists() => socket
                .get_link(name)?
                .ok_or_else(|| Error::Transient(format!("bridge {name} went away while it was set up")))?,
            Err(error) => return Err(Error::vlan_filtering(error)),
        }
    };
    expect(&link)?;
    if keeps_mac(&link) && link.fdb_max_learned == Some(0) {
        // Made by an older version.
        socket.set_fdb_max_learned(link.index, FDB_MAX)?;
    }
    Ok((link, made))
}

/// Keeps the hardware address of a bridge that another program made: one that was never set is the lowest of its ports', and
/// changes as they come and go, and containers would lose their gateway.
pub(crate) fn pin_mac(socket: &mut Socket, bridge: &Link) -> Result<()> {
    match bridge.mac.filter(|_| !keeps_mac(bridge)) {
        Some(mac) => Ok(socket.set_mac(bridge.index, mac)?),
        None => Ok(()),
    }
}

/// Refuses a link of another kind.
pub(crate) fn expect(link: &Link) -> Result<()> {
    match link.kind.as_deref() {
        Some("bridge") => Ok(()),
        kind => {
            Err(Error::NotABridge { name: link.name.clone(), kind: kind.unwrap_or("a device").to_owned() })
        }
    }
}

/// The bridge as it is with its new port: one that another program made may have that port's hardware address by now.
pub(crate) fn with_port(socket: &mut Socket, bridge: Link) -> Result<Link> {
    if keeps_mac(&bridge) {
        return Ok(bridge);
    }
    Ok(socket.get_link_by_index(bridge.index)?.unwrap_or(bridge))
}

/// Removes the bridge where an ADD made it and it has no port any more; failing that, the gateway's device of a VLAN that
/// no port is on any more.
pub(crate) fn remove_if_unused(
    socket: &mut Socket,
    name: &str,
    gateway: Option<&VlanGateway>,
    is_synchronous: bool,
) -> Result<()> {
    let Some(bridge) = socket.get_link(name)?.filter(|link| link.kind.as_deref() == Some("bridge")) else {
        bridge_lock::forget(name);
        return Ok(());
    };
    let is_ours = match bridge.alias.as_deref() {
        Some(alias) => alias == BRIDGE_ALIAS,
        // The kernel takes no alias when it makes a link: this is one whose ADD was killed before it could give it.
        None => bridge.mac.is_some_and(|mac| mac::is_of_bridge(mac, name)),
    };
    if !is_ours {
        bridge_lock::forget(name);
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let bridge_unused = is_ours && !bridge.forwards() && !socket.has_ports(bridge.index)?;
        let unused_gateway = match gateway.filter(|_| !bridge_unused) {
            Some(gateway) if gateway.is_unused(socket, &bridge)? => Some(gateway),
            _ => None,
        };
        if !bridge_unused && unused_gateway.is_none() {
            let why = if is_ours { "it is in use" } else { "another program made it" };
            trace::decided("bridge", &[("name", &name), ("is", &"kept"), ("why", &why)]);
            return Ok(());
        }
        // An ADD that holds it shared is about to add a port.
        let Some(alone) = Exclusive::take(name)? else {
            if Instant::now() >= deadline {
                return Ok(());
            }
            thread::sleep(PAUSE);
            continue;
        };
        let mut is_gone = false;
        if bridge_unused && !socket.has_ports(bridge.index)? {
            interface::Removal::begin(bridge.index, is_synchronous).finish(socket)?;
            is_gone = true;
            trace::decided("bridge", &[("name", &name), ("is", &"removed")]);
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
