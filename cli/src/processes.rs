//! The processes of a container that has no PID namespace of its own (`--pid host`): those in its mount namespace.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How often it is looked again: a process in a system call that cannot be interrupted may stay for longer.
const TRIES: usize = 500;

/// A mount namespace, as the kernel numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MountNamespace(u64, u64);

impl MountNamespace {
    /// That of a process, whose folder in /proc is given.
    pub(crate) fn of(process: &Path) -> io::Result<Self> {
        let found = fs::metadata(process.join("ns/mnt"))?;
        Ok(Self(found.dev(), found.ino()))
    }

    /// Kills its processes, except for the one that calls, and waits until they have ended.
    pub(crate) fn end_all(self) -> io::Result<()> {
        let own = fs::read_link("/proc/self")?;
        for _ in 0..TRIES {
            let mut has_any = false;
            for process in fs::read_dir("/proc")?.flatten() {
                let number = process.file_name();
                let Some(pid) = number.to_str().and_then(|number| number.parse().ok()) else { continue };
                // A process that has ended has no namespace any more, even while it has not been waited for.
                if Path::new(&number) != own && Self::of(&process.path()).is_ok_and(|found| found == self) {
                    has_any = true;
                    // Where it fails, the process has ended.
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
            if !has_any {
                return Ok(());
            }
            thread::sleep(POLL_INTERVAL);
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}
