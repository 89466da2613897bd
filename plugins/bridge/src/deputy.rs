//! Has a link removed by a process of its own, and goes on as soon as nobody can see the link any more.
//!
//! The kernel takes a link off every list within a millisecond, tells everybody so, and only then answers the
//! request: once all processors have passed through a grace period, so that it can free the memory (`netdev_run_todo`
//! and its `rcu_barrier`; 13 of 14 ms). No signal ends that wait, and a process with a thread in it cannot end
//! either. So the request is sent by this same program, started a second time; init reaps it. Its failure is no
//! error: the link is then removed as any other.

use std::ffi::OsString;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use netlink::Socket;

use crate::error::Error;

/// The first argument of the deputy. Runtimes give plugins none.
const ERRAND: &str = "remove-link";

/// Between two looks at whether the link is gone.
const PAUSE: Duration = Duration::from_micros(50);

/// A link that is being removed.
pub(crate) struct Removal {
    index: u32,
    deputy: Option<Child>,
}

impl Removal {
    /// Sends for the removal of a link of the current network namespace.
    pub(crate) fn begin(index: u32) -> Self {
        Self { index, deputy: start(index) }
    }

    /// Returns once the link is gone for everybody, with the kernel's error if it is not.
    pub(crate) fn finish(mut self, socket: &mut Socket) -> Result<(), Error> {
        while let Some(deputy) = &mut self.deputy {
            if socket.get_link_by_index(self.index)?.is_none() {
                return Ok(());
            }
            match deputy.try_wait() {
                Ok(None) => thread::sleep(PAUSE),
                Ok(Some(_)) | Err(_) => self.deputy = None,
            }
        }
        socket.del_link(self.index)?;
        Ok(())
    }
}

/// Removes a link of the current network namespace.
pub(crate) fn remove(socket: &mut Socket, index: u32) -> Result<(), Error> {
    Removal::begin(index).finish(socket)
}

#[expect(
    clippy::disallowed_methods,
    reason = "no other way leaves the wait for the grace period to somebody else"
)]
fn start(index: u32) -> Option<Child> {
    // The program as it runs, even where its file has just been replaced. Nothing of the caller's is kept open: a
    // runtime reads the output to its end.
    let mut command = Command::new("/proc/self/exe");
    command.arg(ERRAND).arg(index.to_string()).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().ok()
}

/// The whole run of a deputy; `None` where this process is none.
pub(crate) fn serve(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if arguments.nth(1)? != ERRAND {
        return None;
    }
    let index = arguments.next().and_then(|text| text.to_str()?.parse().ok());
    let removed =
        index.is_some_and(|index| Socket::open().and_then(|mut socket| socket.del_link(index)).is_ok());
    Some(if removed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
