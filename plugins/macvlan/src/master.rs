//! The link below: the interface of the host, or of the container, on which the container's is made.

use cni::{AddResult, IfName};
use netlink::{Family as Ip, Link, Socket};

use crate::conf::{Conf, Family};
use crate::error::{Error, Result, config};

/// Finds the link below in the namespace of a socket. Where none is named, it is the one interface that the plugin before in the
/// list made, or that of the default route.
pub(crate) fn find(socket: &mut Socket, conf: &Conf, previous: Option<&AddResult>) -> Result<Link> {
    let chained = previous.map(|previous| chained(conf.family, previous)).transpose()?.flatten();
    let place = if conf.in_container { " in the container" } else { "" };
    match conf.master.as_ref().or(chained.as_ref()) {
        Some(name) => {
            let missing = || Error::NoMaster { name: name.to_string(), place };
            socket.get_link(name.as_str())?.ok_or_else(missing)
        }
        None => of_default_route(socket),
    }
}

/// The one interface that an earlier plugin made. Of several none is meant: the reference's ipvlan then refuses, and its macvlan
/// takes the default route's.
fn chained(family: Family, previous: &AddResult) -> Result<Option<IfName>> {
    match &previous.interfaces[..] {
        [only] if !only.name.is_empty() => Ok(Some(IfName::new(only.name.as_str())?)),
        several if family == Family::Ipvlan => Err(config(
            format!("no master is named, and the plugin before made {} interfaces, not one", several.len()),
            "set \"master\" to the one that is meant",
        )),
        _ => Ok(None),
    }
}

fn of_default_route(socket: &mut Socket) -> Result<Link> {
    for family in [Ip::V4, Ip::V6] {
        let routes = socket.default_routes(family)?;
        if let Some(index) = routes.iter().find_map(|route| route.oif)
            && let Some(link) = socket.get_link_by_index(index)?
        {
            return Ok(link);
        }
    }
    Err(Error::NoDefaultRoute)
}
