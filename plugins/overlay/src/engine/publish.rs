//! A node's own record.

use std::net::IpAddr;

use etcd::{Condition, Operation, Put, Txn};

use super::error::Tries;
use super::view::{self, Held, View};
use super::{Engine, Error, json};
use crate::record::{Record, is_node_name};

/// What came of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// It is there as it is to be; nothing was written.
    Same,
    /// It was written.
    Put,
    /// Another node has what can be only one's. Nothing was written.
    Refused {
        /// What it is, and whose.
        reason: Taken,
    },
}

/// What another node has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Taken {
    /// The node's name.
    #[error(
        "a node of this name is there, with the machine ID {machine}; give this one another name (\"node\"), or remove that one with `cleat node rm`"
    )]
    Name {
        /// The holder's machine ID.
        machine: String,
    },
    /// An address.
    #[error(
        "{node} has the address {address} as well; set \"address\" or \"public\", or remove {node} with `cleat node rm {node}`"
    )]
    Address {
        /// The holder.
        node: String,
        /// The address.
        address: IpAddr,
    },
    /// The MAC address, which is made of the machine ID.
    #[error(
        "{node} has the same MAC address: its machine was cloned; make a new /etc/machine-id, or remove {node} with `cleat node rm {node}`"
    )]
    Mac {
        /// The holder.
        node: String,
    },
    /// The public key.
    #[error(
        "{node} has the same public key: its machine was cloned; here, remove the device of the network and the file `key` in its folder below /var/lib/cleat/overlay, and restart cleat-overlay, which makes another"
    )]
    Key {
        /// The holder.
        node: String,
    },
}

impl Engine {
    /// Puts a node's record, if it differs from what is there.
    pub(crate) async fn publish(&self, name: &str, record: &Record) -> Result<Published, Error> {
        if !is_node_name(name) {
            return Err(Error::Bad(format!("{name:?} is not the name of a node (RFC 1123)")));
        }
        let (key, value) = (self.keys.node(name), json(record)?);
        let mut tries = Tries::default();
        let mut sent = false;
        loop {
            let view = self.view().await?;
            let config = view.config.as_ref().ok_or_else(|| Error::NoNetwork(self.network.to_string()))?;
            let network = config
                .value
                .as_ref()
                .map_err(|why| Error::Unreadable { key: self.keys.config(), why: why.clone() })?;
            record.check(network).map_err(Error::Bad)?;
            let before = view.nodes.get(name);
            if before.is_some_and(|held| held.value.as_ref() == Ok(record)) {
                return Ok(if sent { Published::Put } else { Published::Same });
            }
            if let Some(reason) = taken(&view, name, record) {
                return Ok(Published::Refused { reason });
            }
            let mut txn = Txn::new()
                .when(Condition::unchanged(self.keys.config(), config.modified))
                .when(unchanged(&key, before))
                .then(Operation::Put(Put::new(key.as_str(), value.as_slice())));
            // A node that is removed meanwhile does not announce blocks that are free again.
            for block in &record.blocks {
                if let Some(held) = view.claims.get(block) {
                    txn = txn.when(Condition::unchanged(self.keys.block(*block), held.modified));
                }
            }
            match self.client.txn(txn).await {
                Ok(outcome) if outcome.succeeded => return Ok(Published::Put),
                Ok(_) => tries.raced(&key)?,
                Err(error) => {
                    tries.lost(error)?;
                    sent = true;
                }
            }
        }
    }
}

/// That a key is still as it was read.
pub(super) fn unchanged<T>(key: &str, held: Option<&Held<T>>) -> Condition {
    held.map_or_else(|| Condition::absent(key), |held| Condition::unchanged(key, held.modified))
}

/// What of a record another node has.
fn taken(view: &View, name: &str, record: &Record) -> Option<Taken> {
    let mine = view.nodes.get(name);
    if let Some(machine) = mine.and_then(|held| view::machine(&held.raw))
        && machine != record.machine
    {
        // Others wrote it, and it may be anything.
        let machine: String = cni::printable_line(&machine).chars().take(64).collect();
        return Some(Taken::Name { machine });
    }
    let before = mine.and_then(|held| Some((held.value.as_ref().ok()?, held.created)));
    for (node, held) in view.nodes.iter().filter(|(node, _)| *node != name) {
        let Ok(other) = &held.value else { continue };
        // Of two that have the same, the later one gives way.
        let is_later = |had: bool| !had || before.is_none_or(|(_, created)| held.created < created);
        let same = record.addresses.iter().find(|address| other.addresses.contains(address));
        if let Some(address) = same.copied()
            && is_later(before.is_some_and(|(before, _)| before.addresses.contains(&address)))
        {
            return Some(Taken::Address { node: node.clone(), address });
        }
        if record.key.is_some()
            && record.key == other.key
            && is_later(before.is_some_and(|(before, _)| before.key == record.key))
        {
            return Some(Taken::Key { node: node.clone() });
        }
        if record.mac.is_some()
            && record.mac == other.mac
            && is_later(before.is_some_and(|(before, _)| before.mac == record.mac))
        {
            return Some(Taken::Mac { node: node.clone() });
        }
    }
    None
}
