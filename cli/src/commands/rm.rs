//! `cleat rm`: forgets containers that ran in the background.

use super::stop::{self, Patience};
use crate::environment::Environment;
use crate::error::Error;
use crate::runs::{self, Run};
use crate::runtime::{CacheFolder, Runtime};

/// The arguments of `cleat rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names or IDs of the containers
    #[arg(required = true)]
    containers: Vec<String>,
    /// Stop those that run
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    cache: CacheFolder,
}

/// Removes the attachments, the log and the record of each one.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    super::each(&args.containers, |container| {
        let run = runs::find(container)?;
        if args.force {
            stop::end(&run, args.patience)?;
        } else if run.is_alive()? {
            let cure = format!("`cleat stop {container}` ends it, -f does both");
            return Err(Error::refused(format!("remove container {container}"), "it runs", cure));
        }
        detach(&run, environment, &args.cache)?;
        run.forget()
    })
}

/// Removes the attachments of a container whose supervisor was killed.
pub(super) fn detach(run: &Run, environment: &Environment, cache: &CacheFolder) -> Result<(), Error> {
    let runtime = Runtime::new(environment, cache);
    let _lock = runtime.lock_shared()?;
    runtime.detach(&run.container_id()?)
}
