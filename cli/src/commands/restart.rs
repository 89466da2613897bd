//! `cleat restart`: ends a container of `run -d`, if it runs, and starts it again with the same options, on the networks that
//! it was on last.

use super::stop::{self, Patience};
use super::{rm, supervise};
use crate::environment::Environment;
use crate::error::Error;
use crate::runs::{self, Run};
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

/// Restarts each one. Its ID, its name and its networks stay, with the addresses that it asked for.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    super::each(&args.containers, |container| {
        let run = runs::find(container)?;
        check("restart", container, &run)?;
        stop::end(&run, args.patience)?;
        start("restart", container, &run, environment, &args.cache)
    })
}

/// Starts a container that has ended.
pub(super) fn start(
    verb: &str,
    container: &str,
    run: &Run,
    environment: &Environment,
    cache: &CacheFolder,
) -> Result<(), Error> {
    check(verb, container, run)?;
    // Where its supervisor was killed, there still are attachments.
    rm::detach(run, environment, cache)?;
    supervise::start(run)
}

/// Refuses containers that cannot be started from here.
fn check(verb: &str, container: &str, run: &Run) -> Result<(), Error> {
    let refuse = |reason, cure| Err(Error::refused(format!("{verb} container {container}"), reason, cure));
    if !run.record.detached {
        return refuse(
            "it runs in the foreground of a terminal or a service",
            "start it with `cleat run -d`, or restart it there",
        );
    }
    if run.record.vanishes {
        let reason = "it was started with --rm and leaves nothing to start again";
        return refuse(reason, "stop it, then run it anew");
    }
    Ok(())
}
