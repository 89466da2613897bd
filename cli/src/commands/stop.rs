//! `cleat stop`: ends containers of `cleat run`.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::Error;
use crate::runs::{self, Run};

/// How long the supervisor may take to remove what a container had that was killed.
const CLEAN_UP: Duration = Duration::from_secs(30);

/// The arguments of `cleat stop`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names or IDs of the containers
    #[arg(required = true)]
    containers: Vec<String>,
    #[command(flatten)]
    patience: Patience,
}

/// How long to wait for an end.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Patience {
    /// Seconds until a command that has not ended is killed
    #[arg(short = 't', long = "time", value_name = "SECONDS", default_value_t = 10)]
    seconds: u64,
}

/// Ends each one.
pub(crate) fn execute(args: &Args) -> Result<(), Error> {
    super::each(&args.containers, |container| end(&runs::find(container)?, args.patience))
}

/// Ends a container, unless it has ended: its supervisor passes SIGTERM on. Waits until its attachments are removed.
pub(crate) fn end(run: &Run, patience: Patience) -> Result<(), Error> {
    let doing = || format!("stop container {}", run.record.container_id);
    if !run.is_alive()? {
        return Ok(());
    }
    let (Some(supervisor), Some(process)) = (run.record.supervisor, run.record.process) else {
        return Err(Error::refused(doing(), "it is only just starting", "try again"));
    };
    send(supervisor, Signal::SIGTERM).map_err(|errno| Error::io(doing(), errno))?;
    if run.ends_within(Duration::from_secs(patience.seconds))? {
        return Ok(());
    }
    // The command, and not its supervisor, which has to remove the attachments.
    send(process, Signal::SIGKILL).map_err(|errno| Error::io(doing(), errno))?;
    if run.ends_within(CLEAN_UP)? {
        return Ok(());
    }
    Err(Error::refused(
        doing(),
        "it was killed, but plugins still work on its end",
        "`cleat ps` shows what is left",
    ))
}

/// Sends a signal. A process that has ended meanwhile is no error.
fn send(process: i32, signal: Signal) -> Result<(), Errno> {
    match kill(Pid::from_raw(process), signal) {
        Err(errno) if errno != Errno::ESRCH => Err(errno),
        _ => Ok(()),
    }
}
