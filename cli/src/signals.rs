//! Signals of `cleat run`: blocked while plugins run, forwarded while the command runs.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use crate::error::Error;

/// The signals that terminals, users and service managers send to programs.
const FORWARDED: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// The signals that this process gets, which are read instead of ending it.
#[derive(Debug)]
pub(crate) struct Signals {
    queue: SignalFd,
}

impl Signals {
    /// Blocks signals. Programs that are started from now on inherit this, so that Ctrl-C does not end a plugin halfway.
    pub(crate) fn hold() -> Result<Self, Error> {
        let failed = |errno| Error::io("hold signals back", errno);
        let mut set: SigSet = FORWARDED.into_iter().collect();
        set.thread_block().map_err(failed)?;
        set.add(Signal::SIGCHLD);
        let queue =
            SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(failed)?;
        Ok(Self { queue })
    }

    /// Forwards what has arrived so far to a child. A signal that kills it does so before this process does anything else.
    pub(crate) fn forward_held(&self, child: Pid) -> Result<(), Error> {
        self.forward_arrived(child).map_err(|errno| Error::io("hand signals on", errno))
    }

    /// Forwards signals to a child until it has ended. The child is not reaped, so that its process number, and with it the path
    /// of its namespace, remains its own.
    pub(crate) fn forward_to(&self, child: Pid) -> Result<(), Error> {
        let failed = |errno| Error::io("wait for the command", errno);
        // Only blocked here, so that plugins do not inherit it: they may need it for their own children.
        let ended = SigSet::from(Signal::SIGCHLD);
        ended.thread_block().map_err(failed)?;
        let outcome = self.forward_until_ended(child).map_err(failed);
        ended.thread_unblock().map_err(failed)?;
        outcome
    }

    /// Forwards signals to the command of a container until it has ended or `is_abandoned`, and reaps whatever ends meanwhile,
    /// as a first process has to. Returns the command's exit code, or 128 and the signal's number.
    pub(crate) fn outlast(&self, command: Pid, is_abandoned: impl Fn() -> bool) -> nix::Result<u8> {
        SigSet::from(Signal::SIGCHLD).thread_block()?;
        loop {
            self.forward_arrived(command)?;
            // In this order: where something ends afterwards, poll returns because of its SIGCHLD.
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == command => {
                    return Ok(u8::try_from(code).unwrap_or(1));
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == command => {
                    return Ok(u8::try_from(128 + signal as i32).unwrap_or(1));
                }
                Ok(WaitStatus::StillAlive) if is_abandoned() => return Ok(1),
                Ok(WaitStatus::StillAlive) => self.wait()?,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    fn wait(&self) -> nix::Result<()> {
        match poll(&mut [PollFd::new(self.queue.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) {
            Err(Errno::EINTR) | Ok(_) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn forward_until_ended(&self, child: Pid) -> nix::Result<()> {
        loop {
            // In this order: where the child ends after `has_ended`, poll returns because of its SIGCHLD.
            self.forward_arrived(child)?;
            if has_ended(child)? {
                return Ok(());
            }
            self.wait()?;
        }
    }

    fn forward_arrived(&self, child: Pid) -> nix::Result<()> {
        while let Some(arrived) = self.queue.read_signal()? {
            let signal = Signal::try_from(i32::try_from(arrived.ssi_signo).unwrap_or_default())?;
            // The terminal sends Ctrl-C and Ctrl-\ to every process in the foreground, also to the command, where it would
            // arrive twice. A positive code means that the kernel sent the signal (sigaction(2)).
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

/// Kills a child and waits until it has ended, but does not reap it.
pub(crate) fn end(child: Pid) {
    // Both calls fail only where there is no such child, and then it has ended.
    let _ = kill(child, Signal::SIGKILL);
    let _ = waitid(Id::Pid(child), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
}
