//! `cleat network connect`: a running container joins a further network.

use std::net::IpAddr;

use super::find;
use crate::endpoint::{Endpoint, Link};
use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::{Attached, Inventory};
use crate::joining::Joining;
use crate::runtime::{CacheFolder, Runtime};

/// The arguments of `cleat network connect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the network
    network: String,
    /// Name or ID of the container, whichever runtime it is of
    container: String,
    /// A further name of the container on this network
    #[arg(long, value_name = "NAME")]
    alias: Vec<String>,
    /// Address on this network [default: a free one]
    #[arg(long, value_name = "IPV4")]
    ip: Option<std::net::Ipv4Addr>,
    /// IPv6 address on this network [default: a free one]
    #[arg(long, value_name = "IPV6")]
    ip6: Option<std::net::Ipv6Addr>,
    /// Make another container of the network known to this one under a name of its own
    #[arg(long, value_name = "SOURCE[:ALIAS]")]
    link: Vec<Link>,
    #[command(flatten)]
    cache: CacheFolder,
}

/// Gives it an interface on the network; hosts files follow by themselves.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let doing = format!("connect {} to network {}", args.container, args.network);
    let runtime = Runtime::new(environment, &args.cache);
    let _lock = runtime.lock_shared()?;
    let inventory = Inventory::read(&runtime)?;
    let list = find(&inventory, &args.network)?.clone();
    let attachments = inventory.container(&args.container)?;
    if attachments.iter().any(|attached| attached.attachment.network == list.name) {
        let cure = format!("`cleat network disconnect {} {}` takes it off", args.network, args.container);
        return Err(Error::refused(doing, "it is there already", cure));
    }
    let Some(known) =
        attachments.iter().find(|known| !known.is_gone() && !known.netns.as_os_str().is_empty())
    else {
        return Err(Error::refused(doing, "its namespace has gone", "`cleat gc` removes what is left of it"));
    };
    let member = attachments.iter().find_map(|attached| attached.member.as_ref());
    let hostname = member.map_or_else(|| known.short_id(), |member| member.hostname.clone());
    let name = named(&attachments);
    let endpoint = Endpoint {
        name: name.as_deref(),
        aliases: &args.alias,
        links: &args.link,
        addresses: args.ip.map(IpAddr::V4).into_iter().chain(args.ip6.map(IpAddr::V6)).collect(),
        expose: &exposed(member)?,
        ..Endpoint::of_host(&hostname)
    };
    endpoint.check(&list)?;
    let container_id = &known.attachment.container_id;
    let joining = Joining { list, container_id, netns: &known.netns, endpoint, ifname: None };
    joining.attach(&runtime).map(|_| ())
}

/// The name that the container has on other networks, unless that is but its ID.
fn named(attachments: &[&Attached]) -> Option<String> {
    attachments.iter().map(|attached| (attached.name(), attached.short_id())).find_map(|(name, short)| {
        let is_name = name != short;
        is_name.then_some(name)
    })
}

/// The ports that the container exposes on the networks where it is.
fn exposed(member: Option<&registry::Member>) -> Result<Vec<crate::ports::Exposed>, Error> {
    let ports = member.map(registry::Member::ports).unwrap_or_default();
    ports.into_iter().map(|port| port.to_string().parse()).collect()
}
