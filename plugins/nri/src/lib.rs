//! The NRI plugin: gives containers of pods what link-env has for them, which CNI alone cannot.
//!
//! A runtime (containerd 1.7 or later, CRI-O 1.26 or later) asks it before it creates a container. It answers with the
//! variables of the pod's links and with a mount of the hosts file that link-env keeps; the pod's ID is the container
//! ID that the runtime gave to CNI. It is never in the way: what it cannot do it leaves out and tells on standard error.
//!
//! - `wire` frames messages, `messages` are those of NRI that matter here;
//! - `session` is the conversation with the runtime, until either ends;
//! - `adjust` decides for one container, within a time limit; `hosts_file` reads kubelet's.

mod adjust;
mod connect;
mod error;
mod hosts_file;
mod messages;
mod session;
mod wire;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Parser;

pub use error::Error;

use session::Plugin;

/// How long to wait for a runtime that is not there, or not there any more.
const PAUSE: Duration = Duration::from_secs(1);

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
}

/// The program. One that the runtime started ends with its connection; any other waits for the runtime to come back.
#[must_use]
pub fn run() -> ExitCode {
    let Arguments { name, index, socket, descriptor, state_dir } = Arguments::parse();
    let plugin = Plugin { name, index, state_dir };
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
        let outcome = connect::to(&socket).and_then(|stream| {
            told.clear();
            session::run(&plugin, stream)
        });
        // A runtime that is away for long is told of once.
        if let Err(error) = outcome
            && told != error.to_string()
        {
            told = error.to_string();
            log(&told);
        }
        thread::sleep(PAUSE);
    }
}

/// Serves a runtime over whatever carries its bytes, until it says no more; `state_dir` is link-env's.
///
/// # Errors
/// A runtime that refuses the plugin or does not speak the protocol, and what reading and writing say.
pub fn converse(state_dir: &Path, from: impl Read, to: impl Write) -> Result<(), Error> {
    let plugin = Plugin { name: "cleat-nri".into(), index: "10".into(), state_dir: state_dir.to_owned() };
    session::converse(&plugin, from, to)
}

/// Tells on standard error, which the runtime's or the unit's log has.
fn log(text: &str) {
    // Where nobody reads it, there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "cleat-nri: {text}");
}
