//! Finds networks by name or ID, and the containers on one.

use cni::NetworkList;

use crate::error::Error;
use crate::inventory::Inventory;
use crate::network::Described;
use crate::suggestion::nearest;

/// The networks without a configuration, with the drivers that they have with Docker: the host's own, and none at all.
pub(super) const BUILT_IN: [(&str, &str); 2] = [("host", "host"), ("none", "null")];

/// The network of a name, or of the beginning of an ID.
pub(super) fn find<'a>(inventory: &'a Inventory, text: &str) -> Result<&'a NetworkList, Error> {
    if let Some(list) = inventory.network(text) {
        return Ok(list);
    }
    let by_id = |list: &&NetworkList| text.len() >= 4 && Described::of(list).id.starts_with(text);
    let mut found = inventory.networks.iter().filter(by_id);
    match (found.next(), found.next()) {
        (Some(list), None) => Ok(list),
        _ => Err(missing(inventory, text)),
    }
}

fn missing(inventory: &Inventory, text: &str) -> Error {
    let names: Vec<&str> = inventory.networks.iter().map(|list| list.name.as_str()).collect();
    let cure = match nearest(text, names.iter().copied()) {
        Some(nearest) => format!("did you mean {nearest}?"),
        None if names.is_empty() => format!("there is none: `cleat network create {text}` makes it"),
        None => format!("there are {}", names.join(", ")),
    };
    Error::refused(format!("find network {text}"), "no such network", cure)
}

/// The names of the containers on a network, each once.
pub(super) fn names_on(inventory: &Inventory, network: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for attached in inventory.members_of(network).filter(|attached| !attached.is_gone()) {
        let name = attached.called();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
