//! Ports of the host that were left to `host-port` to choose (`hostPort` 0). The result of an ADD has no room for them,
//! so they are read where that plugin keeps them, in the kernel: its map `owners` has under `p` and the first digits of
//! the attachment's token a comment with a word a port, `protocol/port` or `address/protocol/port`, and the maps of
//! ports say where each leads. It costs a look a port of this container.

use std::net::IpAddr;

use cni::Attachment;
use nftables::{Data, Family, Field, Ifname, Set, Socket, Table, Type, key};
use registry::{Protocol, Published};

use crate::error::Error;

const TABLE: Table = Table::new(Family::Inet, "cleat_host_port");
const OWNERS: Set = Set::vmap(TABLE, "owners", &[Type::Ifname]);
/// Digits of the token that a key has room for behind its letter (`IFNAMSIZ`).
const DIGITS: usize = 14;

/// Notes the ports that were chosen. What is not published by the kernel's table keeps its 0.
pub(crate) fn note(attachment: &Attachment, published: &mut [Published]) -> Result<(), Error> {
    if published.iter().all(|mapping| mapping.host_port != 0) {
        return Ok(());
    }
    let mut socket = Socket::open()?;
    let owner = Field::Ifname(Ifname::new(&format!("p{}", &attachment.token()[..DIGITS]))?);
    let comment =
        socket.get_element(&OWNERS, &[owner])?.and_then(|element| element.comment).unwrap_or_default();
    let mut ports = Vec::new();
    for (host_ip, protocol, host_port) in comment.split(' ').filter_map(read) {
        for container_port in container_ports(&mut socket, host_ip, protocol, host_port)? {
            ports.push((host_ip, protocol, host_port, container_port));
        }
    }
    // Those that were asked for by number are not the chosen ones.
    ports.retain(|(host_ip, protocol, host_port, _)| {
        let is_asked = |mapping: &Published| {
            mapping.host_port == *host_port && mapping.protocol == *protocol && address(mapping) == *host_ip
        };
        !published.iter().any(is_asked)
    });
    for mapping in published.iter_mut().filter(|mapping| mapping.host_port == 0) {
        let place = ports.iter().position(|(host_ip, protocol, _, container_port)| {
            (*host_ip, *protocol, *container_port)
                == (address(mapping), mapping.protocol, mapping.container_port)
        });
        if let Some(place) = place {
            mapping.host_port = ports[place].2;
            let taken = mapping.clone();
            ports.retain(|(host_ip, protocol, host_port, _)| {
                (*host_ip, *protocol, *host_port) != (address(&taken), taken.protocol, taken.host_port)
            });
        }
    }
    Ok(())
}

/// The host's address of a mapping; `None` for all of them.
fn address(mapping: &Published) -> Option<IpAddr> {
    mapping.host_ip.parse().ok().filter(|address: &IpAddr| !address.is_unspecified())
}

/// Reads a word of the comment.
fn read(word: &str) -> Option<(Option<IpAddr>, Protocol, u16)> {
    let mut parts = word.rsplit('/');
    let (port, protocol) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let address = parts.next().map(str::parse).transpose().ok()?;
    Some((address, protocol, port))
}

/// The container's ports that a port of the host leads to, of either family.
fn container_ports(
    socket: &mut Socket,
    host_ip: Option<IpAddr>,
    protocol: Protocol,
    host_port: u16,
) -> Result<Vec<u16>, Error> {
    let protocol = match protocol {
        Protocol::Tcp => Field::TCP,
        Protocol::Udp => Field::UDP,
        Protocol::Sctp => Field::SCTP,
    };
    let mut found = Vec::new();
    for (name, family) in [("4", Type::Ipv4Addr), ("6", Type::Ipv6Addr)] {
        let is_family = |address: IpAddr| address.is_ipv4() == matches!(family, Type::Ipv4Addr);
        if host_ip.is_some_and(|address| !is_family(address)) {
            continue;
        }
        let data = [family, Type::InetService];
        let (host, port) = (format!("host{name}"), format!("port{name}"));
        let types = [family, Type::InetProto, Type::InetService];
        let map = match host_ip {
            Some(_) => Set::map(TABLE, &host, &types, &data),
            None => Set::map(TABLE, &port, &types[1..], &data),
        };
        let key: Vec<Field> =
            host_ip.map(Field::from).into_iter().chain([protocol, Field::Port(host_port)]).collect();
        if let Some(Data::Value(value)) = socket.get_element(&map, &key)?.and_then(|element| element.data)
            && let [_, Field::Port(port)] = key::decode(&data, &value)?[..]
            && !found.contains(&port)
        {
            found.push(port);
        }
    }
    Ok(found)
}
