//! At most one process of this program serves a state folder. With two, both would mount the hosts file of each container,
//! and the runtime refuses the container.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use registry::{Agent, Registry};

use crate::error::Error;
use crate::log::log;

/// How long to wait for a process that is about to end: a runtime that restarts has started its successor by then.
const PATIENCE: Duration = Duration::from_secs(2);

/// Takes the right to serve, until what is returned is dropped. Where it cannot be known whether another process has it (no
/// space left, a folder that belongs to another user), the log says so, and this process serves without it.
pub(crate) fn take(state_dir: &Path) -> Result<Option<Agent>, Error> {
    match Registry::at(state_dir).become_agent() {
        Ok(Ok(agent)) => Ok(Some(agent)),
        Ok(Err(process)) => Err(Error::Second { process, state_dir: state_dir.to_owned() }),
        Err(error) => {
            log(&format!("whether another one serves the runtime is not known: {error}"));
            Ok(None)
        }
    }
}

/// The same, after a short wait for another process.
pub(crate) fn take_soon(state_dir: &Path) -> Result<Option<Agent>, Error> {
    let began = Instant::now();
    loop {
        match take(state_dir) {
            Err(_) if began.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(20)),
            outcome => return outcome,
        }
    }
}
