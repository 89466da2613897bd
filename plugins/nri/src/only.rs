//! There is one of this program for a state folder: of two, the runtime refuses each container, as both would mount its
//! hosts file.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use registry::{Agent, Registry};

use crate::error::Error;
use crate::log::log;

/// How long one that is about to end may take: the runtime was restarted, and has started the next.
const PATIENCE: Duration = Duration::from_secs(2);

/// The one that this process wants to be.
#[derive(Debug)]
pub(crate) struct Only {
    state_dir: PathBuf,
}

impl Only {
    pub(crate) fn of(state_dir: &Path) -> Self {
        Self { state_dir: state_dir.to_owned() }
    }

    /// Takes the place, until what is returned is dropped. Where it cannot be told whether it is free (no room, a folder
    /// of somebody else), it is told, and containers get their links all the same.
    pub(crate) fn take(&self) -> Result<Option<Agent>, Error> {
        match Registry::at(&self.state_dir).become_agent() {
            Ok(Ok(agent)) => Ok(Some(agent)),
            Ok(Err(process)) => Err(Error::Second { process, state_dir: self.state_dir.clone() }),
            Err(error) => {
                log(&format!("whether another one serves the runtime is not known: {error}"));
                Ok(None)
            }
        }
    }

    /// The same, with some patience.
    pub(crate) fn take_soon(&self) -> Result<Option<Agent>, Error> {
        let began = Instant::now();
        loop {
            match self.take() {
                Err(_) if began.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(20)),
                outcome => return outcome,
            }
        }
    }
}
