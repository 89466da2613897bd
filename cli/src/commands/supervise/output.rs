//! Copies the output of a container in the background from a pipe to its log. So the log has a limit, and a full disk does not
//! block the container.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::unistd::{dup2_stderr, dup2_stdout};

use crate::runs::Writer;

/// The default capacity of a pipe, in bytes.
const CHUNK: usize = 64 << 10;
/// How many bytes are read within [`WINDOW`]: 64 MiB a second, so that a command that writes without end does not keep the host
/// busy.
const BUDGET: usize = 1 << 20;
const WINDOW: Duration = Duration::from_millis(16);

/// The thread that reads the pipe.
#[derive(Debug)]
pub(super) struct Output {
    thread: JoinHandle<()>,
    end: PipeWriter,
}

impl Output {
    /// Starts to copy from a pipe, into which the process's own standard output goes, to a log.
    pub(super) fn keep(pipe: File, log: Writer) -> io::Result<Self> {
        let flags = OFlag::from_bits_retain(fcntl(&pipe, FcntlArg::F_GETFL)?);
        fcntl(&pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        let (ended, end) = io::pipe()?;
        // The thread is to take no signal: they are the main thread's.
        let before = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)?;
        let thread = thread::Builder::new().name("log".to_owned()).spawn(move || {
            // Where the pipe cannot be read, there is nothing left to copy.
            let _ = empty(pipe, &ended, log);
        });
        before.thread_set_mask()?;
        Ok(Self { thread: thread?, end })
    }

    /// Copies what has been written by now. What other processes write later is lost.
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

fn empty(mut pipe: File, ended: &PipeReader, mut log: Writer) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let (mut window, mut taken) = (Instant::now(), 0);
    let mut left = None;
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                log.write(&buffer[..length]);
                taken += length;
                // Other processes may still write when the command has ended.
                if let Some(left) = &mut left {
                    *left -= length.min(*left);
                    if *left == 0 {
                        return Ok(());
                    }
                } else if is_ready([ended.as_fd()], PollTimeout::ZERO)? {
                    left = Some(BUDGET);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if left.is_some() {
                    return Ok(());
                }
                is_ready([pipe.as_fd(), ended.as_fd()], PollTimeout::NONE)?;
                // What is in the pipe by now is read before it ends.
                left = is_ready([ended.as_fd()], PollTimeout::ZERO)?.then_some(BUDGET);
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

/// Whether one of the descriptors can be read, or the other end of its pipe is closed, before the timeout or a signal.
fn is_ready<const N: usize>(fds: [BorrowedFd<'_>; N], timeout: PollTimeout) -> io::Result<bool> {
    match poll(&mut fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)), timeout) {
        Ok(events) => Ok(events > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
