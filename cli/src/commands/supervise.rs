//! `cleat supervise`: the supervisor of a container in the background, started only by `cleat run -d` and `cleat restart`. It
//! does what `cleat run` does, but without a terminal, and its output goes to the log.

mod output;

use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use nix::unistd::setsid;

use crate::container::Container;
use crate::environment::Environment;
use crate::error::Error;
use crate::handshake::{self, Report};
use crate::runs::{self, Run};
use crate::sandbox::SELF;
use output::Output;

/// The arguments of `cleat supervise`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of the descriptor for the report
    #[arg(long)]
    report: RawFd,
    /// Number of the descriptor from which the output is read
    #[arg(long)]
    output: RawFd,
    /// The container's ID
    container: String,
}

/// Starts the process for a container, and waits until its command runs.
#[expect(clippy::disallowed_methods, reason = "the one program that cleat starts itself is cleat")]
pub(crate) fn start(run: &Run) -> Result<(), Error> {
    let spawn = || -> io::Result<Option<Report>> {
        let (reports, report) = io::pipe()?;
        let (written, output) = io::pipe()?;
        let mut supervisor = Command::new(SELF);
        supervisor
            .arg("supervise")
            .arg(format!("--report={}", handshake::let_inherit(&report)?))
            .arg(format!("--output={}", handshake::let_inherit(&written)?))
            .arg(&run.record.container_id)
            .current_dir(&run.record.folder)
            .env_clear()
            .envs(run.record.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        supervisor.spawn()?;
        drop((report, written, supervisor));
        handshake::receive(&mut BufReader::new(reports))
    };
    match spawn().map_err(|error| Error::io("start container in the background", error))? {
        Some(report) => report.map(|_| ()).map_err(Error::Inside),
        None => Err(Error::refused(
            "start container in the background",
            "its supervisor ended without a report",
            format!("`cleat logs {}` may say more", run.record.container_id),
        )),
    }
}

/// Runs the container to its end.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<ExitCode, Error> {
    let mut report = handshake::inherit(args.report, "reports", File::options().write(true))?;
    let written = handshake::inherit(args.output, "output", File::options().read(true))?;
    let mut is_told = false;
    let outcome = supervise(&args.container, environment, written, || {
        is_told = true;
        let _ = handshake::send(&mut report, &Report::Ok(PathBuf::new()));
    });
    match outcome {
        Err(error) if !is_told => {
            // Where the pipe is broken, there still is the exit code.
            let _ = handshake::send(&mut report, &Report::Err((&error).into()));
            Ok(ExitCode::from(error.exit_code()))
        }
        outcome => outcome.map(ExitCode::from),
    }
}

fn supervise(
    container_id: &str,
    environment: &Environment,
    written: File,
    started: impl FnOnce(),
) -> Result<u8, Error> {
    // No Ctrl-C and no SIGHUP of a terminal reaches a session of its own.
    setsid().map_err(|errno| Error::io("leave the terminal", errno))?;
    let mut run = runs::find(container_id)?;
    let guard = run.lock()?;
    let output =
        Output::keep(written, run.log().writer()).map_err(|error| Error::io("keep the log", error))?;
    let ran = run_in(&mut run, environment, started);
    if let Err(error) = &ran {
        crate::output::tell(&format!("cleat: {error}\n"));
    }
    // The log is complete before others can see that the container has ended.
    output.finish();
    let code = ran.as_ref().map_or_else(Error::exit_code, |code| *code);
    if run.record.vanishes {
        run.forget()?;
    } else {
        run.record.exit_code = Some(code);
        (run.record.supervisor, run.record.process) = (None, None);
        if let Ok(Some(networks)) = run.networks() {
            run.record.networks = networks.joined.into_iter().map(|joined| joined.network).collect();
        }
        run.write()?;
    }
    drop(guard);
    ran
}

fn run_in(run: &mut Run, environment: &Environment, started: impl FnOnce()) -> Result<u8, Error> {
    let (spec, name) = (run.record.spec()?, run.record.name.clone());
    let container =
        Container::new(&spec, name.as_deref(), environment, run.container_id()?, run.networks()?)?;
    run.record.networks = container.networks();
    run.record.exit_code = None;
    container.run(run, started)
}
