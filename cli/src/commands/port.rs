//! `cleat port`: which ports of a container are published where, read back from the kernel.
//!
//! This is where a port that was chosen freely is seen. Written as `docker port` writes it.

use std::collections::BTreeSet;
use std::str::FromStr;

use cni::Protocol;

use crate::docker;
use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::{Inventory, PortView};
use crate::output::{self, Form};
use crate::runs;
use crate::runtime::{CacheFolder, Runtime};

/// The arguments of `cleat port`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name or ID of the container; the beginning of an ID will do
    container: String,
    /// Only where this port of the container is published
    port: Option<Port>,
    #[command(flatten)]
    form: Form,
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
        match (number, protocol.parse().ok()) {
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
    let inventory = Inventory::read(&runtime)?;
    let attachments = match inventory.container(&args.container) {
        // A container on no network has no ports, but exists.
        Err(Error::NoContainer { .. }) if runs::running(&args.container)?.is_some() => Vec::new(),
        found => found?,
    };
    let mut ports: Vec<&PortView> = attachments.iter().flat_map(|attached| &attached.ports).collect();
    if let Some(wanted) = args.port {
        ports.retain(|port| (port.container_port, port.protocol) == (wanted.number, wanted.protocol));
        if ports.is_empty() {
            return Err(Error::NotPublished {
                container: args.container.clone(),
                port: format!("{}/{}", wanted.number, wanted.protocol),
            });
        }
    }
    if args.form.is_json() {
        return output::json(&docker::ports(ports));
    }
    output::text(&lines(&ports, args.port.is_some()))
}

/// `80/tcp -> 0.0.0.0:8080`, in the order of the container's ports; for one port the host's side alone.
fn lines(ports: &[&PortView], of_one: bool) -> String {
    let lines: BTreeSet<&PortView> = ports.iter().copied().collect();
    let line = |port: &PortView| {
        let inner = if of_one { String::new() } else { format!("{} -> ", port.inner()) };
        format!("{inner}{}\n", port.host())
    };
    lines.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_dockers() {
        let port = |container_port, protocol, host_ip: &str, host_port| PortView {
            container_port,
            protocol,
            host_ip: host_ip.parse().unwrap(),
            host_port,
        };
        let http = port(80, Protocol::Tcp, "0.0.0.0", 32768);
        let http6 = port(80, Protocol::Tcp, "::", 32768);
        let dns = port(53, Protocol::Udp, "127.0.0.1", 5000);
        assert_eq!(
            lines(&[&http6, &http, &dns, &http], false),
            "53/udp -> 127.0.0.1:5000\n80/tcp -> 0.0.0.0:32768\n80/tcp -> [::]:32768\n"
        );
        assert_eq!(lines(&[&http, &http6], true), "0.0.0.0:32768\n[::]:32768\n");
    }

    #[test]
    fn a_wrong_port_is_told() {
        for wrong in ["0", "70000", "x", "80/tpc", ""] {
            assert!(wrong.parse::<Port>().is_err(), "{wrong:?}");
        }
    }
}
