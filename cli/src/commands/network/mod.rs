//! `cleat network`: its verbs, one a file.

mod connect;
mod container;
mod create;
mod disconnect;
mod inspect;
mod ls;
mod prune;
mod rm;

use clap::Subcommand;

use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::Inventory;
use crate::network::Described;

/// A verb about networks with its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Write the configuration of a new network, and print its ID
    Create(create::Args),
    /// List the networks
    #[command(visible_alias = "list")]
    Ls(ls::Args),
    /// Describe networks and who is on them
    Inspect(inspect::Args),
    /// Remove networks that nobody is on
    #[command(visible_alias = "remove")]
    Rm(rm::Args),
    /// Remove every network that was created here and that nobody is on
    Prune(prune::Args),
    /// Attach a running container to a further network
    Connect(connect::Args),
    /// Take a running container off a network
    Disconnect(disconnect::Args),
}

impl Verb {
    /// Does what the verb says.
    pub(crate) fn execute(&self, environment: &Environment) -> Result<(), Error> {
        match self {
            Self::Create(args) => create::execute(args, environment),
            Self::Ls(args) => ls::execute(args, environment),
            Self::Inspect(args) => inspect::execute(args, environment),
            Self::Rm(args) => rm::execute(args, environment),
            Self::Prune(args) => prune::execute(args, environment),
            Self::Connect(args) => connect::execute(args, environment),
            Self::Disconnect(args) => disconnect::execute(args, environment),
        }
    }
}

/// Networks that are there without a configuration, with the driver that Docker names: the host's own, and none at all.
const BUILT_IN: [(&str, &str); 2] = [("host", "host"), ("none", "null")];

/// The network of a name, or of the beginning of an ID.
fn find<'a>(inventory: &'a Inventory, text: &str) -> Result<&'a cni::NetworkList, Error> {
    if let Some(list) = inventory.network(text) {
        return Ok(list);
    }
    let by_id = |list: &&cni::NetworkList| text.len() >= 4 && Described::of(list).id.starts_with(text);
    let mut found = inventory.networks.iter().filter(by_id);
    match (found.next(), found.next()) {
        (Some(list), None) => Ok(list),
        _ => Err(missing(inventory, text)),
    }
}

fn missing(inventory: &Inventory, text: &str) -> Error {
    let names: Vec<&str> = inventory.networks.iter().map(|list| list.name.as_str()).collect();
    let cure = match crate::suggestion::nearest(text, names.iter().copied()) {
        Some(nearest) => format!("did you mean {nearest}?"),
        None if names.is_empty() => format!("there is none: `cleat network create {text}` makes it"),
        None => format!("there are {}", names.join(", ")),
    };
    Error::refused(format!("find network {text}"), "no such network", cure)
}

/// Who is on a network, for messages: names in their order, each once.
fn names_on(inventory: &Inventory, network: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for attached in inventory.members_of(network).filter(|attached| !attached.is_gone()) {
        let name = attached.called();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
