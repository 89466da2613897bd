//! `cleat node ls`: the nodes of an overlay network, from its engine.

use super::known::{View, choose, nodes};
use crate::environment::Environment;
use crate::error::Error;
use crate::output::{Form, Table};

/// The arguments of `cleat node ls`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the network [default: the only overlay network of this host]
    network: Option<String>,
    #[command(flatten)]
    form: Form,
}

/// Lists them by name; this host's own is marked.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    const DOING: &str = "list nodes";
    let network = choose(environment, args.network.as_deref(), DOING)?;
    let all = nodes(&network, DOING)?;
    args.form.show(|| all.iter().map(|view| view.object(&network)).collect::<Vec<_>>(), || table(&all))
}

fn table(all: &[View]) -> Table {
    let row = |view: &View| {
        let mark = if view.is_own { " *" } else { "" };
        [
            format!("{}{mark}", view.node.name).into(),
            view.addresses().into(),
            view.node.blocks.join(", ").into(),
            view.cell(),
            view.node.version.as_str().into(),
            view.seen().into(),
        ]
    };
    Table::of(["NAME", "ADDRESS", "BLOCK", "STATE", "VERSION", "SEEN"], all.iter().map(row))
}
