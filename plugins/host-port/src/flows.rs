//! Connection tracking: a UDP flow goes on where its first packet went, whatever the rules say meanwhile.
//!
//! ADD removes earlier flows to the port, so that a client that never stops sending reaches the container; DEL removes
//! those that lead to the container. Other flows with the same port number, such as the host's own queries to name
//! servers, stay. TCP needs none of this: its flows end by themselves.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use cni::Protocol;
use nftables::conntrack::{self, Filter};
use nftables::{Family, Socket};

use crate::error::Error;
use crate::port::Port;

/// Forgets the flows to the host's side of these ports: where that is every address of the host, those of the port's
/// number whose destination the kernel takes for its own, by an address of a link or by a route.
pub(crate) fn forget_unpublished<'a>(
    socket: &mut Socket,
    ports: impl Iterator<Item = &'a Port>,
) -> Result<(), Error> {
    let (mut exact, mut anywhere, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for port in ports.filter(|port| port.protocol == Protocol::Udp) {
        numbers.push(port.host_port);
        match port.host_ip {
            Some(address) => exact.push(filter(port).orig_dst(address)),
            None => anywhere.push(filter(port)),
        }
    }
    if numbers.is_empty() || !conntrack::may_have_flows_to(Protocol::Udp.number(), &numbers) {
        return Ok(());
    }
    conntrack::flush(socket, &exact)?;
    let mut flows = conntrack::flows(socket, &anywhere)?;
    if flows.is_empty() {
        return Ok(());
    }
    let mut links = netlink::Socket::open()?;
    let mut known = BTreeMap::new();
    for flow in &flows {
        if let Entry::Vacant(unknown) = known.entry(flow.destination) {
            unknown.insert(links.is_local(flow.destination)?);
        }
    }
    flows.retain(|flow| known.get(&flow.destination) == Some(&true));
    Ok(conntrack::forget(socket, &flows)?)
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
