//! The container of `cleat run`, from outside: the process that makes its namespaces and becomes its command.

use std::ffi::OsString;
use std::io::{self, BufReader, PipeReader, PipeWriter};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};

use nix::unistd::Pid;

use crate::environment;
use crate::error::Error;
use crate::handshake::{self, Go, Report};

/// This very program, even where its file has been replaced or deleted.
pub(crate) const SELF: &str = "/proc/self/exe";

/// A container whose command does not run yet, or runs. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Sandbox {
    child: Child,
    /// Its first process.
    pub(crate) pid: Pid,
    reports: BufReader<PipeReader>,
    go: PipeWriter,
    /// The path of its network namespace.
    pub(crate) netns: PathBuf,
}

impl Sandbox {
    /// Makes the container, with the network of the host if `on_host`. Afterwards its namespaces are there, and its first
    /// process waits for [`Sandbox::go`].
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
        let Some(netns) = sandbox.report()? else {
            let reason = format!("its first process ended early ({})", sandbox.reap()?);
            return Err(Error::Refused { doing: "start container".to_owned(), reason, cure: None });
        };
        sandbox.netns = netns;
        Ok(sandbox)
    }

    /// Has the process execute the command, and waits until it does. A process that was killed meanwhile is no error here:
    /// [`Sandbox::reap`] returns how it ended.
    pub(crate) fn go(&mut self, go: &Go) -> Result<(), Error> {
        match handshake::send(&mut self.go, go) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                return Err(Error::io("start the command", error));
            }
            _ => {}
        }
        self.report().map(|_| ())
    }

    /// Waits until the process has ended; its process number is free then.
    pub(crate) fn reap(&mut self) -> Result<ExitStatus, Error> {
        self.child.wait().map_err(|error| Error::io("wait for the command", error))
    }

    /// The path of the network namespace; `None` at the end of the pipe.
    fn report(&mut self) -> Result<Option<PathBuf>, Error> {
        handshake::receive::<Report>(&mut self.reports)
            .map_err(|error| Error::io("read the report of the container", error))?
            .transpose()
            .map_err(Error::Inside)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // A failure does no harm: the child is killed when this process ends.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the process with its ends of two pipes.
#[expect(clippy::disallowed_methods, reason = "the one program that cleat starts itself is cleat")]
fn spawn(hostname: &str, command: &[OsString], on_host: bool) -> io::Result<(Child, PipeReader, PipeWriter)> {
    let (reports, report) = io::pipe()?;
    let (orders, go) = io::pipe()?;
    let mut process = Command::new(SELF);
    process
        .arg("init")
        .arg(format!("--report={}", handshake::let_inherit(&report)?))
        .arg(format!("--orders={}", handshake::let_inherit(&orders)?))
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
