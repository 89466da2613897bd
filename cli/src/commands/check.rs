//! `cleat check`: compares an attachment with what was set up.

use std::path::Path;

use super::ExistingArgs;
use crate::environment::Environment;
use crate::error::Error;
use crate::netns;
use crate::runtime::Runtime;

/// The arguments of `cleat check`.
pub(crate) type Args = ExistingArgs;

/// Has every plugin check, with the configuration that the attachment was made with.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let netns = args.netns()?;
    let attachment = args.options.attachment(&args.network, netns.as_deref(), environment)?;
    let runtime = Runtime::new(environment, &args.options.cache);
    let making = runtime.recall(&attachment, netns.as_deref())?;
    let given: &Path = args.netns.as_deref().unwrap_or(&making.netns);
    if !making.netns.as_os_str().is_empty() {
        netns::open(&making.netns, given)?;
    }
    runtime
        .chain(&making.list)
        .check(&making.parameters(&attachment))
        .map_err(Error::contract(format!("check {attachment}")))
}
