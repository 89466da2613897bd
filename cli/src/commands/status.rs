//! `cleat status`: asks whether a network could take an attachment.

use std::path::PathBuf;

use cni::{Command, NetworkList};

use crate::agent;
use crate::environment::Environment;
use crate::error::Error;
use crate::network::overlay;
use crate::output;
use crate::runtime::{CacheFolder, Runtime};

/// The arguments of `cleat status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the network
    network: String,
    /// Ignored; accepted because cnitool has it
    #[arg(value_name = "NETNS")]
    _netns: Option<PathBuf>,
    #[command(flatten)]
    cache: CacheFolder,
}

/// Calls every plugin of the network with STATUS; without output all are ready. In lists before 1.1.0 a plugin need not know
/// STATUS. Where none does, a message says so, which is no error, as for `cnitool`.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let runtime = Runtime::new(environment, &args.cache);
    let list = runtime.find(&args.network)?;
    let since = Command::Status.since();
    let chain = runtime.chain(&list);
    let doing = format!("ask the state of network {}", args.network);
    if list.version >= since {
        let outcome = chain.status().map_err(Error::contract(doing));
        return outcome.inspect_err(|_| tell_agent(&list));
    }
    let answers = chain.status_each(|_| true);
    if answers.is_empty() {
        output::tell(&format!(
            "cleat: network {} is of version {}: STATUS came with {since}\n",
            args.network, list.version
        ));
    }
    let outcome = answers.into_iter().try_for_each(|(_, answer)| answer).map_err(Error::contract(doing));
    outcome.inspect_err(|_| tell_agent(&list))
}

/// What the plugins lack of an overlay network its agent can explain.
fn tell_agent(list: &NetworkList) {
    for problem in overlay(list).map(|overlay| agent::problems(&overlay)).unwrap_or_default() {
        output::tell(&format!("cleat: network {}: {}\n", list.name, problem.told()));
    }
}
