//! A bridge that was there before an ADD: it is brought to the configuration where that breaks nothing for the ports that
//! it has, and refused where it would.

use netlink::{Link, Socket};

use crate::conf::Conf;
use crate::error::Error;

/// Brings a bridge to the configuration. Says whether anything had to be changed; [`restore`] takes it back.
pub(crate) fn adapt(socket: &mut Socket, conf: &Conf, found: &Link) -> Result<bool, Error> {
    let mtu = conf.mtu.filter(|mtu| *mtu != found.mtu);
    let filter = conf.vlans.is_some() && found.vlan_filtering != Some(true);
    let promiscuous = conf.promiscuous && !found.promisc;
    if mtu.is_none() && !filter && !promiscuous && found.up {
        return Ok(false);
    }
    // All refusals come before the first change.
    if let Some(mtu) = mtu {
        refuse_other_mtus(socket, found, mtu)?;
    }
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

/// A bridge drops without a word what is larger than the port's MTU that it would leave by.
fn refuse_other_mtus(socket: &mut Socket, bridge: &Link, wanted: u32) -> Result<(), Error> {
    match socket.ports(bridge.index)?.into_iter().find(|port| port.mtu != wanted) {
        Some(port) => {
            Err(Error::Mtu { bridge: bridge.name.clone(), wanted, port: port.name, found: port.mtu })
        }
        None => Ok(()),
    }
}

/// Takes back what [`adapt`] changed, unless somebody else relies on it by now: then the bridge has ports.
pub(crate) fn restore(socket: &mut Socket, before: &Link) -> Result<(), Error> {
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
    if now.up && !before.up {
        socket.set_down(before.index)?;
    }
    Ok(())
}
