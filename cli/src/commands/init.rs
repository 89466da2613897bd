//! `cleat init`: the first process of a container, started by `cleat run` alone.
//!
//! It makes the namespaces, waits until the networks are attached, and executes the command. Errors are reported to `cleat run`,
//! which prints them.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use netlink::Socket;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::sethostname;

use crate::error::Error;
use crate::handshake::{self, Go, Report};
use crate::mounts;
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
    /// What to execute in the end
    #[arg(required = true, last = true)]
    command: Vec<OsString>,
}

/// Executes the command, or reports why it could not.
pub(crate) fn execute(args: &Args) -> ExitCode {
    let Ok(mut report) = handshake::inherit(args.report, "reports", File::options().write(true)) else {
        return ExitCode::FAILURE;
    };
    let Err(error) = become_command(args, &mut report);
    // Where the pipe is broken, `cleat run` has ended.
    let _ = handshake::send(&mut report, &Report::Err((&error).into()));
    ExitCode::from(error.exit_code())
}

fn become_command(args: &Args, report: &mut File) -> Result<Infallible, Error> {
    // This process is killed when `cleat run` ends. Where that has ended already, reading the orders fails below.
    set_pdeathsig(Signal::SIGKILL).map_err(|errno| Error::io("follow cleat to its end", errno))?;
    let orders = handshake::inherit(args.orders, "orders", File::options().read(true))?;
    Signals::release()?;
    make_namespaces(&args.hostname, args.host_network)?;
    handshake::send(report, &Report::Ok(own_netns()?))
        .map_err(|error| Error::io("report to cleat", error))?;
    let go: Go = handshake::receive(&mut BufReader::new(orders))
        .and_then(|go| go.ok_or(io::ErrorKind::UnexpectedEof.into()))
        .map_err(|error| Error::io("wait for orders of cleat", error))?;
    if let Some(hosts) = &go.hosts {
        mounts::bind_hosts(hosts).map_err(mounts::failed(hosts))?;
    }
    mounts::show_texts(&go.texts).map_err(|error| Error::io("mount files of the container's own", error))?;
    Err(run(&args.command, go.env))
}

fn make_namespaces(hostname: &str, on_host: bool) -> Result<(), Error> {
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

/// Executes the command in place of this process; returns why that failed.
#[expect(clippy::disallowed_methods, reason = "nothing is spawned: this process becomes the command")]
fn run(command: &[OsString], env: Vec<(String, String)>) -> Error {
    // The command line demands one word at least.
    let program = command.first().cloned().unwrap_or_default();
    let source = Command::new(&program).args(command.iter().skip(1)).envs(env).exec();
    Error::Execute { program, source }
}
