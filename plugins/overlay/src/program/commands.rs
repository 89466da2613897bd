//! The short commands: each asks the engine, or takes a network off this node, and ends.

use std::fmt::Display;
use std::future::Future;
use std::io::{self, Read, Write};
use std::time::Duration;

use cni::NetworkName;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::blocks;
use crate::conf::{self, Conf};
use crate::engine::Engine;
use crate::engine::commands::{self, Wish};
use crate::kernel::Kernel;
use crate::program::conf_file;
use crate::program::error::Error;
use crate::program::log::{Priority, log};
use crate::record::Network;

/// After how long a command says what it waits for.
const SILENCE: Duration = Duration::from_secs(1);
/// More than any object on standard input needs, in bytes.
const LONGEST: u64 = 64 << 10;
/// The keys of what `create` reads, besides `conf`.
const WISHES: [&str; 6] = ["prefixes", "blockLengths", "backend", "vni", "port", "mtu"];

/// What one command is about.
pub(crate) struct Job {
    pub(crate) network: NetworkName,
    pub(crate) conf: Conf,
    pub(crate) runtime: Runtime,
    /// For errors: `create network shop`.
    pub(crate) what: String,
}

impl Job {
    /// A command about a network.
    pub(crate) fn new(verb: &str, network: &NetworkName, conf: Conf) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Error::io("start", "the runtime"))?;
        Ok(Self { what: format!("{verb} network {network}"), network: network.clone(), conf, runtime })
    }

    /// What was to be done failed.
    pub(crate) fn failed(&self, error: impl Display) -> Error {
        Error::Command { what: self.what.clone(), reason: error.to_string() }
    }

    /// The network's engine.
    pub(crate) fn engine(&self) -> Result<Engine, Error> {
        self.runtime
            .block_on(async { Engine::for_command(&self.conf.engine, &self.network) })
            .map_err(|error| self.failed(error))
    }

    /// Waits for the engine, and says so when that takes long.
    pub(crate) fn wait<T, E: Display>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, Error> {
        let outcome = self.runtime.block_on(async {
            let mut call = std::pin::pin!(call);
            if let Ok(outcome) = timeout(SILENCE, &mut call).await {
                return outcome;
            }
            let conf::Engine::Etcd(etcd) = &self.conf.engine;
            let endpoints = etcd.endpoints.join(", ");
            log(Priority::Info, format_args!("{}: waiting for etcd at {endpoints}", self.what));
            call.await
        });
        outcome.map_err(|error| self.failed(error))
    }

    /// Refuses what would concern another network of the same name.
    fn expect_same(&self, found: Option<&Network>) -> Result<(), Error> {
        match (&self.conf.id, found) {
            (Some(own), Some(Network { id, .. })) if own != id => Err(self.failed(format_args!(
                "etcd has another network of this name, with the ID {id} and not {own}; \
                 `cleat network join --force` takes this node into that one"
            ))),
            _ => Ok(()),
        }
    }
}

/// Creates a network in the engine, and prints it.
pub(crate) fn create(network: &NetworkName) -> Result<(), Error> {
    let (conf, wish) = wanted(&input()?)?;
    let job = Job::new("create", network, conf)?;
    // A network that cannot be is told before one that cannot be here.
    let described = wish.clone().network().map_err(|error| job.failed(error))?;
    for (prefix, length) in described.prefixes.iter().zip(&described.block_lengths) {
        if blocks::count(*prefix, *length) < 2 {
            return Err(job.failed(format_args!(
                "{prefix} has one block of /{length}, and so room for one node; take longer blocks (blockLengths), or a \
                 shorter prefix"
            )));
        }
    }
    let meets = job.runtime.block_on(async { Kernel::open()?.conflicts(&wish.prefixes, &[], "").await });
    let meets = meets.map_err(|error| job.failed(error))?;
    if !meets.is_empty() {
        return Err(job.failed(format_args!(
            "it would meet what this host has a route to: {}; take another prefix",
            meets.join(", ")
        )));
    }
    let engine = job.engine()?;
    print(&job.wait(commands::create(&engine, wish))?)
}

/// Prints what the engine says of a network.
pub(crate) fn show(network: &NetworkName, is_input: bool) -> Result<(), Error> {
    let job = Job::new("show", network, conf_of(network, is_input)?)?;
    let engine = job.engine()?;
    print(&job.wait(commands::show(&engine))?)
}

/// Prints a network's nodes.
pub(crate) fn nodes(network: &NetworkName) -> Result<(), Error> {
    let job = Job::new("list nodes of", network, conf_file::read(network)?)?;
    let engine = job.engine()?;
    let overview = job.wait(commands::nodes(&engine))?;
    job.expect_same(Some(&overview.network))?;
    print(&overview)
}

/// Takes a node out of the engine, and prints what it had.
pub(crate) fn remove_node(network: &NetworkName, node: &str, force: bool) -> Result<(), Error> {
    let mut job = Job::new("", network, conf_file::read(network)?)?;
    job.what = format!("remove node {node} from network {network}");
    let engine = job.engine()?;
    job.expect_same(job.wait(engine.network())?.as_ref())?;
    print(&job.wait(commands::remove_node(&engine, node, force))?)
}

/// Deletes a network from the engine.
pub(crate) fn delete(network: &NetworkName, is_input: bool, force: bool) -> Result<(), Error> {
    let job = Job::new("delete", network, conf_of(network, is_input)?)?;
    let engine = job.engine()?;
    // What cannot be read can be deleted by force.
    if !force {
        job.expect_same(job.wait(engine.network())?.as_ref())?;
    }
    job.wait(commands::delete(&engine, force))
}

fn conf_of(network: &NetworkName, is_input: bool) -> Result<Conf, Error> {
    if is_input {
        conf_file::parse(&input()?).map_err(|fault| Error::Input(fault.to_string()))
    } else {
        conf_file::read(network)
    }
}

fn input() -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = io::stdin().take(LONGEST + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::Input(lock::describe(&error)))?;
    if bytes.len() as u64 > LONGEST {
        Err(Error::Input(format!("it is longer than {LONGEST} bytes")))
    } else {
        Ok(bytes)
    }
}

/// What `create` reads.
fn wanted(text: &[u8]) -> Result<(Conf, Wish), Error> {
    let invalid = |error: serde_json::Error| {
        Error::Input(format!("it is not the JSON object that is expected: {error}"))
    };
    let mut object: Map<String, Value> = serde_json::from_slice(text).map_err(invalid)?;
    let conf = object.remove("conf").ok_or_else(|| Error::Input("it has no \"conf\"".to_owned()))?;
    let conf: Conf = serde_json::from_value(conf).map_err(|error| Error::Input(format!("conf: {error}")))?;
    conf_file::expect_valid(&conf).map_err(|fault| Error::Input(format!("conf: {fault}")))?;
    // A slip must not make a network that is another than was meant.
    if let Some(key) = object.keys().find(|key| !WISHES.contains(&key.as_str())) {
        return Err(Error::Input(format!("there is no key {key:?}; there are conf, {}", WISHES.join(", "))));
    }
    Ok((conf, serde_json::from_value(object.into()).map_err(invalid)?))
}

/// Prints a result, on one line.
fn print(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string(value).map_err(io::Error::from);
    text.and_then(|text| writeln!(io::stdout(), "{text}")).map_err(Error::io("write to", "standard output"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_create_reads_has_no_unknown_keys() {
        let conf = r#""conf": {"engine": {"type": "etcd", "endpoints": ["http://10.0.0.1:2379"]}}"#;
        let good = format!(r#"{{{conf}, "prefixes": ["10.201.0.0/16"], "blockLengths": [25]}}"#);
        let (read, wish) = wanted(good.as_bytes()).unwrap();
        assert_eq!((read.node, wish.block_lengths), (None, Some(vec![25])));
        for (text, says) in [
            ("{".to_owned(), "JSON"),
            ("[]".to_owned(), "JSON"),
            ("{}".to_owned(), "no \"conf\""),
            (format!("{{{conf}}}"), "prefixes"),
            (format!(r#"{{{conf}, "prefixes": [], "colour": 1}}"#), "no key \"colour\""),
            (format!(r#"{{{conf}, "prefixes": [], "backend": "geneve"}}"#), "geneve"),
            (r#"{"conf": {"engine": {"type": "etcd", "endpoints": []}}}"#.to_owned(), "conf: endpoints"),
            (r#"{"conf": {"engin": {}}}"#.to_owned(), "conf: unknown field `engin`"),
        ] {
            let error = wanted(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("standard input: ") && error.contains(says), "{text}: {error}");
        }
    }
}
