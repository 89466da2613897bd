//! `cleat network disconnect`: a running container leaves a network.

use super::container::{self, Container};
use super::known::find;
use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::{Attached, Inventory};
use crate::runtime::{CacheFolder, Runtime};
use crate::spec::{HOST, NONE};
use crate::way_out::{Networks, numbered};

/// The arguments of `cleat network disconnect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the network
    network: String,
    /// Name or ID of the container
    container: String,
    #[command(flatten)]
    cache: CacheFolder,
}

/// Takes its interfaces off the network; hosts files follow by themselves. Of the networks where it stays, the first that
/// can publishes its ports from then on.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let runtime = Runtime::new(environment, &args.cache);
    let _lock = runtime.lock_shared()?;
    let inventory = Inventory::read(&runtime)?;
    // The network's file may have gone meanwhile.
    let name = find(&inventory, &args.network).map_or(args.network.as_str(), |list| list.name.as_str());
    let doing = format!("disconnect {} from network {name}", args.container);
    if args.network == HOST {
        container::refuse_built_in(HOST, &doing)?;
    }
    let container = Container::find(&inventory, &args.container, &doing)?;
    let on_it: Vec<&Attached> = container
        .attachments
        .iter()
        .copied()
        .filter(|attached| attached.attachment.network.as_str() == name)
        .collect();
    if on_it.is_empty() {
        // That is how a container of Docker's leaves it, to join another.
        if args.network == NONE && container.attachments.is_empty() {
            return Ok(());
        }
        let networks: Vec<&str> =
            container.attachments.iter().map(|attached| attached.attachment.network.as_str()).collect();
        let cure = if networks.is_empty() { "no network".to_owned() } else { networks.join(", ") };
        return Err(Error::refused(doing, "it is not on that network", format!("it is on {cure}")));
    }
    let _hold = runtime.hold(&container.id)?;
    let leaving: Vec<_> = on_it.iter().map(|attached| &attached.attachment).collect();
    let published = on_it.iter().find_map(|attached| numbered(attached));
    let mut networks = Networks::read(&runtime, &container.id, &container.netns)?.without(&leaving);
    let has_heir = published.as_ref().map(|mappings| networks.assign_heir(mappings)).transpose()?;
    container.keep_networks(&runtime, |networks| {
        networks.joined.retain(|known| known.network != name);
        if has_heir == Some(false) {
            networks.port_mappings.clone_from(&published);
        }
    })?;
    let mut errors: Vec<Error> =
        on_it.iter().filter_map(|attached| remove(&runtime, attached).err()).collect();
    if has_heir == Some(true) {
        errors.extend(networks.publish().err());
    }
    if container.attachments.len() > on_it.len() && !container.netns.as_os_str().is_empty() {
        errors.extend(networks.order_routes().err());
    }
    Error::all(errors)
}

fn remove(runtime: &Runtime<'_>, attached: &Attached) -> Result<(), Error> {
    let attachment = &attached.attachment;
    let making = runtime.recall_to_remove(attachment, Some(attached.netns.as_path()))?;
    let chain = runtime.chain(&making.list);
    chain.del(&making.parameters(attachment)).map_err(Error::contract(format!("remove {attachment}")))
}
