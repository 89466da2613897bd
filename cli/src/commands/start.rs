//! `cleat start`: starts containers of `run -d` again that have ended.

use super::restart;
use crate::environment::Environment;
use crate::error::Error;
use crate::runs;
use crate::runtime::CacheFolder;

/// The arguments of `cleat start`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names or IDs of the containers
    #[arg(required = true)]
    containers: Vec<String>,
    #[command(flatten)]
    cache: CacheFolder,
}

/// Starts each one, as `restart` does. One that runs is left as it is.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    super::each(&args.containers, |container| {
        let run = runs::find(container)?;
        if run.is_alive()? {
            Ok(())
        } else {
            restart::start("start", container, &run, environment, &args.cache)
        }
    })
}
