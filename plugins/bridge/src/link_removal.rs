//! Removes a link by a process of its own, and goes on as soon as the link is off every list.
//!
//! The kernel takes a link off every list within a millisecond, notifies listeners, and only then answers the
//! request: once all processors have passed through a grace period, so that it can free the memory (`netdev_run_todo`
//! and its `rcu_barrier`; 13 of 14 ms). No signal ends that wait, and a process with a thread in it cannot end
//! either. So this same program, started a second time, sends the request; init reaps it. Where that fails, the link is
//! removed as any other.

use std::ffi::OsString;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use netlink::Socket;

use crate::error::Result;

/// The first argument of the process that removes a link. Runtimes give plugins none.
const REMOVE_LINK: &str = "remove-link";

/// Poll interval while the link is there.
const PAUSE: Duration = Duration::from_micros(50);

/// A link that is being removed.
pub(crate) struct Removal {
    index: u32,
    process: Option<Child>,
}

impl Removal {
    /// Starts the removal of a link of the current network namespace.
    pub(crate) fn begin(index: u32) -> Self {
        Self { index, process: start(index) }
    }

    /// Returns once the link is off every list, with the kernel's error if it is not.
    pub(crate) fn finish(mut self, socket: &mut Socket) -> Result<()> {
        while let Some(process) = &mut self.process {
            if socket.get_link_by_index(self.index)?.is_none() {
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
    // The program as it runs, even where its file has just been replaced. Nothing of the caller's is kept open: a
    // runtime reads the output to its end.
    let mut command = Command::new("/proc/self/exe");
    command.arg(REMOVE_LINK).arg(index.to_string()).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().ok()
}

/// The whole run of the process that removes a link; `None` where this is not that process.
pub(crate) fn serve(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if arguments.nth(1)? != REMOVE_LINK {
        return None;
    }
    let index = arguments.next().and_then(|text| text.to_str()?.parse().ok());
    let removed =
        index.is_some_and(|index| Socket::open().and_then(|mut socket| socket.del_link(index)).is_ok());
    Some(if removed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
