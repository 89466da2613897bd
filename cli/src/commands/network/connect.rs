//! `cleat network connect`: a running container joins a network.

use std::net::IpAddr;

use super::container::{self, Container};
use super::known::find;
use crate::attach::NewAttachment;
use crate::endpoint::Link;
use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::Inventory;
use crate::runtime::{CacheFolder, Runtime};
use crate::way_out::{Networks, numbered};

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
    /// The network with the highest is the container's way out and publishes its ports; of several, the first
    #[arg(long, value_name = "NUMBER", default_value_t = 0, allow_negative_numbers = true)]
    gw_priority: i64,
    #[command(flatten)]
    cache: CacheFolder,
}

/// Gives it an interface on the network; hosts files follow by themselves. Where nobody publishes its ports by now, or the
/// network goes before the one that does, this one is to.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let doing = format!("connect {} to network {}", args.container, args.network);
    let runtime = Runtime::new(environment, &args.cache);
    let _lock = runtime.lock_shared()?;
    let inventory = Inventory::read(&runtime)?;
    container::refuse_built_in(&args.network, &doing)?;
    let list = find(&inventory, &args.network)?.clone();
    let container = Container::find(&inventory, &args.container, &doing)?;
    let there = || {
        let cure = format!("`cleat network disconnect {} {}` takes it off", args.network, args.container);
        Error::refused(doing.as_str(), "it is there already", cure)
    };
    if container.attachments.iter().any(|attached| attached.attachment.network == list.name) {
        return Err(there());
    }
    if container.netns.as_os_str().is_empty() {
        let why = container.attachments.iter().find_map(|attached| attached.life.why());
        return Err(match why {
            Some(why) => Error::Refused { doing, reason: why.to_owned(), cure: None },
            None => Error::refused(doing, "its namespace has gone", "`cleat gc` removes what is left of it"),
        });
    }
    let addresses = args.ip.map(IpAddr::V4).into_iter().chain(args.ip6.map(IpAddr::V6));
    let joined = container::joined(list.name.as_str(), &args.alias, addresses, &args.link, args.gw_priority);
    let (name, hostname, exposed) = (container.name(), container.hostname(), container.exposed());
    let endpoint = container.endpoint((&name, &hostname, &exposed), &joined);
    endpoint.check(&list)?;
    let published = container.attachments.iter().find_map(|attached| numbered(attached));
    let _hold = runtime.hold(&container.id)?;
    // Somebody else may have been quicker.
    if Networks::read(&runtime, &container.id, &container.netns)?.has(&list.name) {
        return Err(there());
    }
    let new = NewAttachment {
        list: list.clone(),
        container_id: &container.id,
        netns: &container.netns,
        endpoint,
        ifname: None,
    };
    let attachment = new.add(&runtime)?;
    let settle = || -> Result<(), Error> {
        let mut networks = Networks::read(&runtime, &container.id, &container.netns)?;
        networks.settle_ports(published, container.wanted_ports()?)?;
        networks.order_routes()?;
        container.show_hosts(&list)?;
        container.keep_networks(&runtime, |networks| {
            networks.joined.retain(|known| known.network != joined.network);
            networks.joined.push(joined.clone());
        })
    };
    // It is on the network with all that belongs to that, or it is not.
    settle().map_err(|error| {
        let remove = || {
            let making = runtime.recall(&attachment, Some(&container.netns))?;
            runtime.remove(&making, &attachment)
        };
        match remove() {
            Ok(()) => error,
            Err(further) => Error::Both { first: Box::new(error), further: Box::new(further) },
        }
    })
}
