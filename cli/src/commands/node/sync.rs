//! `cleat node sync`: has this host's agent look at everything at once.

use super::known::choose;
use crate::agent::{self, Answer, START};
use crate::environment::Environment;
use crate::error::Error;
use crate::output;

/// The arguments of `cleat node sync`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the network [default: the only overlay network of this host]
    network: Option<String>,
    /// Also remove nodes whose removal is held back, as too many went at once
    #[arg(short, long)]
    force: bool,
}

/// Asks the agent, and prints the network's name. Says which nodes are still held back.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    const DOING: &str = "synchronise";
    let network = choose(environment, args.network.as_deref(), DOING)?;
    if !agent::sync(&network, args.force)? {
        return Err(Error::refused(
            format!("{DOING} network {network}"),
            "the agent cleat-overlay does not run",
            START,
        ));
    }
    if let Answer::Health(health) = agent::health(&network)?
        && !health.held.is_empty()
        && !args.force
    {
        output::tell(&format!(
            "cleat: network {network}: too many nodes went at once, and are kept: {} (--force removes them)\n",
            health.held.join(", ")
        ));
    }
    output::text(&format!("{network}\n"))
}
