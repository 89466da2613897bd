//! The output of a container in the background comes by a pipe and goes to its log. So the log has a bound, and a full disk
//! does not block the container.

use std::fs::File;
use std::io::{self, PipeWriter, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::unistd::{dup2_stderr, dup2_stdout};

use crate::runs::Writer;

/// A pipe of the usual size has that much.
const CHUNK: usize = 64 << 10;
/// No more than this is taken within [`WINDOW`], 64 MiB a second: a command that writes without end waits a few milliseconds,
/// and does not keep the host busy.
const BUDGET: usize = 1 << 20;
const WINDOW: Duration = Duration::from_millis(16);

/// The thread that empties the pipe.
#[derive(Debug)]
pub(super) struct Output {
    thread: JoinHandle<()>,
    end: PipeWriter,
}

impl Output {
    /// Starts to empty a pipe into a log. The process's own standard output leads into the pipe.
    pub(super) fn keep(pipe: File, log: Writer) -> io::Result<Self> {
        let flags = OFlag::from_bits_retain(fcntl(&pipe, FcntlArg::F_GETFL)?);
        fcntl(&pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        let (ended, end) = io::pipe()?;
        // The thread is to take no signal: they are the main thread's.
        let before = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)?;
        let ended: OwnedFd = ended.into();
        let thread = thread::Builder::new().name("log".to_owned()).spawn(move || {
            // What it cannot read any more nobody can.
            let _ = empty(pipe, &ended, log);
        });
        before.thread_set_mask()?;
        Ok(Self { thread: thread?, end })
    }

    /// Keeps what has been written by now. What processes write that the container's left behind is lost from here on.
    pub(super) fn finish(self) {
        let null = || -> io::Result<()> {
            let null = File::options().write(true).open("/dev/null")?;
            dup2_stdout(&null)?;
            dup2_stderr(&null)?;
            Ok(())
        };
        let _ = null();
        drop(self.end);
        let _ = self.thread.join();
    }
}

fn empty(mut pipe: File, ended: &OwnedFd, mut log: Writer) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let (mut window, mut taken) = (Instant::now(), 0);
    let mut left = None;
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                log.write(&buffer[..length]);
                taken += length;
                // Somebody else may go on writing when the command has ended.
                if let Some(left) = &mut left {
                    *left -= length.min(*left);
                    if *left == 0 {
                        return Ok(());
                    }
                } else if has_ended(ended)? {
                    left = Some(BUDGET);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if left.is_some() || has_ended(ended)? && left.replace(BUDGET).is_some() {
                    return Ok(());
                }
                if left.is_none() {
                    wait(&pipe, ended)?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if window.elapsed() >= WINDOW {
            (window, taken) = (Instant::now(), 0);
        } else if taken >= BUDGET && left.is_none() {
            thread::sleep(WINDOW.saturating_sub(window.elapsed()));
            (window, taken) = (Instant::now(), 0);
        }
    }
}

fn wait(pipe: &File, ended: &OwnedFd) -> io::Result<()> {
    let mut both =
        [PollFd::new(pipe.as_fd(), PollFlags::POLLIN), PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
    match poll(&mut both, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether the other end of the pipe is closed.
fn has_ended(ended: &OwnedFd) -> io::Result<bool> {
    let mut end = [PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
    match poll(&mut end, PollTimeout::ZERO) {
        Ok(events) => Ok(events > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
