//! `cleat network disconnect`: a running container leaves a network.

use super::find;
use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::Inventory;
use crate::runtime::{CacheFolder, Runtime};

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

/// Takes its interfaces off the network; hosts files follow by themselves.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let runtime = Runtime::new(environment, &args.cache);
    let _lock = runtime.lock_shared()?;
    let inventory = Inventory::read(&runtime)?;
    // The network's file may have gone meanwhile.
    let name = find(&inventory, &args.network).map_or(args.network.as_str(), |list| list.name.as_str());
    let attachments = inventory.container(&args.container)?;
    let on_it: Vec<_> =
        attachments.iter().filter(|attached| attached.attachment.network.as_str() == name).collect();
    if on_it.is_empty() {
        let networks: Vec<&str> =
            attachments.iter().map(|attached| attached.attachment.network.as_str()).collect();
        return Err(Error::refused(
            format!("disconnect {} from network {name}", args.container),
            "it is not on that network",
            format!("it is on {}", networks.join(", ")),
        ));
    }
    let errors = on_it.into_iter().filter_map(|attached| {
        let attachment = &attached.attachment;
        let remove = || {
            let _hold = runtime.hold(&attachment.container_id)?;
            let making = runtime.recall(attachment, Some(attached.netns.as_path()))?;
            let chain = runtime.chain(&making.list);
            chain.del(&making.parameters(attachment)).map_err(Error::contract(format!("remove {attachment}")))
        };
        remove().err()
    });
    Error::all(errors.collect())
}
