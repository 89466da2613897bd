//! `cleat port`: which ports of a container are published where, read back from the kernel.
//!
//! This is where a port that was chosen freely is seen. Written as `docker port` writes it.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use cni::{Attachment, ContainerId, IfName, NetworkName, case_blind};
use host_port::{Protocol, Published, published};
use registry::{DEFAULT_STATE_DIR, Network, Registry};
use serde_json::Value;

use crate::endpoint::{LINK_ENV, plugin};
use crate::environment::Environment;
use crate::error::Error;
use crate::output;
use crate::runtime::{CacheFolder, Runtime};

/// The arguments of `cleat port`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name or ID of the container; the beginning of an ID will do
    container: String,
    /// Only where this port of the container is published
    port: Option<Port>,
    #[command(flatten)]
    cache: CacheFolder,
}

/// A port of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Port {
    number: u16,
    protocol: Protocol,
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let number = number.parse().ok().filter(|number| *number != 0);
        match (number, Protocol::parse(protocol)) {
            (Some(number), Some(protocol)) => Ok(Self { number, protocol }),
            (None, _) => {
                Err(format!("{text:?} is no port: write 1 to 65535, and /udp or /sctp where it is not tcp"))
            }
            (_, None) => Err(format!("{protocol:?} is no protocol: tcp, udp and sctp are")),
        }
    }
}

/// Prints a line for each published port of the container.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let runtime = Runtime::new(environment, &args.cache);
    let attachments = attachments(&args.container, &runtime)?;
    let tokens: BTreeSet<String> = attachments.iter().map(Attachment::token).collect();
    let failed = |error: &dyn std::error::Error| {
        Error::io("read published ports", io::Error::other(error.to_string()))
    };
    let mut rules = nftables::Socket::open().map_err(|error| failed(&error))?;
    let mut ports = published(&mut rules).map_err(|error| failed(&error))?;
    ports.retain(|published| tokens.contains(&published.owner));
    let text = lines(&ports, args.port);
    if let (Some(port), true) = (args.port, text.is_empty()) {
        return Err(Error::NotPublished {
            container: args.container.clone(),
            port: format!("{}/{}", port.number, port.protocol.name()),
        });
    }
    output::text(&text)
}

/// The attachments of a container: those of that name on any network, and those of that ID.
fn attachments(container: &str, runtime: &Runtime<'_>) -> Result<BTreeSet<Attachment>, Error> {
    let mut found = BTreeSet::new();
    for network in networks(runtime)? {
        let members = network.members.iter();
        for member in members
            .filter(|member| member.answers_to(container) || member.container_id.starts_with(container))
        {
            found.extend(attachment(&network.name, &member.container_id, &member.ifname));
        }
    }
    // Networks without link-env have no names, but what was attached is kept by its ID.
    for entry in runtime.cache.entries().map_err(Error::contract("read the result cache"))? {
        if entry.container_id.starts_with(container) {
            found.extend(attachment(&entry.network, &entry.container_id, &entry.ifname));
        }
    }
    let containers: BTreeSet<&str> =
        found.iter().map(|attachment| attachment.container_id.as_str()).collect();
    match containers.len() {
        0 => Err(Error::NoContainer { container: container.to_owned() }),
        1 => Ok(found),
        _ => Err(Error::SeveralContainers {
            container: container.to_owned(),
            ids: containers.into_iter().map(str::to_owned).collect(),
        }),
    }
}

/// The networks of every registry that a configuration names.
fn networks(runtime: &Runtime<'_>) -> Result<Vec<Network>, Error> {
    let mut folders = BTreeSet::from([DEFAULT_STATE_DIR.to_owned()]);
    for list in runtime.all() {
        let state = plugin(&list, LINK_ENV).and_then(|conf| case_blind::get(conf, "stateDir"));
        folders.extend(state.and_then(Value::as_str).map(str::to_owned));
    }
    let mut networks = Vec::new();
    for folder in folders {
        let read = Registry::at(&folder).networks();
        networks.extend(
            read.map_err(|error| Error::io(format!("read registry {folder}"), io::Error::other(error)))?,
        );
    }
    Ok(networks)
}

fn attachment(network: &str, container_id: &str, ifname: &str) -> Option<Attachment> {
    Some(Attachment {
        network: NetworkName::new(network).ok()?,
        container_id: ContainerId::new(container_id).ok()?,
        ifname: IfName::new(ifname).ok()?,
    })
}

/// `80/tcp -> 0.0.0.0:8080`, in the order of the container's ports; with a port given, the host's side alone.
fn lines(ports: &[Published], wanted: Option<Port>) -> String {
    let lines: BTreeSet<_> = ports
        .iter()
        .map(|published| published.port)
        .filter(|port| {
            wanted.is_none_or(|w| (w.number, w.protocol) == (port.container.port(), port.protocol))
        })
        .map(|port| {
            let any = if port.container.is_ipv4() {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED)
            } else {
                IpAddr::V6(Ipv6Addr::UNSPECIFIED)
            };
            let host = SocketAddr::new(port.host_ip.unwrap_or(any), port.host_port);
            (port.container.port(), port.protocol, host)
        })
        .collect();
    let line = |(number, protocol, host): (u16, Protocol, SocketAddr)| match wanted {
        Some(_) => format!("{host}\n"),
        None => format!("{number}/{} -> {host}\n", protocol.name()),
    };
    lines.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host_ip: Option<&str>, host_port: u16, protocol: Protocol, container: &str) -> Published {
        let host_ip = host_ip.map(|ip| ip.parse().unwrap());
        Published {
            port: host_port::Port { host_ip, host_port, protocol, container: container.parse().unwrap() },
            owner: String::new(),
            interface: String::new(),
            ifname: String::new(),
            network: String::new(),
            container_id: String::new(),
        }
    }

    #[test]
    fn lines_are_dockers() {
        let ports = [
            port(None, 32768, Protocol::Tcp, "10.1.0.2:80"),
            port(None, 32768, Protocol::Tcp, "[fd00::2]:80"),
            port(Some("127.0.0.1"), 5000, Protocol::Udp, "10.1.0.2:53"),
        ];
        assert_eq!(
            lines(&ports, None),
            "53/udp -> 127.0.0.1:5000\n80/tcp -> 0.0.0.0:32768\n80/tcp -> [::]:32768\n"
        );
        assert_eq!(lines(&ports, Some("80".parse().unwrap())), "0.0.0.0:32768\n[::]:32768\n");
        assert_eq!(lines(&ports, Some("53".parse().unwrap())), "");
        assert_eq!(lines(&ports, Some("53/udp".parse().unwrap())), "127.0.0.1:5000\n");
    }

    #[test]
    fn a_wrong_port_is_told() {
        for wrong in ["0", "70000", "x", "80/tpc", ""] {
            assert!(wrong.parse::<Port>().is_err(), "{wrong:?}");
        }
    }
}
