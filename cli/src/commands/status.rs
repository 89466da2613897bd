//! `cleat status`: asks whether a network could take an attachment.

use std::path::PathBuf;

use cni::Command;

use crate::environment::Environment;
use crate::error::Error;
use crate::output;
use crate::runtime::{CacheFolder, Runtime};

/// The arguments of `cleat status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the network
    network: String,
    /// Taken as cnitool takes it, and not used
    #[arg(value_name = "NETNS")]
    _netns: Option<PathBuf>,
    #[command(flatten)]
    cache: CacheFolder,
}

/// Asks every plugin of the network; silence means yes. Before version 1.1.0 there is nothing to ask, which is no error,
/// as for `cnitool`, but is told.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let runtime = Runtime::new(environment, &args.cache);
    let list = runtime.find(&args.network)?;
    let since = Command::Status.since();
    if list.version < since {
        output::tell(&format!(
            "cleat: network {} is of version {}: STATUS came with {since}\n",
            args.network, list.version
        ));
        return Ok(());
    }
    runtime
        .chain(&list)
        .status()
        .map_err(Error::contract(format!("ask the state of network {}", args.network)))
}
