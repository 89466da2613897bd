//! `cleat add`: attaches a namespace to a network.

use std::path::PathBuf;

use super::attachment::AttachmentOptions;
use crate::environment::Environment;
use crate::error::Error;
use crate::runtime::Runtime;
use crate::{netns, output};

/// The arguments of `cleat add`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the network
    network: String,
    /// Path of the network namespace, such as /run/netns/NAME or /proc/PID/ns/net
    netns: PathBuf,
    #[command(flatten)]
    options: AttachmentOptions,
}

/// Makes the attachment and prints its result in the network's version.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let netns = netns::absolute(&args.netns)?;
    let attachment = args.options.attachment(&args.network, Some(&netns), environment)?;
    let runtime = Runtime::new(environment, &args.options.cache);
    let making = runtime.making(runtime.find(&args.network)?, netns)?;
    let namespace = netns::open(&making.netns, &args.netns)?;
    let doing = format!("add {attachment}");
    let _lock = runtime.lock_shared()?;
    let _hold = runtime.hold(&attachment.container_id)?;
    let kept = runtime.cache.read(&attachment).map_err(Error::contract(doing.as_str()))?;
    // A second ADD would fail, and undoing it would remove the attachment. An entry without the interface is from another
    // namespace that had this path.
    if kept.is_some() && namespace.socket()?.get_link(attachment.ifname.as_str())?.is_some() {
        let cure = format!("`cleat del {} …` removes it first", attachment.network);
        return Err(Error::refused(format!("add {attachment}"), "the interface is there already", cure));
    }
    let chain = runtime.chain(&making.list);
    let result = chain.add(&making.parameters(&attachment)).map_err(Error::contract(doing.as_str()))?;
    output::json(&result.to_value(making.list.version).map_err(Error::contract(doing))?)
}
