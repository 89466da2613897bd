//! `cleat node inspect`: all that is known of a node.

use super::known::{View, choose, nodes};
use crate::environment::Environment;
use crate::error::Error;
use crate::output::{Form, Table};
use crate::suggestion::nearest;

/// The arguments of `cleat node inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the node
    node: String,
    /// Name of the network [default: the only overlay network of this host]
    network: Option<String>,
    #[command(flatten)]
    form: Form,
}

/// Describes it.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let doing = format!("describe node {}", args.node);
    let network = choose(environment, args.network.as_deref(), &doing)?;
    let all = nodes(&network, &doing)?;
    let Some(view) = all.iter().find(|view| view.node.name == args.node) else {
        let names: Vec<&str> = all.iter().map(|view| view.node.name.as_str()).collect();
        let cure = nearest(&args.node, names.iter().copied()).map_or_else(
            || format!("`cleat node ls {network}` lists them"),
            |name| format!("did you mean {name}?"),
        );
        return Err(Error::refused(doing, format!("network {network} has no such node"), cure));
    };
    args.form.show(|| [view.object(&network)], || table(view))
}

fn table(view: &View) -> Table {
    let node = &view.node;
    let why = view.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let mut pairs = vec![
        ("Name", node.name.clone()),
        ("This host", if view.is_own { "yes" } else { "no" }.to_owned()),
        ("Address", view.addresses()),
        ("Block", node.blocks.join(", ")),
        ("State", format!("{}{why}", view.state)),
        ("Seen", view.seen()),
        ("MTU", node.mtu.to_string()),
    ];
    pairs.extend(node.mac.clone().map(|mac| ("MAC", mac)));
    pairs.extend([
        ("Machine", node.machine.clone()),
        ("Version", node.version.clone()),
        ("Incarnation", node.incarnation.to_string()),
    ]);
    Table::of_pairs(pairs)
}
