//! The container of `cleat run`, from outside: the process that makes its namespaces and starts its command.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, PipeReader, PipeWriter};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::Pid;

use crate::error::Error;
use crate::handshake::{self, Go, Report};
use crate::processes::MountNamespace;

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
    /// Which processes are its own, where it has no PID namespace.
    own: Option<MountNamespace>,
}

/// What the namespaces of a container are to be.
#[derive(Debug)]
pub(crate) struct Namespaces<'a> {
    /// Its host name.
    pub(crate) hostname: &'a str,
    /// Whether it keeps the host's network.
    pub(crate) host_network: bool,
    /// The path of the network namespace that it has, if that is another container's.
    pub(crate) network_of: Option<&'a Path>,
    /// Whether it keeps the host's PID namespace.
    pub(crate) host_pids: bool,
}

impl Sandbox {
    /// Makes the container. Afterwards its namespaces are there, and its first process waits for [`Sandbox::go`].
    pub(crate) fn start(namespaces: &Namespaces<'_>, command: &[OsString]) -> Result<Self, Error> {
        let failed = |error| Error::io("start container", error);
        let (child, reports, go) = spawn(namespaces, command).map_err(failed)?;
        let pid = i32::try_from(child.id()).map_err(|error| failed(io::Error::other(error)))?;
        let mut sandbox = Self {
            child,
            pid: Pid::from_raw(pid),
            reports: BufReader::new(reports),
            go,
            netns: PathBuf::new(),
            own: None,
        };
        let Some(netns) = sandbox.report()? else {
            let reason = format!("its first process ended early ({})", sandbox.reap()?);
            return Err(Error::Refused { doing: "start container".to_owned(), reason, cure: None });
        };
        if namespaces.host_pids {
            // By its number in /proc, which its report has.
            let process = netns.ancestors().nth(2).unwrap_or(&netns);
            sandbox.own = Some(MountNamespace::of(process).map_err(failed)?);
        }
        sandbox.netns = netns;
        Ok(sandbox)
    }

    /// Ends what the command has left, where the kernel does not do it.
    pub(crate) fn end_rest(&self) -> Result<(), Error> {
        self.own.map_or(Ok(()), |own| {
            own.end_all().map_err(|error| Error::io("end processes of the container", error))
        })
    }

    /// Has the process start the command, and waits until it does. A process that was killed meanwhile is no error here:
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

/// Starts the process with its ends of two pipes, as the first one of a new PID namespace unless it keeps the host's.
#[expect(
    clippy::disallowed_methods,
    reason = "the one program that cleat starts itself is cleat; pids are set back at once"
)]
fn spawn(namespaces: &Namespaces<'_>, command: &[OsString]) -> io::Result<(Child, PipeReader, PipeWriter)> {
    let (reports, report) = io::pipe()?;
    let (orders, go) = io::pipe()?;
    let mut process = Command::new(SELF);
    process
        .arg("init")
        .arg(format!("--report={}", handshake::let_inherit(&report)?))
        .arg(format!("--orders={}", handshake::let_inherit(&orders)?))
        .arg(format!("--hostname={}", namespaces.hostname))
        .args(namespaces.host_network.then_some("--host-network"))
        .args(namespaces.network_of.map(|path| format!("--network-of={}", path.display())))
        .args(namespaces.host_pids.then_some("--host-pids"))
        .arg("--")
        .args(command);
    if namespaces.host_pids {
        return Ok((process.spawn()?, reports, go));
    }
    // Plugins are started by this process, too: they stay in its own namespace.
    let own = File::open("/proc/self/ns/pid")?;
    unshare(CloneFlags::CLONE_NEWPID)?;
    let child = process.spawn();
    let back = setns(own, CloneFlags::CLONE_NEWPID);
    let mut child = child?;
    if let Err(errno) = back {
        child.kill()?;
        child.wait()?;
        return Err(errno.into());
    }
    Ok((child, reports, go))
}
