//! `route_localnet` of a bridge that this project made, which a version before this one switched on and nothing needs any more.

use cni::links::{BRIDGE_ALIAS, GATEWAY_ALIAS};
use netlink::{Link, sysctl};
use nftables::Socket;

use super::localhost::{is_ours, path};
use crate::container::Container;
use crate::error::Error;
use crate::iptables::taken;
use crate::reference_tables;

/// The container's bridge, or the VLAN device on it, where that has `route_localnet` on and nothing needs it: a version before
/// this one switched it on, and its table was flushed or the reference has left. On a bridge that
/// another program made it is that program's.
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
            && !taken::have_ports(socket)?
            && !reference_tables::has_ports(socket)?
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
