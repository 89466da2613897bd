//! `cleat node rm`: takes a node that has gone out of an overlay network, so that others may have its blocks.

use super::known::choose;
use crate::agent::{Own, Program};
use crate::environment::Environment;
use crate::error::Error;
use crate::output;

/// The arguments of `cleat node rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the node
    node: String,
    /// Name of the network [default: the only overlay network of this host]
    network: Option<String>,
    /// Also one that is alive; it comes back by itself as long as its agent runs
    #[arg(short, long)]
    force: bool,
}

/// Removes its records from the engine, and prints its name. Its containers, if it still runs, are not reached any more.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let doing = format!("remove node {}", args.node);
    let network = choose(environment, args.network.as_deref(), &doing)?;
    let program = Program::find(&doing)?;
    let own = Own::of(&network);
    if program.nodes(&network)?.nodes.iter().any(|node| node.name == args.node && own.is(node)) {
        let cure = format!("`cleat network leave {network}` takes this host off");
        return Err(Error::refused(doing, "it is this host", cure));
    }
    program.remove_node(&network, &args.node, args.force)?;
    output::text(&format!("{}\n", args.node))
}
