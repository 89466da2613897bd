//! Signals of `cleat run`: held back while plugins work, handed on while the command runs.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::error::Error;

/// What a terminal, a user or a supervisor sends to end a program or to tell it something.
const FORWARDED: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// The signals of this process, which arrive here from now on instead of ending it.
#[derive(Debug)]
pub(crate) struct Signals {
    queue: SignalFd,
}

impl Signals {
    /// Holds signals back. Programs started from now on inherit this, so that a Ctrl-C cannot end a plugin halfway.
    pub(crate) fn hold() -> Result<Self, Error> {
        let failed = |errno| Error::io("hold signals back", errno);
        let mut set: SigSet = FORWARDED.into_iter().collect();
        set.thread_block().map_err(failed)?;
        set.add(Signal::SIGCHLD);
        let queue =
            SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(failed)?;
        Ok(Self { queue })
    }

    /// Undoes for the calling process what it inherited of [`Signals::hold`].
    pub(crate) fn release() -> Result<(), Error> {
        FORWARDED
            .into_iter()
            .collect::<SigSet>()
            .thread_unblock()
            .map_err(|errno| Error::io("let signals through", errno))
    }

    /// Hands on to a child what has arrived so far. A child that would die of it does so before anything that this process
    /// does next can reach it.
    pub(crate) fn forward_held(&self, child: Pid) -> Result<(), Error> {
        self.forward_arrived(child).map_err(|errno| Error::io("hand signals on", errno))
    }

    /// Hands signals on to a child until it has ended. The child is left unreaped, so that its number, and with it the
    /// path of its namespace, remains its own.
    pub(crate) fn forward_to(&self, child: Pid) -> Result<(), Error> {
        let failed = |errno| Error::io("wait for the command", errno);
        // Plugins are started with this one let through: their own children are no affair of ours.
        let ended = SigSet::from(Signal::SIGCHLD);
        ended.thread_block().map_err(failed)?;
        let outcome = self.forward_until_ended(child).map_err(failed);
        ended.thread_unblock().map_err(failed)?;
        outcome
    }

    fn forward_until_ended(&self, child: Pid) -> nix::Result<()> {
        loop {
            // In this order: an end that comes after the question has its SIGCHLD still to be polled.
            self.forward_arrived(child)?;
            if has_ended(child)? {
                return Ok(());
            }
            match poll(&mut [PollFd::new(self.queue.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) {
                Err(Errno::EINTR) | Ok(_) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    fn forward_arrived(&self, child: Pid) -> nix::Result<()> {
        while let Some(arrived) = self.queue.read_signal()? {
            let signal = Signal::try_from(i32::try_from(arrived.ssi_signo).unwrap_or_default())?;
            // Ctrl-C and Ctrl-\ go from the terminal to every process of the foreground, the command among them; a
            // positive code says that the kernel sent it (sigaction(2)). Handed on it would arrive twice.
            let from_keyboard = arrived.ssi_code > 0 && matches!(signal, Signal::SIGINT | Signal::SIGQUIT);
            if signal != Signal::SIGCHLD && !from_keyboard {
                kill(child, signal)?;
            }
        }
        Ok(())
    }
}

fn has_ended(child: Pid) -> nix::Result<bool> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(child), flags).map(|status| status != WaitStatus::StillAlive)
}

/// Ends a child and waits until it has ended, and leaves it unreaped.
pub(crate) fn end(child: Pid) {
    // Both calls fail only where there is no such child, and then it has ended.
    let _ = kill(child, Signal::SIGKILL);
    let _ = waitid(Id::Pid(child), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
}
