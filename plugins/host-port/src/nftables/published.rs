//! What is published on this host, read back from the kernel.

use nftables::Socket;

use super::owner::Holder;
use super::table::PORTS;
use crate::error::Error;
use crate::port::Port;

/// A published port and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The port: the host's side and the container's. Ports that the plugin chose itself (`hostPort: 0`) are here too.
    pub port: Port,
    /// The attachment's [`cni::Attachment::token`], which identifies it; the names that follow are for people.
    pub owner: String,
    /// The interface of the host that goes when the container goes.
    pub interface: String,
    /// The interface inside the container.
    pub ifname: String,
    /// The network's name, cut where it has more than about 80 bytes.
    pub network: String,
    /// The container's ID, cut where the kernel had no room: with the network's name some 85 bytes.
    pub container_id: String,
}

/// Every published port of the current network namespace, in order of port number; none where there is no table.
///
/// Fails where the kernel does not answer.
pub fn published(rules: &mut Socket) -> Result<Vec<Published>, Error> {
    let mut all = Vec::new();
    for map in PORTS {
        for element in rules.elements(map)? {
            if let Some(port) = Port::read(map, &element)
                && let Some(holder) = element.comment.as_deref().and_then(Holder::read)
            {
                let Holder { owner, interface, ifname, network, container_id } = holder;
                all.push(Published { port, owner, interface, ifname, network, container_id });
            }
        }
    }
    all.sort_by_key(|published| {
        let Port { host_ip, host_port, protocol, container } = published.port;
        (host_port, protocol, host_ip, container)
    });
    Ok(all)
}
