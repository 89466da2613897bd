//! `/var/lib/cleat/overlay/NET/state.json`: what a node knows of a network when it starts without the engine.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cni::NetworkName;
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::file::{self, Lasting};
use crate::networks;
use crate::record::{Network, Record};
use crate::wanted::Peer;

/// The folder of all networks' folders.
pub(crate) const FOLDER: &str = "/var/lib/cleat/overlay";

/// The version of the file's form.
const VERSION: u32 = 1;

/// What is known of a network, but for the other nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    version: u32,
    /// As the engine had it.
    pub(super) network: Network,
    /// The device's name and MTU.
    pub(super) device: String,
    pub(super) mtu: u32,
    /// The address to send from.
    #[serde(default)]
    pub(super) local: Option<IpAddr>,
    /// The node's own.
    #[serde(with = "networks")]
    pub(super) blocks: Vec<IpNetwork>,
    /// The node's own record, as it was published last.
    #[serde(default)]
    pub(super) record: Option<Record>,
    /// Somebody deleted the network: the node does not put it back.
    #[serde(default)]
    pub(super) is_deleted: bool,
    /// A block is another node's by now: no container joins.
    #[serde(default)]
    pub(super) is_conflict: bool,
}

#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    memory: &'a Memory,
    peers: &'a BTreeMap<String, Peer>,
}

#[derive(Deserialize)]
struct Read {
    #[serde(flatten)]
    memory: Memory,
    peers: BTreeMap<String, Peer>,
}

/// The network's folder.
pub(crate) fn folder(network: &NetworkName) -> PathBuf {
    Path::new(FOLDER).join(network.to_string())
}

fn path(network: &NetworkName) -> PathBuf {
    folder(network).join("state.json")
}

impl Memory {
    pub(super) fn new(network: Network, device: String) -> Self {
        Self {
            version: VERSION,
            network,
            device,
            mtu: 0,
            local: None,
            blocks: Vec::new(),
            record: None,
            is_deleted: false,
            is_conflict: false,
        }
    }

    /// Reads the file. One that is torn, or of another version, is as none: what is in it is found again in the engine.
    pub(super) fn read(network: &NetworkName) -> Option<(Self, BTreeMap<String, Peer>)> {
        let Read { memory, peers } = serde_json::from_slice(&fs::read(path(network)).ok()?).ok()?;
        (memory.version == VERSION).then_some((memory, peers))
    }

    /// The file's content.
    pub(super) fn to_vec(&self, peers: &BTreeMap<String, Peer>) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(&Written { memory: self, peers })?)
    }
}

/// Writes the file.
pub(super) fn write(network: &NetworkName, content: &[u8]) -> Result<(), String> {
    let path = path(network);
    let failed = |error: io::Error| format!("write {}: {error}", path.display());
    file::replace(&path, content, 0o600, Lasting::Yes).map_err(failed)
}

/// Removes the file.
pub(super) fn remove(network: &NetworkName) -> Result<(), String> {
    let path = path(network);
    file::remove(&path).map_err(|error| format!("remove {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Backend, Mac};
    use crate::wanted::Identity;

    #[test]
    fn what_is_written_is_read_and_what_is_torn_is_none() {
        sandbox::isolated(|| {
            let name = NetworkName::new("wide").unwrap();
            assert!(Memory::read(&name).is_none());
            let network = Network {
                id: "6f1c".to_owned(),
                prefixes: vec!["10.201.0.0/16".parse().unwrap()],
                block_lengths: vec![24],
                backend: Backend::Vxlan,
                vni: 4711,
                port: 4789,
                mtu: 0,
            };
            let mut memory = Memory::new(network, "vx1".to_owned());
            memory.blocks.push("10.201.7.0/24".parse().unwrap());
            let peer = Peer {
                address: "192.0.2.2".parse().unwrap(),
                identity: Identity::Mac(Mac([2, 0, 0, 0, 0, 2])),
                blocks: vec!["10.201.8.0/24".parse().unwrap()],
            };
            let peers = BTreeMap::from([("two".to_owned(), peer)]);
            let content = memory.to_vec(&peers).unwrap();
            write(&name, &content).unwrap();
            assert_eq!(Memory::read(&name).unwrap(), (memory, peers));
            for end in 0..content.len() {
                fs::write(path(&name), &content[..end]).unwrap();
                assert!(Memory::read(&name).is_none(), "torn after {end} bytes");
            }
            let newer = String::from_utf8(content).unwrap().replacen("\"version\":1", "\"version\":2", 1);
            fs::write(path(&name), newer).unwrap();
            assert!(Memory::read(&name).is_none());
            fs::remove_file(path(&name)).unwrap();
            fs::remove_dir(folder(&name)).unwrap();
            fs::write(folder(&name), "").unwrap();
            assert!(write(&name, b"{}").unwrap_err().contains("state.json"));
        });
    }
}
