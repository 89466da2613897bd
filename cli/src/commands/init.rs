//! `cleat init`: the first process of a container, started by `cleat run` alone.
//!
//! It makes the namespaces, waits until the networks are attached, starts the command, and stays until that ends: signals go on
//! to the command, and what the command leaves is reaped. In a PID namespace of its own it is the first process, with whose end
//! the kernel kills all others. Errors are reported to `cleat run`, which prints them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use netlink::Socket;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, chdir, getppid, sethostname};

use crate::environment;
use crate::error::Error;
use crate::handshake::{self, Go, Report};
use crate::launch::launch;
use crate::mounts;
use crate::processes::MountNamespace;
use crate::signals::Signals;

/// The arguments of `cleat init`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of the descriptor for reports
    #[arg(long)]
    report: RawFd,
    /// Number of the descriptor on which orders arrive
    #[arg(long)]
    orders: RawFd,
    /// Host name of the container
    #[arg(long)]
    hostname: String,
    /// Keep the network namespace of the host
    #[arg(long)]
    host_network: bool,
    /// Path of the network namespace to enter, instead of a new one
    #[arg(long, value_name = "PATH")]
    network_of: Option<PathBuf>,
    /// Keep the PID namespace of the host
    #[arg(long)]
    host_pids: bool,
    /// What to execute in the end
    #[arg(required = true, last = true)]
    command: Vec<OsString>,
}

/// Starts the command and stays until it ends, or reports why it could not be started.
pub(crate) fn execute(args: &Args) -> ExitCode {
    let Ok(mut report) = handshake::inherit(args.report, "reports", File::options().write(true)) else {
        return ExitCode::FAILURE;
    };
    match start(args, &mut report) {
        Ok((signals, command)) => {
            // The end of the pipe means that the command runs.
            drop(report);
            ExitCode::from(stay(args, &signals, command))
        }
        Err(error) => {
            // Where the pipe is broken, `cleat run` has ended.
            let _ = handshake::send(&mut report, &Report::Err((&error).into()));
            ExitCode::from(error.exit_code())
        }
    }
}

fn start(args: &Args, report: &mut File) -> Result<(Signals, Pid), Error> {
    // This process is killed when `cleat run` ends, and the kernel kills the others of its namespace. Without one, this process
    // kills them. Where `cleat run` has ended already, reading the orders fails below.
    let at_its_end = if args.host_pids { Signal::SIGTERM } else { Signal::SIGKILL };
    set_pdeathsig(at_its_end).map_err(|errno| Error::io("follow cleat to its end", errno))?;
    let orders = handshake::inherit(args.orders, "orders", File::options().read(true))?;
    let signals = Signals::hold()?;
    make_namespaces(args)?;
    handshake::send(report, &Report::Ok(own_netns()?))
        .map_err(|error| Error::io("report to cleat", error))?;
    let go: Go = handshake::receive(&mut BufReader::new(orders))
        .and_then(|go| go.ok_or(io::ErrorKind::UnexpectedEof.into()))
        .map_err(|error| Error::io("wait for orders of cleat", error))?;
    if !args.host_pids {
        show_own_processes()?;
    }
    mounts::show_volumes(&go.volumes)?;
    if let Some(hosts) = &go.hosts {
        mounts::bind_hosts(hosts).map_err(mounts::failed(hosts))?;
    }
    mounts::show_texts(&go.texts).map_err(|error| Error::io("mount files of the container's own", error))?;
    chdir(&go.folder).map_err(|errno| Error::io(format!("go to folder {}", go.folder.display()), errno))?;
    let mut env = environment::inherited();
    env.extend(go.env.into_iter().map(|(key, value)| (key.into(), value.into())));
    Ok((signals, launch(&args.command, &env)?))
}

/// Waits for the command's end; returns its exit code.
fn stay(args: &Args, signals: &Signals, command: Pid) -> u8 {
    let parent = getppid();
    let is_abandoned = || args.host_pids && getppid() != parent;
    let code = signals.outlast(command, is_abandoned).unwrap_or(1);
    if is_abandoned() {
        // Nobody is left to report a failure to.
        let _ = MountNamespace::of(Path::new("/proc/self")).and_then(MountNamespace::end_all);
    }
    code
}

/// Mounts a /proc of this PID namespace. Where the kernel refuses that, as within containers that hide parts of theirs, the one
/// of the host stays.
fn show_own_processes() -> Result<(), Error> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    match mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>) {
        Ok(()) | Err(Errno::EPERM) => Ok(()),
        Err(errno) => Err(Error::io("mount /proc", errno)),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this process has no other thread, and becomes a part of the container"
)]
fn make_namespaces(args: &Args) -> Result<(), Error> {
    let hostname = &*args.hostname;
    if let Some(path) = &args.network_of {
        let failed = |error| Error::io(format!("enter network namespace {}", path.display()), error);
        let namespace = File::open(path).map_err(failed)?;
        setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| failed(errno.into()))?;
    }
    let on_host = args.host_network || args.network_of.is_some();
    let network = if on_host { CloneFlags::empty() } else { CloneFlags::CLONE_NEWNET };
    unshare(network | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)
        .map_err(|errno| Error::io("make network, mount and UTS namespaces", errno))?;
    // As slaves of the host's, the mounts here are not visible on the host; and what the host unmounts is unmounted here too,
    // instead of being busy until the command ends.
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_SLAVE | MsFlags::MS_REC, none)
        .map_err(|errno| Error::io("keep mounts of the container from the host", errno))?;
    sethostname(hostname).map_err(|errno| Error::io(format!("set host name {hostname}"), errno))?;
    if on_host {
        return Ok(());
    }
    let mut socket = Socket::open()?;
    if let Some(loopback) = socket.get_link("lo")? {
        socket.set_up(loopback.index)?;
    }
    Ok(())
}

/// The path of this process's namespace. The process number is that in /proc, which may have been mounted for another PID
/// namespace than that of this process.
fn own_netns() -> Result<PathBuf, Error> {
    let number = fs::read_link("/proc/self").map_err(|error| Error::io("read /proc/self", error))?;
    Ok(Path::new("/proc").join(number).join("ns/net"))
}
