//! Removes a link by a process of its own, and goes on as soon as the link is off every list.
//!
//! The kernel takes a link off its lists within a millisecond, but answers the request once all processors have passed
//! through a grace period, so that it can free the memory (`netdev_run_todo` and its `rcu_barrier`; 13 of 14 ms, of a bridge
//! 30). No signal ends that wait, and a process with a thread in it cannot end either. So this same program, started a
//! second time, sends the request; init reaps it. Where that fails, the link is removed as any other; also where the
//! configuration has `synchronousDel`, by which no process outlives a DEL.

use std::ffi::OsString;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use netlink::Socket;

use crate::error::Result;

/// The first argument of the process that removes a link. Runtimes give plugins none.
const REMOVE_LINK: &str = "remove-link";

/// Poll interval while the link is there.
const PAUSE: Duration = Duration::from_micros(100);

/// A link that is being removed.
#[derive(Debug)]
pub struct Removal {
    index: u32,
    process: Option<Child>,
}

impl Removal {
    /// Starts the removal of a link of the current network namespace, where it may go on behind the caller.
    #[must_use]
    pub fn begin(index: u32, is_synchronous: bool) -> Self {
        Self { index, process: if is_synchronous { None } else { start(index) } }
    }

    /// Returns once the link is off every list, with the kernel's error if it is not. Where the removal is synchronous, this
    /// is all of it.
    pub fn finish(mut self, socket: &mut Socket) -> Result<()> {
        while let Some(process) = &mut self.process {
            if !socket.is_listed(self.index)? {
                return Ok(());
            }
            match process.try_wait() {
                Ok(None) => thread::sleep(PAUSE),
                Ok(Some(_)) | Err(_) => self.process = None,
            }
        }
        socket.del_link(self.index)?;
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "only another process can wait for the grace period in this one's place"
)]
fn start(index: u32) -> Option<Child> {
    // The program as it runs, even where its file has just been replaced. No output of the caller's is kept open: a
    // runtime reads it to its end. Standard input is at its end.
    let mut command = Command::new("/proc/self/exe");
    command.arg(REMOVE_LINK).arg(index.to_string()).env_clear();
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().ok()
}

/// The link that this process is to remove, if it is one that [`Removal::begin`] has started: `Some(None)` where it does not
/// say which.
pub fn asked_removal(mut arguments: impl Iterator<Item = OsString>) -> Option<Option<u32>> {
    if arguments.nth(1)? != REMOVE_LINK {
        return None;
    }
    Some(arguments.next().and_then(|text| text.to_str()?.parse().ok()))
}
