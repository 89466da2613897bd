//! The agent's part for one network: a task that brings the engine's records, the kernel and the node's files together.
//!
//! ```text
//! LOCAL     what state.json knows: files, device, peers, firewall; the engine is not asked
//! NETWORK   config: the same ID as before, or nothing goes on; put back if the engine lost its data
//! CLAIM     the node's blocks
//! PUBLISH   the node's record, if it differs
//! WATCH     the others' records, as changes; the list that comes first is told as changes, too
//! ```
//!
//! The task waits for all it depends on at once: the watch, the one call to the engine that is under way, the kernel's events,
//! commands, and the next time at which something is due (once a minute, if nothing else). So a slow engine keeps no repair
//! waiting. A failed call is tried again after 0.1 s to 30 s. What a node needs somebody for is a [`blocked::Blocked`]: it is
//! told with cause and cure, and tried again when what it depends on has changed.
//!
//! Nothing in the kernel changes when the task ends.

mod answer;
mod blocked;
mod call;
mod change;
mod file;
mod guard;
mod identity;
mod leases;
mod local;
mod memory;
mod peers;
mod plan;
mod run_file;
mod secret;
mod show;
mod status;
mod task;
mod time;
mod timer;

use cni::NetworkName;
use ipnetwork::IpNetwork;
use tokio::sync::{mpsc, watch};

use crate::conf::Conf;
use crate::key::PrivateKey;
pub(crate) use identity::device_name;
pub(crate) use memory::folder;
pub(crate) use status::{State, Status};

/// What a task is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Compare with the engine and the kernel now; with `force` also what is held.
    Sync {
        /// Remove the peers that are held, too.
        force: bool,
    },
    /// End; nothing in the kernel changes.
    Stop,
}

/// Runs the task until it is stopped. `machine` is the machine's ID.
pub(crate) async fn run(
    network: NetworkName,
    conf: Conf,
    node: String,
    machine: String,
    status: watch::Sender<Status>,
    commands: mpsc::Receiver<Command>,
) {
    task::Task::new(network, conf, node, machine, status).run(commands).await;
}

/// This node's private key in a network, if it has one.
pub(crate) fn key(network: &NetworkName) -> Result<Option<PrivateKey>, String> {
    secret::read(network)
}

/// The device and the prefixes of a network that this node was part of, as it last knew them.
pub(crate) fn known(network: &NetworkName) -> Option<(String, Vec<IpNetwork>)> {
    memory::Memory::read(network).map(|(memory, _)| (memory.device, memory.network.prefixes))
}

#[cfg(test)]
mod tests;
