//! Taking a network off this node.
//!
//! ```text
//! NET.json aside ─▶ the agent's part ends ─▶ records out of the engine ─▶ kernel, packet filter, run file, state ─▶ NET.json away
//!        ▲                                            │ the engine fails
//!        └────────────────────────────────────────────┘
//! ```
//!
//! Ended anywhere, it goes on where it was when it is called again.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use cni::NetworkName;
use ipnetwork::IpNetwork;

use crate::agent;
use crate::conf::{self, Conf};
use crate::firewall;
use crate::kernel::Kernel;
use crate::program::commands::Job;
use crate::program::conf_file;
use crate::program::error::Error;
use crate::program::health::SOCKET;
use crate::program::identity;
use crate::record::Claim;

/// What is appended to a file's name while its network is being removed; the agent passes over it.
const ASIDE: &str = ".removing";
/// How long the agent may take to end its part.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// Takes the network off this node. With `force` the engine is not asked.
pub(crate) fn remove(network: &NetworkName, force: bool) -> Result<(), Error> {
    let path = conf::path(network);
    let aside = appended(&path, ASIDE);
    let conf = match conf_file::read_file(&path)? {
        Some(conf) => conf,
        None => conf_file::read_file(&aside)?.ok_or_else(|| Error::NoConf(network.clone()))?,
    };
    let me = Claim { node: identity::node_name(&conf)?, machine: identity::machine_id()? };
    let job = Job::new("remove", network, conf)?;
    move_away(&path, &aside)?;
    let left = await_agent(&job.network).and_then(|()| if force { Ok(()) } else { leave(&job, &me) });
    if let Err(error) = left {
        // The agent's part begins again, and nothing is lost.
        fs::rename(&aside, &path).map_err(Error::io("rename", &aside))?;
        return Err(error);
    }
    let (device, prefixes) = known(&job);
    if let Some(device) = device {
        let key = agent::key(&job.network).map_err(Error::Plain)?;
        let remove = async { Kernel::open()?.remove(&device, &prefixes, key.as_ref()).await };
        let removed = job.runtime.block_on(remove);
        removed.map_err(|error| job.failed(error))?;
    }
    firewall::remove(&job.network).map_err(|error| job.failed(error))?;
    let run_file = overlay::path(&job.network);
    gone(fs::remove_file(&run_file)).map_err(Error::io("remove", run_file))?;
    let state = agent::folder(&job.network);
    gone(fs::remove_dir_all(&state)).map_err(Error::io("remove", state))?;
    gone(fs::remove_file(&aside)).map_err(Error::io("remove", aside))
}

fn appended(path: &Path, suffix: impl AsRef<OsStr>) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn move_away(path: &Path, aside: &Path) -> Result<(), Error> {
    gone(fs::rename(path, aside)).map_err(Error::io("rename", path))
}

/// What is not there has gone.
fn gone(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn leave(job: &Job, me: &Claim) -> Result<(), Error> {
    let engine = job.engine()?;
    job.wait(engine.leave(&me.node, me)).map_err(|error| {
        let cure = format!(
            "{error}; with --force the network is taken off this node alone, and `cleat node rm {}` on another one takes its records out",
            me.node
        );
        Error::Plain(cure)
    })
}

/// The device and the prefixes, from what this node kept. A network that never was on it has none.
fn known(job: &Job) -> (Option<String>, Vec<IpNetwork>) {
    let by_id = |conf: &Conf| conf.id.as_ref().map(|id| agent::device_name(conf, id)).or(conf.device.clone());
    if let Some(known) = agent::known(&job.network) {
        return (Some(known.0), known.1);
    }
    match overlay::read(&job.network) {
        Ok(Some(node)) => (Some(node.device), node.prefixes),
        _ => (by_id(&job.conf), Vec::new()),
    }
}

/// Waits until no agent has the network: it would make again what is removed.
fn await_agent(network: &NetworkName) -> Result<(), Error> {
    let begin = Instant::now();
    while is_there(network) {
        if begin.elapsed() > PATIENCE {
            return Err(Error::StillRunning(network.clone()));
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Whether an agent answers that it has the network, or does not answer at all though it is there.
fn is_there(network: &NetworkName) -> bool {
    let ask = || {
        let mut stream = UnixStream::connect(SOCKET)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        write!(stream, "GET /networks/{network} HTTP/1.0\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok::<_, io::Error>(answer)
    };
    match ask() {
        Ok(answer) => !answer.starts_with(b"HTTP/1.0 404") && !answer.starts_with(b"HTTP/1.1 404"),
        // Nobody listens.
        Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused),
    }
}
