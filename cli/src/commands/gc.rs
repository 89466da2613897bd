//! `cleat gc`: removes what is left of attachments whose namespace has gone.
//!
//! Unlike `cnitool gc`, which names no valid attachment and so removes every one, this keeps all whose namespace lives.

use std::path::PathBuf;

use cni::cache::Entry;
use cni::{Attachment, ContainerId, IfName, NetworkName};

use super::network_name;
use crate::environment::Environment;
use crate::error::Error;
use crate::netns;
use crate::runtime::{CacheFolder, Making, Runtime};

const CAUTION: &str = "Plugins remove everything that is not in the result cache. For a network whose attachments \
another program makes, name the cache of that program with --cache-dir.";

/// The arguments of `cleat gc`.
#[derive(Debug, clap::Args)]
#[command(after_help = CAUTION)]
pub(crate) struct Args {
    /// Name of the network
    network: String,
    /// Taken as cnitool takes it, and not used
    #[arg(value_name = "NETNS")]
    _netns: Option<PathBuf>,
    #[command(flatten)]
    cache: CacheFolder,
}

/// Removes dead attachments with the configuration they were made with, then has the plugins look for the rest.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let network = network_name(&args.network)?;
    let runtime = Runtime::new(environment, &args.cache);
    let list = runtime.find(&args.network)?;
    let doing = || format!("collect what is left on network {network}");
    let _lock = runtime.lock_exclusive()?;
    let (mut valid, mut errors) = (Vec::new(), Vec::new());
    for entry in runtime.cache.entries().map_err(Error::contract(doing()))? {
        let Some(attachment) = attachment(&entry, &network) else {
            continue;
        };
        let gone = netns::is_gone(entry.netns.as_ref());
        if gone {
            match remove(&runtime, &attachment, entry) {
                Ok(()) => continue,
                Err(Error::Contract { source, .. }) => errors.push(source),
                Err(error) => return Err(error),
            }
        }
        // What could not be removed is kept for the next time: forgetting it would leave the rest of it for good.
        valid.push((attachment.container_id, attachment.ifname));
    }
    errors.extend(runtime.chain(&list).gc(&valid).err());
    cni::Error::all(errors).map_err(Error::contract(doing()))
}

fn attachment(entry: &Entry, network: &NetworkName) -> Option<Attachment> {
    if entry.network != network.as_str() {
        return None;
    }
    Some(Attachment {
        network: network.clone(),
        container_id: ContainerId::new(entry.container_id.as_str()).ok()?,
        ifname: IfName::new(entry.ifname.as_str()).ok()?,
    })
}

fn remove(runtime: &Runtime<'_>, attachment: &Attachment, entry: Entry) -> Result<(), Error> {
    let mut making = Making::of(entry)?;
    // The path may lead to the namespace of another process by now, which no plugin may touch.
    making.netns = PathBuf::new();
    runtime
        .chain(&making.list)
        .del(&making.parameters(attachment))
        .map_err(Error::contract(format!("remove {attachment}")))
}
