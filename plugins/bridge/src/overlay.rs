//! Overlay networks: one network over many nodes, of which the bridge is one node's part.
//!
//! The network's agent gives each node a block of the network's addresses, makes the device that leads to the other nodes,
//! and says both in a file ([`::overlay`]). No verb asks anything of another machine:
//!
//! - ADD takes host-local's ranges and the MTU from the file, and routes to the network's prefixes where the container has no
//!   way there. Without the file it is refused as for a while (code 11), and STATUS says 50.
//! - Packets to the network's prefixes keep their source: the prefixes are exceptions of masquerading, as those of
//!   `ipMasqExcept` are.
//! - The gate takes the device for a part of the network, and guards it: see [`crate::filter::gate`].
//! - CHECK compares what there is with the file, and where that is not there, or is of no use, all that does not need it. The
//!   addresses are what ADD said, of whatever block that was. repair needs the file as ADD does: it would translate addresses
//!   otherwise that must not be.
//! - DEL and GC never read it: what they remove is found by its own names.
//!
//! A file that has changed is for new containers, and those that are there keep their addresses, MTU and routes. The gate
//! follows with the next ADD or repair, and so do the exceptions of masquerading, but where iptables masquerades: there each
//! container has its own, which repair mends. The bridge keeps the gateway's address of an earlier block as long as it is
//! there: which containers still need it, the agent knows.

use std::borrow::Cow;

use ::overlay::{Block, Node};
use cni::{AddResult, NetworkName, Request, Target};
use interface::{network_of, table};
use ipnetwork::IpNetwork;
use netlink::Socket;
use serde_json::{Value, json};

use crate::conf::Conf;
use crate::error::{DEVICE, Error, Result, config, differs};

/// A request that host-local can work with, and the configuration with what the file says.
type Completed<'a> = (Cow<'a, Request>, Conf);

/// Whether a verb can do without the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// It has to be there.
    File,
    /// What is not known is not compared.
    Not,
}

/// For attachments that are to be made: with the addresses of the present block.
pub(crate) fn for_new<'a>(request: &'a Request, target: Option<&Target>) -> Result<Completed<'a>> {
    let mut conf = Conf::new(request, target)?;
    let Some(name) = &conf.overlay else { return Ok((Cow::Borrowed(request), conf)) };
    let node = read(name)?;
    if let Some(mtu) = conf.mtu.filter(|mtu| *mtu > node.mtu) {
        return Err(config(
            format!("mtu {mtu} is larger than the {} of overlay network {name}", node.mtu),
            "leave \"mtu\" out, so that it is the overlay network's",
        ));
    }
    let request = with_ranges(request, &node.blocks)?;
    conf.join(node);
    Ok((Cow::Owned(request), conf))
}

/// For an attachment that is there: with the addresses that it has, of whatever block.
pub(crate) fn for_existing<'a>(request: &'a Request, target: &Target, need: Need) -> Result<Completed<'a>> {
    let mut conf = Conf::new(request, Some(target))?;
    let Some(name) = &conf.overlay else { return Ok((Cow::Borrowed(request), conf)) };
    let node = match read(name) {
        Err(_) if need == Need::Not => None,
        outcome => Some(outcome?),
    };
    let result = request.conf.prev_result.iter();
    let mut blocks: Vec<Block> = Vec::new();
    for ip in result.flat_map(|result| result.container_ips(target.ifname().as_str())) {
        let subnet = network_of(ip.address);
        let is_known = blocks.iter().any(|block| block.subnet == subnet);
        if !is_known && !is_single(subnet) {
            blocks.push(Block { subnet, gateway: ip.gateway });
        }
    }
    let request = with_ranges(request, &blocks)?;
    if let Some(node) = node {
        conf.join(node);
    }
    Ok((Cow::Owned(request), conf))
}

fn read(name: &NetworkName) -> Result<Node> {
    ::overlay::read(name)?.ok_or_else(|| Error::NoBlock(::overlay::path(name)))
}

/// An address that another plugin gave is of no block.
fn is_single(network: IpNetwork) -> bool {
    network.prefix() > if network.is_ipv4() { 30 } else { 126 }
}

/// The request with ranges for host-local: one set a family.
fn with_ranges(request: &Request, blocks: &[Block]) -> Result<Request> {
    let set = |is_ipv4: bool| -> Vec<Value> {
        let of_family = blocks.iter().filter(|block| block.subnet.is_ipv4() == is_ipv4);
        of_family.map(|block| json!(block)).collect()
    };
    let sets: Vec<Vec<Value>> = [true, false].map(set).into_iter().filter(|set| !set.is_empty()).collect();
    let mut ipam = request.conf.value(&["ipam"]).and_then(Value::as_object).cloned().unwrap_or_default();
    ipam.retain(|key, _| !key.eq_ignore_ascii_case("ranges"));
    ipam.insert("ranges".to_owned(), json!(sets));
    let mut keys = request.conf.raw().clone();
    keys.retain(|key, _| !key.eq_ignore_ascii_case("ipam"));
    keys.insert("ipam".to_owned(), ipam.into());
    Ok(Request { conf: cni::Conf::from_object(keys)?, ..request.clone() })
}

/// Adds the routes to the network's prefixes that no other route covers. Members of other nodes are behind the gateway, also
/// of a container that has no way out.
pub(crate) fn add_routes(conf: &Conf, given: &mut AddResult) {
    let Some(node) = conf.node.as_ref().filter(|_| !conf.keys.is_default_gateway) else { return };
    for prefix in &node.prefixes {
        let is_needed = given.ips.iter().any(|ip| ip.address.is_ipv4() == prefix.is_ipv4());
        let covers = |route: &cni::Route| {
            table(route.table) == netlink::Route::MAIN
                && route.dst.prefix() <= prefix.prefix()
                && route.dst.contains(prefix.ip())
        };
        if is_needed && !given.routes.iter().any(covers) {
            given.routes.push(cni::Route::new(*prefix, None));
        }
    }
}

/// Names what is wrong with the device that leads to the other nodes.
pub(crate) fn expect_device(socket: &mut Socket, conf: &Conf) -> Result<()> {
    let (Some(name), Some(node)) = (&conf.overlay, &conf.node) else { return Ok(()) };
    let device = &node.device;
    let fault = |what: String| differs(format!("link {device}, {DEVICE} {name}, {what}"));
    match socket.get_link(device)? {
        None => fault("does not exist".to_owned()),
        Some(link) if !link.up => fault("is down".to_owned()),
        Some(link) if link.mtu != node.mtu => {
            fault(format!("has MTU {} and not {}, as containers do", link.mtu, node.mtu))
        }
        Some(_) => Ok(()),
    }
}
