//! The records of a network as they are in an engine at one revision.

use std::collections::BTreeMap;

use etcd::{Found, KeyValue};
use ipnetwork::IpNetwork;
use serde::de::DeserializeOwned;

use super::keys::{Key, Keys};
use crate::record::{Claim, LONGEST, Network, Record};

/// A value that others wrote, and when.
#[derive(Clone, Debug)]
pub(super) struct Held<T> {
    /// The value, or why it cannot be used.
    pub(super) value: Result<T, String>,
    /// At which revision its key was made.
    pub(super) created: i64,
    /// At which revision it was changed last.
    pub(super) modified: i64,
    /// The bytes.
    pub(super) raw: Vec<u8>,
}

/// What a range has.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) revision: i64,
    pub(super) config: Option<Held<Network>>,
    pub(super) claims: BTreeMap<IpNetwork, Held<Claim>>,
    pub(super) nodes: BTreeMap<String, Held<Record>>,
    /// Keys whose names cannot be, and why.
    pub(super) bad: Vec<(String, String)>,
}

impl View {
    pub(super) fn of(keys: &Keys, found: Found) -> Self {
        let mut view = Self { revision: found.header.revision, ..Self::default() };
        let mut records = Vec::new();
        for kv in found.kvs {
            match keys.read(&kv.key) {
                Key::Config => view.config = Some(Held::of(network(&kv.value), kv)),
                Key::Block(block) => {
                    view.claims.insert(block, Held::of(claim(&kv.value), kv));
                }
                Key::Node(name) => records.push((name, kv)),
                Key::Bad(why) => view.bad.push((kv.key.escape_ascii().to_string(), why.to_owned())),
                Key::Unknown => {}
            }
        }
        for (name, kv) in records {
            let value = record(&kv.value, view.network());
            view.nodes.insert(name, Held::of(value, kv));
        }
        view
    }

    pub(super) fn network(&self) -> Option<&Network> {
        self.config.as_ref()?.value.as_ref().ok()
    }
}

impl<T> Held<T> {
    fn of(value: Result<T, String>, kv: KeyValue) -> Self {
        Self { value, created: kv.created, modified: kv.modified, raw: kv.value }
    }
}

/// Reads the network's configuration.
pub(super) fn network(value: &[u8]) -> Result<Network, String> {
    let network: Network = parse(value)?;
    network.check().map(|()| network)
}

/// The ID of a configuration, also where the rest cannot be read.
pub(super) fn id(value: &[u8]) -> Option<String> {
    text(value, "id")
}

/// The machine ID of a record, also where the rest cannot be read.
pub(super) fn machine(value: &[u8]) -> Option<String> {
    text(value, "machine")
}

fn text(value: &[u8], key: &str) -> Option<String> {
    let value: serde_json::Value = parse(value).ok()?;
    value[key].as_str().map(ToOwned::to_owned)
}

/// Reads whose a block is.
pub(super) fn claim(value: &[u8]) -> Result<Claim, String> {
    let claim: Claim = parse(value)?;
    claim.check().map(|()| claim)
}

/// Reads a node's record. What it may have depends on the network.
pub(super) fn record(value: &[u8], network: Option<&Network>) -> Result<Record, String> {
    let network = network.ok_or("the network's configuration is missing or cannot be read")?;
    let record: Record = parse(value)?;
    record.check(network).map(|()| record)
}

fn parse<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    if value.len() > LONGEST {
        return Err(format!("it has {} bytes, and {LONGEST} are the most", value.len()));
    }
    serde_json::from_slice(value).map_err(|error| cni::printable_line(&error.to_string()).to_string())
}
