//! `cleat del`: detaches a namespace from a network.

use std::path::PathBuf;

use super::attachment::AttachmentOptions;
use crate::environment::Environment;
use crate::error::Error;
use crate::netns;
use crate::runtime::Runtime;

/// The arguments of `cleat del`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the network
    network: String,
    /// Path of the network namespace; with --id, the one it was attached with
    #[arg(required_unless_present = "id")]
    netns: Option<PathBuf>,
    #[command(flatten)]
    options: AttachmentOptions,
}

/// Removes the attachment with the configuration that it was made with. That it does not exist is no error.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let netns = args.netns.as_deref().map(netns::absolute).transpose()?;
    let attachment = args.options.attachment(&args.network, netns.as_deref(), environment)?;
    let runtime = Runtime::new(environment, &args.options.cache);
    let _lock = runtime.lock_shared()?;
    let _hold = runtime.hold(&attachment.container_id)?;
    let making = runtime.recall_to_remove(&attachment, netns.as_deref())?;
    runtime.del(&making, &attachment)
}
