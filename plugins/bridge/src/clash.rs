//! Whether a network's subnet is another link's too: then the host has two ways to one address, and takes the first.
//!
//! STATUS and `cleat check` report it, and no ADD is refused for it: a node on which it works
//! all the same goes on working.

use interface::{Ipam, network_of};
use ipnetwork::IpNetwork;
use netlink::Socket;
use serde_json::Value;

use cni::Request;

use crate::cidrs::{is_link_local, overlap};
use crate::conf::Conf;
use crate::error::{Error, Result};

/// Names another link that has an address of one of the network's subnets; `None` where the host's way to them is the
/// network's own.
///
/// A network without a gateway on the host concerns no route of it. A single address (`/32`, as of flannel's device or of
/// kube-proxy's) gives no way to others; and that of a wider network, as the host's own uplink may have, gives way to the
/// narrower one, unless it is another bridge's, which gives the same addresses to containers of its own.
pub(crate) fn find(socket: &mut Socket, request: &Request, conf: &Conf) -> Result<Option<Error>> {
    let subnets = subnets(request, conf);
    if !conf.gateway || subnets.is_empty() {
        return Ok(None);
    }
    let mut own = Vec::new();
    for name in [conf.bridge.as_str(), conf.host_link().as_str()] {
        own.extend(socket.get_link(name)?.map(|link| link.index));
    }
    for (index, address) in socket.all_addresses()? {
        let network = address.network;
        let Some(subnet) = subnets.iter().find(|subnet| overlap(**subnet, network)) else { continue };
        if own.contains(&index) || is_single(network) || is_link_local(network) {
            continue;
        }
        let Some(link) = socket.get_link_by_index(index)? else { continue };
        if network.prefix() < subnet.prefix() && link.kind.as_deref() != Some("bridge") {
            continue;
        }
        return Ok(Some(Error::Clash { subnet: *subnet, link: link.name, network: network_of(network) }));
    }
    Ok(None)
}

/// The subnets that host-local leases addresses of. What another program leases is not known before it does.
fn subnets(request: &Request, conf: &Conf) -> Vec<IpNetwork> {
    if conf.ipam != Ipam::HostLocal {
        return Vec::new();
    }
    let ranges = request.conf.value(&["ipam", "ranges"]).and_then(Value::as_array).into_iter().flatten();
    let ranges = ranges.filter_map(Value::as_array).flatten();
    let texts = ranges.chain(request.conf.value(&["ipam"])).filter_map(|range| range.get("subnet")?.as_str());
    texts.filter_map(|text| cni::cidr::parse(text).ok()).collect()
}

fn is_single(network: IpNetwork) -> bool {
    network.prefix() == if network.is_ipv4() { 32 } else { 128 }
}
