//! `/run/cleat/overlay/NET.json`, which says to the plugins what this node's part of a network is.

use std::io;

use cni::NetworkName;
use overlay::{Block, Node, VERSION};

use super::file::{self, Lasting};
use super::memory::Memory;

/// Writes the file, if it differs from what is there.
pub(super) fn write(network: &NetworkName, memory: &Memory) -> Result<(), String> {
    let node = Node {
        version: VERSION,
        id: memory.network.id.clone(),
        prefixes: memory.network.prefixes.clone(),
        blocks: memory.blocks.iter().map(|subnet| Block { subnet: *subnet, gateway: None }).collect(),
        device: memory.device.clone(),
        mtu: memory.mtu,
    };
    if overlay::read(network).is_ok_and(|there| there.as_ref() == Some(&node)) {
        return Ok(());
    }
    let path = overlay::path(network);
    let content = node.to_vec().map_err(|fault| format!("{}: {fault}", path.display()))?;
    let failed = |error: io::Error| format!("write {}: {error}", path.display());
    file::replace(&path, &content, 0o644, Lasting::No).map_err(failed)
}

/// Removes the file: no container joins until there is one again.
pub(super) fn remove(network: &NetworkName) -> Result<(), String> {
    let path = overlay::path(network);
    file::remove(&path).map_err(|error| format!("remove {}: {error}", path.display()))
}
