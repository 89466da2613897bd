//! The NRI plugin: gives containers of pods what link-env has for them, which CNI alone cannot.
//!
//! A runtime (containerd 1.7 or later, CRI-O 1.26 or later) asks it before it creates a container. It answers with the
//! variables of the pod's links and with a mount of the hosts file that link-env keeps; the pod's ID is the container
//! ID that the runtime gave to CNI. It is never in the way: what it cannot do it leaves out and tells in the log.
//!
//! - `wire` frames messages, `messages` are those of NRI that matter here, `request` what they ask (by `fields`);
//! - `session` is the conversation with the runtime, until either ends;
//! - `adjust` decides for one container, on one of the `workers`, within a time limit; `hosts_file` reads kubelet's;
//! - `away` finds the containers that were made without it, and `only` sees to it that there is one of it.
//!
//! What a pod chooses (names, variables, files) has a bound everywhere, and comes to the `log` as text.

mod adjust;
mod away;
mod connect;
mod error;
mod fields;
mod hosts_file;
mod log;
mod messages;
mod only;
mod request;
mod session;
mod wire;
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
use only::Only;
use session::Plugin;
use workers::Workers;

/// How long to wait for a runtime that is not there, or not there any more.
const PAUSE: Duration = Duration::from_secs(1);
/// The exit code of a second one (`EX_TEMPFAIL` of sysexits.h).
const SECOND: u8 = 75;

/// What the runtime tells a plugin that it starts, and an operator one that runs by itself.
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
    let code = serve(Arguments::parse());
    log::finish();
    code
}

fn serve(arguments: Arguments) -> ExitCode {
    let Arguments { name, index, socket, descriptor, state_dir, standby } = arguments;
    // Whatever a message quotes stays text.
    panic::set_hook(Box::new(|defect| log(&format!("a defect: {defect}"))));
    let only = Only::of(&state_dir);
    let plugin = Plugin { name, index, state_dir, workers: Workers::default() };
    if standby && descriptor.is_none() {
        let mut told = String::new();
        loop {
            match only.take() {
                // Without a runtime to serve, it is left to the one that the runtime starts.
                Ok(_agent) => tell_once(&mut told, session::dial(&plugin, &socket)),
                Err(other) => tell_once(&mut told, Err(other)),
            }
            thread::sleep(PAUSE);
        }
    }
    let _agent = match only.take_soon() {
        Ok(agent) => agent,
        Err(other) => {
            log(&other.to_string());
            return ExitCode::from(SECOND);
        }
    };
    if let Some(descriptor) = descriptor {
        let outcome = connect::inherited(descriptor).and_then(|stream| session::run(&plugin, stream));
        return match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                log(&error.to_string());
                ExitCode::FAILURE
            }
        };
    }
    let mut told = String::new();
    loop {
        tell_once(&mut told, session::dial(&plugin, &socket));
        thread::sleep(PAUSE);
    }
}

/// What does not change, such as a runtime that is away for long, is told once.
fn tell_once(told: &mut String, outcome: Result<(), Error>) {
    let text = outcome.map_or_else(|error| error.to_string(), |()| String::new());
    if !text.is_empty() && text != *told {
        log(&text);
    }
    *told = text;
}

/// Serves a runtime over whatever carries its bytes, until it says no more; `state_dir` is link-env's.
///
/// # Errors
/// A runtime that refuses the plugin or does not speak the protocol, and what reading and writing say.
pub fn converse(state_dir: &Path, from: impl Read, to: impl Write) -> Result<(), Error> {
    let (name, index) = ("cleat-nri".to_owned(), "10".to_owned());
    let plugin = Plugin { name, index, state_dir: state_dir.to_owned(), workers: Workers::default() };
    session::converse(&plugin, from, to)
}
