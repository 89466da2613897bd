//! The NRI plugin: gives containers of pods the variables and the hosts file that link-env has for them, as CNI cannot.
//!
//! A runtime (containerd 1.7 or later, CRI-O 1.26 or later) asks it before it creates a container. It answers with the
//! variables of the pod's links and with a mount of the hosts file that link-env keeps; the pod's ID is the container
//! ID that the runtime gave to CNI. It never fails a container: what it cannot do it leaves out, and says so in the log.
//!
//! - `ttrpc` frames messages, `messages` are those of NRI that matter here, `request` reads those about containers (by
//!   `fields`);
//! - `session` is the conversation with the runtime, from the connection to its end;
//! - `adjust` decides for one container, on one of the `workers`, within a time limit; `hosts_owner` says whose `/etc/hosts`
//!   it has, `hosts_file` reads kubelet's;
//! - `synchronize` notes the containers that were created without the plugin;
//! - `single_instance` keeps a second process of it from serving.
//!
//! What a pod chooses (names, variables, files) is limited everywhere, and printable in the `log`.

mod adjust;
mod error;
mod fields;
mod hosts_file;
mod hosts_owner;
mod log;
mod messages;
mod request;
mod session;
mod single_instance;
mod synchronize;
mod ttrpc;
mod workers;

use std::io::{Read, Write};
use std::panic;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Parser;

pub use error::Error;

use log::log;
use session::Plugin;
use workers::Workers;

/// How long to wait before the next attempt to reach a runtime.
const PAUSE: Duration = Duration::from_secs(1);
/// The exit code where another process serves (`EX_TEMPFAIL` of sysexits.h).
const SECOND: u8 = 75;

/// The command line; a runtime that starts the plugin uses the environment instead.
#[derive(Debug, Parser)]
#[command(
    name = "cleat-nri",
    version,
    about = "Links' environment and hosts file for containers of pods, by NRI"
)]
struct Arguments {
    /// The plugin's name; a runtime that starts it says which
    #[arg(long, env = "NRI_PLUGIN_NAME", default_value = "cleat-nri")]
    name: String,
    /// Its place among other plugins, two digits
    #[arg(long, env = "NRI_PLUGIN_IDX", default_value = "10")]
    index: String,
    /// The runtime's socket
    #[arg(long, default_value = "/var/run/nri/nri.sock")]
    socket: PathBuf,
    /// An open connection to the runtime that starts the plugin: the number of its file descriptor
    #[arg(long, env = "NRI_PLUGIN_SOCKET", hide = true)]
    descriptor: Option<i32>,
    /// link-env's "stateDir"
    #[arg(long, default_value = registry::DEFAULT_STATE_DIR)]
    state_dir: PathBuf,
    /// Serve while no other one does, such as one that the runtime starts, instead of refusing to be the second
    #[arg(long)]
    standby: bool,
}

/// The program. One that the runtime started ends with its connection; any other waits for the runtime to come back.
#[must_use]
pub fn run() -> ExitCode {
    // A message may quote what a pod chose: the log makes it printable.
    panic::set_hook(Box::new(|defect| log(&format!("a defect: {defect}"))));
    let code = match serve(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&error.to_string());
            if matches!(error, Error::Second { .. }) { ExitCode::from(SECOND) } else { ExitCode::FAILURE }
        }
    };
    log::finish();
    code
}

fn serve(arguments: Arguments) -> Result<(), Error> {
    let Arguments { name, index, socket, descriptor, state_dir, standby } = arguments;
    let plugin = Plugin { name, index, state_dir, workers: Workers::default() };
    let is_standby = standby && descriptor.is_none();
    let _agent = if is_standby { None } else { single_instance::take_soon(&plugin.state_dir)? };
    if let Some(descriptor) = descriptor {
        return session::inherit(&plugin, descriptor);
    }
    let mut last = String::new();
    loop {
        // On standby, given back after each attempt: without a runtime, the process that a runtime starts may have it.
        let agent = if is_standby { single_instance::take(&plugin.state_dir) } else { Ok(None) };
        log_change(&mut last, agent.and_then(|_agent| session::dial(&plugin, &socket)));
        thread::sleep(PAUSE);
    }
}

/// Logs an error once as long as it stays the same, such as that of a runtime that is not running.
fn log_change(last: &mut String, outcome: Result<(), Error>) {
    let text = outcome.map_or_else(|error| error.to_string(), |()| String::new());
    if !text.is_empty() && text != *last {
        log(&text);
    }
    *last = text;
}

/// Serves a runtime over any pair of streams, until the runtime ends; `state_dir` is link-env's.
///
/// # Errors
/// A runtime that refuses the plugin or does not speak the protocol, and what reading and writing say.
pub fn converse(state_dir: &Path, from: impl Read, to: impl Write) -> Result<(), Error> {
    let (name, index) = ("cleat-nri".to_owned(), "10".to_owned());
    let plugin = Plugin { name, index, state_dir: state_dir.to_owned(), workers: Workers::default() };
    session::converse(&plugin, from, to)
}
