//! Whether a network's subnet is another link's too: then the host has two ways to one address, and takes the first.
//!
//! STATUS and `cleat check` report it, and no ADD is refused for it: a node on which it works
//! all the same goes on working.

use ipnetwork::IpNetwork;
use netlink::Socket;
use serde::Deserialize;
use serde_json::Value;

use cni::Request;

use crate::conf::Conf;
use crate::error::{Error, Result};

/// Names another link that has an address of one of the network's subnets; `None` where the host's way to them is the
/// network's own.
///
/// A network without a gateway on the host concerns no route of it. A single address (`/32`, as of flannel's device or of
/// kube-proxy's) gives no way to others; and that of a wider network, as the host's own uplink may have, gives way to the
/// narrower one, unless it is another bridge's, which gives the same addresses to containers of its own.
pub(crate) fn find(socket: &mut Socket, request: &Request, conf: &Conf) -> Result<Option<Error>> {
    let subnets = subnets(request);
    if !conf.gateway || subnets.is_empty() {
        return Ok(None);
    }
    let mut own = Vec::new();
    for name in [conf.bridge.as_str(), conf.host_link().as_str()] {
        own.extend(socket.get_link(name)?.map(|link| link.index));
    }
    for (index, address) in socket.all_addresses()? {
        let network = address.network;
        let Some(subnet) = subnets.iter().find(|subnet| meet(**subnet, network)) else { continue };
        if own.contains(&index) || is_single(network) || is_link_local(network) {
            continue;
        }
        let Some(link) = socket.get_link_by_index(index)? else { continue };
        if network.prefix() < subnet.prefix() && link.kind.as_deref() != Some("bridge") {
            continue;
        }
        return Ok(Some(Error::Clash { subnet: *subnet, link: link.name, network: whole(network) }));
    }
    Ok(None)
}

/// The subnets that host-local leases addresses of. What another program leases is not known before it does.
fn subnets(request: &Request) -> Vec<IpNetwork> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Ipam {
        r#type: String,
        subnet: String,
        ranges: Vec<Vec<Value>>,
    }
    let keys = request.conf.raw().get("ipam").cloned().unwrap_or_default();
    let ipam: Ipam = serde_json::from_value(keys).unwrap_or_default();
    if ipam.r#type != "host-local" {
        return Vec::new();
    }
    let ranges = ipam.ranges.iter().flatten().filter_map(|range| range.get("subnet")?.as_str());
    let texts = ranges.chain([ipam.subnet.as_str()]);
    texts.filter_map(|text| cni::cidr::parse(text).ok()).collect()
}

fn meet(one: IpNetwork, other: IpNetwork) -> bool {
    one.contains(other.network()) || other.contains(one.network())
}

fn is_single(network: IpNetwork) -> bool {
    network.prefix() == if network.is_ipv4() { 32 } else { 128 }
}

fn is_link_local(network: IpNetwork) -> bool {
    matches!(network, IpNetwork::V6(v6) if v6.ip().is_unicast_link_local())
}

/// The network that an address is of.
fn whole(address: IpNetwork) -> IpNetwork {
    IpNetwork::new(address.network(), address.prefix()).unwrap_or(address)
}
