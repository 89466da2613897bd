//! `cleat graph`: networks, containers, published ports and links as a picture.

use std::collections::HashMap;

use cni::NetworkList;

use crate::agent::{self, Answer, Peer};
use crate::environment::Environment;
use crate::error::Error;
use crate::graph::{Format, Picture};
use crate::inventory::Inventory;
use crate::network::overlay;
use crate::output;
use crate::runtime::{CacheFolder, Runtime};

/// The arguments of `cleat graph`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these networks
    networks: Vec<String>,
    /// How to write it
    #[arg(long, value_enum, default_value_t = Format::Svg)]
    format: Format,
    #[command(flatten)]
    cache: CacheFolder,
}

/// Prints the picture.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let runtime = Runtime::new(environment, &args.cache);
    let inventory = Inventory::read(&runtime)?;
    for network in &args.networks {
        // A network without a configuration, but with attachments, counts as well.
        if inventory.members_of(network).next().is_none() {
            runtime.find(network)?;
        }
    }
    output::text(&Picture::of(&inventory, &args.networks, &peers(&inventory)).draw(args.format))
}

/// The other nodes of overlay networks, as far as this host's agent knows them.
fn peers(inventory: &Inventory) -> HashMap<String, Vec<Peer>> {
    let peers = |list: &NetworkList| match agent::health(&overlay(list)?) {
        Ok(Answer::Health(health)) => Some((list.name.to_string(), health.peers)),
        _ => None,
    };
    inventory.networks.iter().filter_map(peers).collect()
}
