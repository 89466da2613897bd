//! What the state folder consists of, and reading networks from it.

use folder::Folder;

use crate::error::Error;
use crate::members::{self, MEMBERS};
use crate::network::Network;

/// The folder of networks, each a folder.
pub(crate) const NETWORKS: &str = "registry";
/// The folder of what containers are given, a folder each.
pub(crate) const CONTAINERS: &str = "containers";

/// A network; `None` where it has no members.
pub(crate) fn read(folder: &Folder, network: &str) -> Result<Option<Network>, Error> {
    let Some(network_folder) = folder.child(network)? else {
        return Ok(None);
    };
    let Some(members) = network_folder.child(MEMBERS)? else {
        return Ok(None);
    };
    let members = members::all(&members)?;
    Ok((!members.is_empty()).then(|| Network { members, ..Network::new(network) }))
}

/// All networks in a folder, by name. One that goes while the folder is being read is left out.
pub(crate) fn read_all(folder: &Folder) -> Result<Vec<Network>, Error> {
    let mut names = folder.entries()?;
    names.retain(|name| !name.starts_with('.'));
    names.sort_unstable();
    names.iter().filter_map(|name| read(folder, name).transpose()).collect()
}
