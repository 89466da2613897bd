//! The lock of a bridge: an ADD that is about to add a port holds it shared; the removal of the bridge with its last port, or of
//! what looks like an unfinished port, takes it exclusively.
//!
//! By a lock file for each bridge, `/run/cleat.<bridge>.lock`, which only root can open. The first ADD makes it, and it goes
//! with the bridge; of a bridge that is not ours, with the ADD. Where none can be made, as in a user namespace that has no
//! `/run` of its own, it is the network namespace that is locked: a process that could open that one is of the same user there.
//!
//! An older version locked the namespace everywhere, which any process of the host can do. Where a bridge is to be removed,
//! ADDs of that version that still run keep it, and no other process's lock does.

use std::path::PathBuf;
use std::time::Duration;

use lock::{LockFile, Mode};
use netlink::{Link, Namespace, NamespaceLock};

use crate::error::Result;
use crate::names;

/// How long an ADD waits for the lock on a namespace, before it goes on without: any process can hold that one.
const PATIENCE: Duration = Duration::from_millis(500);

fn path(bridge: &str) -> PathBuf {
    PathBuf::from(format!("/run/cleat.{bridge}.lock"))
}

/// The lock of an ADD: nothing removes a bridge that has no port yet while it is held.
#[derive(Debug)]
#[must_use = "the lock is released at once unless it is kept"]
pub(crate) struct Shared {
    file: Option<LockFile>,
    _namespace: Option<NamespaceLock>,
}

/// The lock of a removal: no ADD begins on the bridge while it is held.
#[derive(Debug)]
#[must_use = "the lock is released at once unless it is kept"]
pub(crate) struct Exclusive {
    bridge: String,
    file: Option<LockFile>,
    _namespace: Option<NamespaceLock>,
}

impl Shared {
    /// Waits until no removal of the bridge runs, which takes the kernel some 35 ms.
    pub(crate) fn take(host: &Namespace, bridge: &str) -> Result<Self> {
        match LockFile::take(&path(bridge), Mode::Shared) {
            Ok(file) => Ok(Self { file: Some(file), _namespace: None }),
            Err(lock::Error::Busy(busy)) => Err(busy.into()),
            Err(_) => Ok(Self { file: None, _namespace: host.lock_shared(PATIENCE)? }),
        }
    }

    /// Gives the lock up once the bridge has the port.
    pub(crate) fn release(self, bridge: &Link) {
        if let Some(file) = self.file
            && !names::keeps_mac(bridge)
        {
            // What stays is removed by the next DEL.
            let _ = file.remove();
        }
    }
}

impl Exclusive {
    /// Takes the lock where no ADD is at work on the bridge; `None` where one is.
    pub(crate) fn take(bridge: &str) -> Result<Option<Self>> {
        let file = match LockFile::try_take(&path(bridge), Mode::Exclusive, true) {
            Ok(None) => return Ok(None),
            taken => taken.ok().flatten(),
        };
        let host = Namespace::current()?;
        let namespace = host.try_lock_exclusive()?;
        if namespace.is_none()
            && (file.is_none() || lock::holders(&host).iter().any(lock::Holder::is_of_own_user))
        {
            return Ok(None);
        }
        Ok(Some(Self { bridge: bridge.to_owned(), file, _namespace: namespace }))
    }

    /// Gives the lock up for a bridge that is gone, or is none of ours.
    pub(crate) fn forget(self) {
        match self.file {
            Some(file) => {
                let _ = file.remove();
            }
            // It could not be opened, but may be there.
            None => forget(&self.bridge),
        }
    }
}

/// Removes the lock file that an ADD which was killed left of a bridge that is gone, or is none of ours.
pub(crate) fn forget(bridge: &str) {
    let file = LockFile::try_take(&path(bridge), Mode::Exclusive, false).ok().flatten();
    let _ = file.map(LockFile::remove);
}
