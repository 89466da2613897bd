//! `cleat status`: asks whether a network could take an attachment.

use std::path::PathBuf;

use crate::environment::Environment;
use crate::error::Error;
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

/// Asks every plugin of the network; silence means yes.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let runtime = Runtime::new(environment, &args.cache);
    let list = runtime.find(&args.network)?;
    runtime
        .chain(&list)
        .status()
        .map_err(Error::contract(format!("ask the state of network {}", args.network)))
}
