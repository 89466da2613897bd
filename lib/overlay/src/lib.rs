//! What the plugins on a node know of an overlay network, one network over many nodes: the file `/run/cleat/overlay/NET.json`.
//!
//! ```json
//! {
//!     "version": 1,
//!     "id": "6f1c1d1e-5d0a-4c63-9a6e-0f8a5d3f7b21",
//!     "prefixes": ["10.201.0.0/16", "fd00:201::/48"],
//!     "blocks": [{"subnet": "10.201.7.0/24"}, {"subnet": "fd00:201:0:7::/64", "gateway": "fd00:201:0:7::1"}],
//!     "device": "vx1",
//!     "mtu": 1450
//! }
//! ```
//!
//! The network's agent writes it, by a rename, and the bridge plugin reads it at each ADD. So an ADD asks nobody on another
//! machine, and works from what this node knows. Keys that a reader does not know are ignored, so that an agent may be newer
//! than the plugins; a `version` that it does not know is refused. Everything else in it is checked before anything is used.

mod error;
mod file;
mod node;

pub use error::{Error, Fault};
pub use file::{FOLDER, path, read};
pub use node::{Block, Node, VERSION};

#[cfg(test)]
mod tests;
