//! Forwarding: what lets the host pass packets on from and to a network that has a gateway.

use ipnetwork::IpNetwork;
use netlink::{Family, Socket, sysctl};

use super::advertisements;
use crate::error::Result;

const FORWARDING_V6: &str = "net/ipv6/conf/all/forwarding";

/// Lets the host forward packets of the families that have a gateway, and keep its own IPv6 as it does.
pub(crate) fn enable(socket: &mut Socket, gateways: &[IpNetwork]) -> Result<()> {
    let off = missing(socket, gateways)?;
    if gateways.iter().any(IpNetwork::is_ipv6) {
        advertisements::keep(socket, !off.contains(&FORWARDING_V6))?;
    }
    for parameter in off {
        sysctl::write(parameter, "1").map_err(|source| interface::sysctl(parameter, "1", source))?;
    }
    Ok(())
}

/// The parameters by which the host does not forward packets of the families that have a gateway.
pub(crate) fn missing(socket: &mut Socket, gateways: &[IpNetwork]) -> Result<Vec<&'static str>> {
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
