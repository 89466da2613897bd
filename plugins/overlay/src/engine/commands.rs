//! The engine's part of the program's short commands: each has a result that can be printed as JSON.

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Engine, Error, Removed};
use crate::blocks;
use crate::networks;
use crate::record::{Backend, Network, Record};

/// The port of VXLAN (IANA).
const VXLAN_PORT: u16 = 4789;
/// The port that `wg`(8)'s examples use.
const WIREGUARD_PORT: u16 = 51820;

/// A network that is to be made.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Wish {
    /// One prefix a family.
    #[serde(with = "networks")]
    pub(crate) prefixes: Vec<IpNetwork>,
    /// The length of a node's block in each. Default: 24 for IPv4, 64 for IPv6.
    #[serde(default)]
    pub(crate) block_lengths: Option<Vec<u8>>,
    /// Default: VXLAN.
    #[serde(default)]
    pub(crate) backend: Backend,
    /// Default: one that depends on the network's ID, so that two clusters on one wire do not meet.
    #[serde(default)]
    pub(crate) vni: Option<u32>,
    /// Default: 4789, or 51820 with `WireGuard`.
    #[serde(default)]
    pub(crate) port: Option<u16>,
    /// The most that a device's MTU may be, in bytes. Default: what the underlay lets through.
    #[serde(default)]
    pub(crate) mtu: Option<u32>,
}

/// A network and its nodes, as `cleat-overlay nodes` prints them.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Overview {
    /// The network.
    pub(crate) network: Network,
    /// The revision of the store.
    pub(crate) revision: i64,
    /// The nodes by name.
    pub(crate) nodes: Vec<Node>,
    /// Keys that cannot be used.
    pub(crate) unreadable: Vec<Unreadable>,
}

/// One of its nodes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: String,
    /// Whether its agent was seen within the last three minutes.
    pub(crate) alive: bool,
    /// Since when that runs (RFC 3339).
    pub(crate) since: Option<String>,
    /// The rest.
    #[serde(flatten)]
    pub(crate) record: Record,
}

/// A key that cannot be used.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Unreadable {
    /// The key.
    pub(crate) key: String,
    /// What is wrong with it.
    pub(crate) reason: String,
}

impl Wish {
    /// The network of this wish, with a new ID.
    pub(crate) fn network(self) -> Result<Network, Error> {
        let id = Uuid::new_v4().to_string();
        let usual = || self.prefixes.iter().map(|prefix| blocks::usual_length(*prefix)).collect();
        let block_lengths = self.block_lengths.unwrap_or_else(usual);
        let port = match self.backend {
            Backend::Vxlan => VXLAN_PORT,
            Backend::Wireguard => WIREGUARD_PORT,
        };
        let network = Network {
            vni: self.vni.unwrap_or_else(|| vni(&id)),
            id,
            prefixes: self.prefixes,
            block_lengths,
            backend: self.backend,
            port: self.port.unwrap_or(port),
            mtu: self.mtu.unwrap_or(0),
        };
        network.check().map_err(Error::Bad)?;
        Ok(network)
    }
}

/// Makes a network.
pub(crate) async fn create(engine: &Engine, wish: Wish) -> Result<Network, Error> {
    let network = wish.network()?;
    if engine.create(&network).await? { Ok(network) } else { Err(Error::Exists(engine.network.to_string())) }
}

/// The network.
pub(crate) async fn show(engine: &Engine) -> Result<Network, Error> {
    engine.network().await?.ok_or_else(|| Error::NoNetwork(engine.network.to_string()))
}

/// The network and its nodes.
pub(crate) async fn nodes(engine: &Engine) -> Result<Overview, Error> {
    let listing = engine.nodes().await?;
    let mut alive = engine.alive().await?;
    let Some(network) = listing.network else {
        // Why it cannot be read is told by this.
        return show(engine).await.and(Err(Error::NoNetwork(engine.network.to_string())));
    };
    let nodes = listing.nodes.into_iter().map(|(name, record)| {
        let alive = alive.remove(&name);
        let since = alive.as_ref().map(|alive| alive.since.clone()).filter(|since| !since.is_empty());
        Node { name, alive: alive.is_some(), since, record }
    });
    let unreadable = listing.unreadable.into_iter().map(|(key, reason)| Unreadable { key, reason });
    Ok(Overview {
        network,
        revision: listing.revision,
        nodes: nodes.collect(),
        unreadable: unreadable.collect(),
    })
}

/// Takes out a node, unless its agent runs and this is not forced.
pub(crate) async fn remove_node(engine: &Engine, name: &str, force: bool) -> Result<Removed, Error> {
    if force { engine.remove_node(name).await } else { engine.remove_dead_node(name).await }
}

/// Deletes the network, unless nodes are part of it and this is not forced.
pub(crate) async fn delete(engine: &Engine, force: bool) -> Result<(), Error> {
    if !force {
        let view = engine.view().await?;
        if !view.nodes.is_empty() {
            return Err(Error::HasNodes(view.nodes.into_keys().collect()));
        }
        if view.config.is_none() {
            return Err(Error::NoNetwork(engine.network.to_string()));
        }
    }
    engine.delete().await
}

/// A VXLAN network identifier from a network's ID: 1 to 2^24 - 1.
fn vni(id: &str) -> u32 {
    let hash = Sha256::digest(id);
    let number = hash.iter().take(4).fold(0, |number: u32, byte| number << 8 | u32::from(*byte));
    number % ((1 << 24) - 1) + 1
}
