//! The container of `cleat run`, from outside: the process that makes its namespaces and becomes its command.

use std::ffi::OsString;
use std::io::{self, BufReader, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use nix::unistd::Pid;

use crate::environment;
use crate::error::Error;
use crate::handshake::{self, Go, Report};

/// This very program, even where its file has been replaced or deleted.
pub(crate) const SELF: &str = "/proc/self/exe";

/// A container whose command does not run yet, or runs. It ends, at the latest, with this value.
#[derive(Debug)]
pub(crate) struct Sandbox {
    child: Child,
    pid: Pid,
    reports: BufReader<PipeReader>,
    go: PipeWriter,
    netns: PathBuf,
}

impl Sandbox {
    /// Makes the container, with the host's network where that is wanted: its namespaces are there afterwards, and its first process waits.
    pub(crate) fn start(hostname: &str, command: &[OsString], on_host: bool) -> Result<Self, Error> {
        let failed = |error| Error::io("start container", error);
        let (child, reports, go) = spawn(hostname, command, on_host).map_err(failed)?;
        let pid = i32::try_from(child.id()).map_err(|error| failed(io::Error::other(error)))?;
        let mut sandbox = Self {
            child,
            pid: Pid::from_raw(pid),
            reports: BufReader::new(reports),
            go,
            netns: PathBuf::new(),
        };
        match sandbox.report()? {
            Some(Report::Ready { netns }) => sandbox.netns = netns,
            Some(failure) => return Err(failure.into_error()),
            None => {
                let status = sandbox.reap()?.to_string();
                let reason = format!("its first process ended early ({status})");
                return Err(Error::Refused { doing: "start container".to_owned(), reason, cure: None });
            }
        }
        Ok(sandbox)
    }

    /// The path of the network namespace.
    pub(crate) fn netns(&self) -> &Path {
        &self.netns
    }

    /// The process.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Has the command executed, and waits until it is. A process that was killed meanwhile is no error here: how it
    /// ended is told by [`Sandbox::reap`].
    pub(crate) fn go(&mut self, go: &Go) -> Result<(), Error> {
        match handshake::send(&mut self.go, go) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                return Err(Error::io("start the command", error));
            }
            _ => {}
        }
        match self.report()? {
            Some(report) => Err(report.into_error()),
            None => Ok(()),
        }
    }

    /// Waits until the process has ended, and lets its number go.
    pub(crate) fn reap(&mut self) -> Result<ExitStatus, Error> {
        self.child.wait().map_err(|error| Error::io("wait for the command", error))
    }

    fn report(&mut self) -> Result<Option<Report>, Error> {
        handshake::receive(&mut self.reports)
            .map_err(|error| Error::io("read the report of the container", error))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Nothing is left to do about a failure: the child ends by itself when this process does.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Report {
    /// What the process could not do.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Failed { message, cure, code } => Error::Inside { message, cure, code },
            Self::Ready { .. } => Error::io("start the command", io::Error::other("unexpected report")),
        }
    }
}

/// Starts the process with the far ends of two pipes, which nobody else has.
#[expect(clippy::disallowed_methods, reason = "the one program that cleat starts itself is cleat")]
fn spawn(hostname: &str, command: &[OsString], on_host: bool) -> io::Result<(Child, PipeReader, PipeWriter)> {
    let (reports, report) = io::pipe()?;
    let (orders, go) = io::pipe()?;
    let (report, orders): (OwnedFd, OwnedFd) = (report.into(), orders.into());
    let mut process = Command::new(SELF);
    process
        .arg("init")
        .arg(format!("--report={}", handshake::bequeath(&report)?))
        .arg(format!("--orders={}", handshake::bequeath(&orders)?))
        .arg(format!("--hostname={hostname}"))
        .args(on_host.then_some("--host-network"))
        .arg("--")
        .args(command);
    for name in environment::contract_variables() {
        process.env_remove(name);
    }
    let child = process.spawn()?;
    Ok((child, reports, go))
}
