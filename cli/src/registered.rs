//! What link-env keeps of a container: its hosts file and the variables of its links.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cni::{ContainerId, NetworkList, file};
use registry::Registry;

use crate::error::Error;
use crate::inventory::{Attached, Inventory};
use crate::network::state_dir;

/// The folder in which link-env keeps a container's files; `None` where the network has no link-env.
pub(crate) fn registry_folder(list: &NetworkList, id: &ContainerId) -> Option<PathBuf> {
    Some(Registry::at(state_dir(list)?).container_dir(id.as_str()))
}

/// The variables that link-env made of the container's links.
pub(crate) fn link_variables(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    file::read(path, file::LONGEST)
        .and_then(|bytes| Ok(serde_json::from_slice(&bytes)?))
        .map_err(|error| Error::io(format!("read variables of links from {}", path.display()), error))
}

/// The same of an attachment.
pub(crate) fn folder_of(inventory: &Inventory, attached: &Attached) -> Option<PathBuf> {
    let list = inventory.network(attached.attachment.network.as_str())?;
    registry_folder(list, &attached.attachment.container_id)
}

/// The hosts file of a container, where it has one.
pub(crate) fn hosts_of(inventory: &Inventory, attachments: &[&Attached]) -> Option<PathBuf> {
    let files = attachments.iter().filter_map(|attached| folder_of(inventory, attached));
    files.map(|folder| folder.join("hosts")).find(|file| file.exists())
}
