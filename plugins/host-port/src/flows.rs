//! Connection tracking: a UDP flow goes on where its first packet went, whatever the rules say meanwhile.
//!
//! ADD makes the kernel forget flows to the very port that were there before, so that a client that never stops sending
//! reaches the container; DEL those that lead to the container. Other flows with the same port number, such as the
//! host's own questions to name servers, stay. TCP needs none of this: its flows end by themselves.

use std::net::IpAddr;

use nftables::conntrack::{self, Filter};
use nftables::{Family, Socket};
use nix::ifaddrs::getifaddrs;

use crate::error::Error;
use crate::localhost::STAND_IN;
use crate::port::{Port, Protocol};

/// Forgets the flows to the host's side of these ports.
pub(crate) fn forget_unpublished<'a>(
    socket: &mut Socket,
    ports: impl Iterator<Item = &'a Port>,
) -> Result<(), Error> {
    let mut filters = Vec::new();
    let mut addresses = None;
    for port in ports.filter(|port| port.protocol == Protocol::Udp) {
        if let Some(address) = port.host_ip {
            filters.push(filter(port).orig_dst(address));
            continue;
        }
        let all = match &addresses {
            Some(all) => all,
            None => addresses.insert(host_addresses()?),
        };
        let of_family = all.iter().filter(|address| address.is_ipv4() == port.container.is_ipv4());
        filters.extend(of_family.map(|address| filter(port).orig_dst(*address)));
    }
    Ok(conntrack::flush(socket, &filters)?)
}

/// Forgets the flows that these ports led to the container.
pub(crate) fn forget_published(socket: &mut Socket, ports: &[Port]) -> Result<(), Error> {
    let filters: Vec<Filter> = ports
        .iter()
        .filter(|port| port.protocol == Protocol::Udp)
        .map(|port| filter(port).reply_src(port.container.ip()).reply_sport(port.container.port()))
        .collect();
    Ok(conntrack::flush(socket, &filters)?)
}

fn filter(port: &Port) -> Filter {
    let family = if port.container.is_ipv4() { Family::Ip } else { Family::Ip6 };
    Filter::new(family, port.protocol.number()).orig_dport(port.host_port)
}

/// The addresses of this host that others send to, and what stands in for `::1`. Those that hold on one link only (`fe80::/10`, RFC 4291) are left
/// out: every veth has one.
fn host_addresses() -> Result<Vec<IpAddr>, Error> {
    let mut addresses: Vec<IpAddr> = getifaddrs()
        .map_err(|errno| Error::Addresses(errno.into()))?
        .filter_map(|interface| interface.address)
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
        })
        .filter(|address| !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()))
        .collect();
    addresses.push(STAND_IN.into());
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}
