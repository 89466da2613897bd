//! A bridge that was there before an ADD: it is brought to the configuration where that breaks nothing for the ports that
//! it has, and refused where it would.

use ipnetwork::IpNetwork;
use netlink::{Link, Socket};

use crate::cidrs::is_link_local;
use crate::conf::Conf;
use crate::error::{Error, Result};

/// Brings a bridge to the configuration. Says whether anything had to be changed; [`restore`] takes it back.
pub(crate) fn adapt(socket: &mut Socket, conf: &Conf, found: &Link) -> Result<bool> {
    let mut wanted = Link { promisc: found.promisc || conf.keys.promisc_mode, up: true, ..found.clone() };
    // Beside ports the MTU stays as it is: the kernel keeps it at the least of theirs, unless it was set by hand, on the
    // operator's own responsibility.
    if let Some(mtu) = conf.mtu.filter(|mtu| *mtu != found.mtu)
        && !socket.has_ports(found.index)?
    {
        wanted.mtu = mtu;
    }
    if conf.vlans.is_some() && found.vlan_filtering != Some(true) {
        // The refusal comes before the first change.
        if socket.has_ports(found.index)? {
            return Err(Error::Unfiltered(found.name.clone()));
        }
        wanted.vlan_filtering = Some(true);
    }
    if wanted == *found {
        return Ok(false);
    }
    let changed = change(socket, found, &wanted);
    if changed.is_err() {
        // Of two failures the first is the one to report.
        let _ = restore(socket, found);
    }
    changed.map(|()| true)
}

/// Takes back what [`adapt`] changed, unless another ADD relies on it by now: then the bridge has ports.
pub(crate) fn restore(socket: &mut Socket, before: &Link) -> Result<()> {
    match socket.get_link_by_index(before.index)? {
        Some(now) if !socket.has_ports(before.index)? => change(socket, &now, before),
        _ => Ok(()),
    }
}

fn change(socket: &mut Socket, now: &Link, wanted: &Link) -> Result<()> {
    if now.mtu != wanted.mtu {
        socket.set_mtu(now.index, wanted.mtu)?;
    }
    if now.vlan_filtering != wanted.vlan_filtering {
        let on = wanted.vlan_filtering == Some(true);
        socket.set_vlan_filtering(now.index, on).map_err(Error::vlan_filtering)?;
    }
    if now.promisc != wanted.promisc {
        socket.set_promisc(now.index, wanted.promisc)?;
    }
    if wanted.up && !now.up {
        socket.set_up(now.index)?;
    }
    if now.up && !wanted.up && !loses_addresses(socket, now.index)? {
        socket.set_down(now.index)?;
    }
    Ok(())
}

/// Whether a link has IPv6 addresses of its own, which the kernel takes away when it is set down.
fn loses_addresses(socket: &mut Socket, link: u32) -> Result<bool> {
    let is_its_own = |network: IpNetwork| network.is_ipv6() && !is_link_local(network);
    Ok(socket.addresses(link)?.iter().any(|address| is_its_own(address.network)))
}
