//! `cleat network leave`: takes this host off an overlay network, which goes on on its other nodes.

use cni::NetworkName;

use super::rm;
use crate::agent::{self, Conf, Program};
use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::Inventory;
use crate::network::{Folder, overlay};
use crate::output;
use crate::runtime::{CacheFolder, Runtime};

/// The arguments of `cleat network leave`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the network
    name: String,
    /// Do not ask the engine: other nodes keep this one until `cleat node rm`
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    cache: CacheFolder,
}

/// Has the agent's program remove all of the network that is on this node, then removes both files.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let doing = format!("leave network {}", args.name);
    let name = NetworkName::new(args.name.as_str()).map_err(Error::contract(doing.as_str()))?;
    let runtime = Runtime::new(environment, &args.cache);
    let folder = Folder::lock(&environment.folder)?;
    // No container of `cleat` can be attached meanwhile.
    let _lock = runtime.lock_exclusive()?;
    let inventory = Inventory::read(&runtime)?;
    match inventory.network(name.as_str()) {
        Some(list) if overlay(list).is_none() => {
            let reason = "it is a network of this host alone";
            Err(Error::refused(doing, reason, format!("`cleat network rm {name}` removes it")))
        }
        Some(list) => {
            rm::remove_after((&runtime, &folder, &inventory), list, &doing, || end(&name, args.force, &doing))
        }
        // What another call did not come to, or somebody else has removed.
        None if agent::file(&name).exists() => {
            end(&name, args.force, &doing)?;
            output::text(&format!("{name}\n"))
        }
        None => {
            let reason = "this host is on no such network";
            Err(Error::refused(doing, reason, "`cleat network ls` shows those that it is on"))
        }
    }
}

fn end(name: &NetworkName, force: bool, doing: &str) -> Result<(), Error> {
    match Program::find(doing)?.remove(name, force) {
        // Without its file the agent knows nothing of the network, and the rest of it shall not be kept for that.
        Err(error) if force && !agent::file(name).exists() => {
            output::tell(&format!("cleat: {error}\n"));
            Ok(())
        }
        outcome => outcome.and_then(|()| Conf::remove(name)),
    }
}
