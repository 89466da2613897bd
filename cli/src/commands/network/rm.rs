//! `cleat network rm`: removes the configurations of networks without containers.

use cni::NetworkList;

use super::create::upper::remove_parent;
use super::known::{find, names_on};
use super::part;
use crate::commands::gc;
use crate::environment::Environment;
use crate::error::Error;
use crate::inventory::{Inventory, Kept, Kernel};
use crate::network::{Folder, forget, overlay};
use crate::output;
use crate::runtime::{CacheFolder, Runtime};

/// The arguments of `cleat network rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names of the networks, or the beginnings of their IDs
    #[arg(required = true)]
    networks: Vec<String>,
    #[command(flatten)]
    cache: CacheFolder,
}

/// Removes each one that is not in use, and prints its name.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<(), Error> {
    let runtime = Runtime::new(environment, &args.cache);
    let folder = Folder::lock(&environment.folder)?;
    // No container of `cleat` can be attached meanwhile.
    let _lock = runtime.lock_exclusive()?;
    let inventory = Inventory::read(&runtime)?;
    let remove = |name| find(&inventory, name).and_then(|list| remove(&runtime, &folder, &inventory, list));
    Error::all(args.networks.iter().filter_map(|name| remove(name).err()).collect())
}

/// Removes a network, with what is left of containers that have gone, and the folder of its leases. An overlay network goes on on
/// its other nodes; with the last one it is deleted in the engine.
pub(super) fn remove(
    runtime: &Runtime<'_>,
    folder: &Folder,
    inventory: &Inventory,
    list: &NetworkList,
) -> Result<(), Error> {
    let doing = format!("remove network {}", list.name);
    remove_after((runtime, folder, inventory), list, &doing, || {
        overlay(list).map_or(Ok(()), |overlay| part::leave_for_good(&overlay, &doing))
    })
}

/// Removes a network from this host. `end` is what has to be done while its files are still there.
pub(super) fn remove_after(
    (runtime, folder, inventory): (&Runtime<'_>, &Folder, &Inventory),
    list: &NetworkList,
    doing: &str,
    end: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    expect_unused(inventory, list, doing)?;
    gc::collect(runtime, inventory, list, &[])?;
    end()?;
    folder.remove(list)?;
    remove_parent(list, &inventory.networks)?;
    forget(list)?;
    output::text(&format!("{}\n", list.name))
}

/// Refuses where a container is on a network.
fn expect_unused(inventory: &Inventory, list: &NetworkList, doing: &str) -> Result<(), Error> {
    let name = list.name.as_str();
    let names = names_on(inventory, name);
    if !names.is_empty() {
        return Err(Error::refused(
            doing,
            format!("{} {} on it", names.join(", "), if names.len() == 1 { "is" } else { "are" }),
            format!("`cleat network disconnect {name} {}` takes it off, or stop it", names[0]),
        ));
    }
    // A container of a runtime with a cache of its own.
    if let Some(Kept { attachment, reason }) = inventory.survivors(&Kernel::at_rest()?, list)?.first() {
        return Err(Error::refused(
            doing,
            format!("container {} is on it: {reason}", registry::short_id(attachment.container_id.as_str())),
            "have the runtime that made it stop it",
        ));
    }
    Ok(())
}
