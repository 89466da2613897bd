//! Host ports that host-port chose (`hostPort` 0), read from its table in the kernel (`cni::host_ports` documents it). That
//! takes one question for each port of the container.

use std::net::IpAddr;

use cni::{Attachment, PortMapping, Protocol, host_ports};
use nftables::{Data, Family, Field, Ifname, Set, Socket, Table, Type, key};

use crate::error::Error;

const TABLE: Table = Table::new(Family::Inet, host_ports::TABLE);
const OWNERS: Set = Set::vmap(TABLE, host_ports::OWNERS, &[Type::Ifname]);

/// The host's side of a published port; no address stands for all of them.
type HostPort = (Option<IpAddr>, Protocol, u16);

/// Fills in the chosen ports. A mapping that the table does not have, as with iptables, keeps its 0.
pub(crate) fn note(attachment: &Attachment, published: &mut [PortMapping]) -> Result<(), Error> {
    if published.iter().all(|mapping| mapping.host_port != 0) {
        return Ok(());
    }
    let mut socket = Socket::open()?;
    let owner = Field::Ifname(Ifname::new(&host_ports::owner_key(attachment))?);
    let comment =
        socket.get_element(&OWNERS, &[owner])?.and_then(|element| element.comment).unwrap_or_default();
    let is_asked_for = |port: &HostPort| published.iter().any(|mapping| host_port(mapping) == *port);
    let mut chosen: Vec<(HostPort, u16)> = Vec::new();
    for port in host_ports::ports(&comment).filter(|port| !is_asked_for(port)) {
        let container_ports = container_ports(&mut socket, port)?;
        chosen.extend(container_ports.into_iter().map(|container_port| (port, container_port)));
    }
    for mapping in published.iter_mut().filter(|mapping| mapping.host_port == 0) {
        let fits = |(port, container_port): &&(HostPort, u16)| {
            let (address, protocol, _) = host_port(mapping);
            (port.0, port.1, *container_port) == (address, protocol, mapping.container_port)
        };
        if let Some(&(port, _)) = chosen.iter().find(fits) {
            mapping.host_port = port.2;
            chosen.retain(|(other, _)| *other != port);
        }
    }
    Ok(())
}

fn host_port(mapping: &PortMapping) -> HostPort {
    let address = mapping.host_ip.filter(|address| !address.is_unspecified());
    (address, mapping.protocol, mapping.host_port)
}

/// The container's ports that a port of the host leads to, of either family.
fn container_ports(socket: &mut Socket, (address, protocol, port): HostPort) -> Result<Vec<u16>, Error> {
    let mut found = Vec::new();
    for (family, of_all, of_one) in [(Type::Ipv4Addr, "port4", "host4"), (Type::Ipv6Addr, "port6", "host6")] {
        if address.is_some_and(|address| address.is_ipv4() != matches!(family, Type::Ipv4Addr)) {
            continue;
        }
        let data = [family, Type::InetService];
        let types = [family, Type::InetProto, Type::InetService];
        let (name, types) = if address.is_some() { (of_one, &types[..]) } else { (of_all, &types[1..]) };
        let key: Vec<Field> = address
            .map(Field::from)
            .into_iter()
            .chain([Field::Proto(protocol.number()), Field::Port(port)])
            .collect();
        let element = socket.get_element(&Set::map(TABLE, name, types, &data), &key)?;
        if let Some(Data::Value(value)) = element.and_then(|element| element.data)
            && let [_, Field::Port(port)] = key::decode(&data, &value)?[..]
            && !found.contains(&port)
        {
            found.push(port);
        }
    }
    Ok(found)
}
