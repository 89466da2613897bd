//! A bridge that was there before an ADD: it is brought to the configuration where that breaks nothing for the ports that
//! it has, and refused where it would.

use ipnetwork::IpNetwork;
use netlink::{Link, Socket};

use crate::cidrs::is_link_local;
use crate::conf::Conf;
use crate::error::{Error, Result};

/// Brings a bridge to the configuration. Says whether anything had to be changed; [`restore`] takes it back.
pub(crate) fn adapt(socket: &mut Socket, conf: &Conf, found: &Link) -> Result<bool> {
    let mtu = other_mtu(socket, conf, found)?;
    let filter = conf.vlans.is_some() && found.vlan_filtering != Some(true);
    let promiscuous = conf.keys.promisc_mode && !found.promisc;
    if mtu.is_none() && !filter && !promiscuous && found.up {
        return Ok(false);
    }
    // The refusal comes before the first change.
    if filter && socket.has_ports(found.index)? {
        return Err(Error::Unfiltered(found.name.clone()));
    }
    let mut change = || {
        if let Some(mtu) = mtu {
            socket.set_mtu(found.index, mtu)?;
        }
        if filter {
            socket.set_vlan_filtering(found.index, true).map_err(Error::vlan_filtering)?;
        }
        if promiscuous {
            socket.set_promisc(found.index, true)?;
        }
        if !found.up {
            socket.set_up(found.index)?;
        }
        Ok(())
    };
    match change() {
        Ok(()) => Ok(true),
        Err(error) => {
            // Of two failures the first is the one to report.
            let _ = restore(socket, found);
            Err(error)
        }
    }
}

/// The MTU that a bridge is to be given. Beside ports it stays as it is: the kernel keeps it at the least of theirs, unless
/// it was set by hand, on the operator's own responsibility.
fn other_mtu(socket: &mut Socket, conf: &Conf, bridge: &Link) -> Result<Option<u32>> {
    match conf.mtu {
        Some(mtu) if mtu != bridge.mtu && !socket.has_ports(bridge.index)? => Ok(Some(mtu)),
        _ => Ok(None),
    }
}

/// Takes back what [`adapt`] changed, unless another ADD relies on it by now: then the bridge has ports.
pub(crate) fn restore(socket: &mut Socket, before: &Link) -> Result<()> {
    let Some(now) = socket.get_link_by_index(before.index)? else {
        return Ok(());
    };
    if socket.has_ports(before.index)? {
        return Ok(());
    }
    if now.mtu != before.mtu {
        socket.set_mtu(before.index, before.mtu)?;
    }
    if now.vlan_filtering != before.vlan_filtering {
        socket.set_vlan_filtering(before.index, before.vlan_filtering == Some(true))?;
    }
    if now.promisc != before.promisc {
        socket.set_promisc(before.index, before.promisc)?;
    }
    if now.up && !before.up && !loses_addresses(socket, before.index)? {
        socket.set_down(before.index)?;
    }
    Ok(())
}

/// Whether a link has IPv6 addresses of its own, which the kernel takes away when it is set down.
fn loses_addresses(socket: &mut Socket, link: u32) -> Result<bool> {
    let is_its_own = |network: IpNetwork| network.is_ipv6() && !is_link_local(network);
    Ok(socket.addresses(link)?.iter().any(|address| is_its_own(address.network)))
}
