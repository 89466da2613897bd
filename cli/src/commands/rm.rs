//! `cleat rm`: forgets containers that ran in the background.

use super::stop::{self, Patience};
use crate::environment::Environment;
use crate::error::Error;
use crate::output;
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

/// Removes the log and the rest of each one, and prints what it was called by.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let remove = |container: &String| -> Result<(), Error> {
        let run = runs::find(container)?;
        if args.force {
            stop::end(&run, args.patience)?;
        } else if run.is_alive()? {
            let cure = format!("`cleat stop {container}` ends it, -f does both");
            return Err(Error::refused(format!("remove container {container}"), "it runs", cure));
        }
        detach(&run, environment, &args.cache)?;
        run.forget()?;
        output::text(&format!("{container}\n"))
    };
    Error::all(args.containers.iter().filter_map(|container| remove(container).err()).collect())
}

/// Removes the attachments of a container that nobody looked after when it ended.
pub(super) fn detach(run: &Run, environment: &Environment, cache: &CacheFolder) -> Result<(), Error> {
    let runtime = Runtime::new(environment, cache);
    let _lock = runtime.lock_shared()?;
    runtime.detach(&run.container_id()?)
}
