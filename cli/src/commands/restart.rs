//! `cleat restart`: ends a container that runs in the background, if it runs, and starts it again as it was started, on the
//! networks where it is by now.

use super::stop::{self, Patience};
use super::{rm, supervise};
use crate::environment::Environment;
use crate::error::Error;
use crate::output;
use crate::runs;
use crate::runtime::CacheFolder;

/// The arguments of `cleat restart`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names or IDs of the containers
    #[arg(required = true)]
    containers: Vec<String>,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    cache: CacheFolder,
}

/// Restarts each one, and prints what it was called by. Its ID and name stay, and its networks with what it asked of
/// them; addresses that it did not ask for are new ones.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let restart = |container: &String| -> Result<(), Error> {
        let run = runs::find(container)?;
        if !run.record.detached {
            return Err(Error::refused(
                format!("restart container {container}"),
                "it runs in the foreground of a terminal or a service",
                "start it with `cleat run -d`, or restart it there",
            ));
        }
        if run.record.vanishes {
            return Err(Error::refused(
                format!("restart container {container}"),
                "it was started with --rm and leaves nothing to start again",
                "stop it, then run it anew",
            ));
        }
        stop::end(&run, args.patience)?;
        // Where its supervisor was killed, attachments are left that would be in the way.
        rm::detach(&run, environment, &args.cache)?;
        supervise::start(&run)?;
        output::text(&format!("{container}\n"))
    };
    Error::all(args.containers.iter().filter_map(|container| restart(container).err()).collect())
}
