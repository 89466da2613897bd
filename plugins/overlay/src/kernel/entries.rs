//! The entries that a network needs, from what is wanted of it. Nothing here asks the kernel.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnetwork::IpNetwork;

use super::error::Error;
use crate::record::Backend;
use crate::wanted::{Device, Identity, Peer, Wanted};

/// The entries, each with the name of the peer that it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entries {
    pub(super) backend: Backend,
    /// Where packets to a node go.
    pub(super) peers: BTreeMap<Identity, (IpAddr, Arc<str>)>,
    /// The other nodes' blocks, and whose they are, by the address that they begin with. With VXLAN that is the gateway of the
    /// route.
    pub(super) blocks: BTreeMap<IpAddr, (IpNetwork, Identity, Arc<str>)>,
    /// The device's own addresses, in the order of the node's blocks.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) prefixes: Vec<IpNetwork>,
}

impl Entries {
    /// All entries, and the peers that get none. Of two that want the same the first by name gets it. `own` is this node's
    /// identity.
    pub(super) fn new(wanted: &Wanted, own: Identity) -> (Self, Vec<(String, Error)>) {
        let mut entries = Self {
            backend: wanted.device.backend,
            addresses: wanted.device.blocks.iter().map(IpNetwork::network).collect(),
            prefixes: wanted.prefixes.iter().map(|prefix| first(*prefix)).collect(),
            ..Self::default()
        };
        let mut refused = Vec::new();
        for (name, peer) in &wanted.peers {
            if let Err(error) = entries.add(&wanted.device, own, &name.as_str().into(), peer) {
                refused.push((name.clone(), error));
            }
        }
        (entries, refused)
    }

    /// Adds a peer's entries, all or none.
    fn add(&mut self, device: &Device, own: Identity, name: &Arc<str>, peer: &Peer) -> Result<(), Error> {
        check(device, own, &self.prefixes, peer)?;
        let identity = peer.identity;
        if let Some((_, holder)) = self.peers.get(&identity) {
            return Err(Error::IdentityTaken { identity, holder: holder.to_string() });
        }
        for block in &peer.blocks {
            self.is_free(*block)?;
        }
        self.peers.insert(identity, (peer.address, name.clone()));
        for block in &peer.blocks {
            self.blocks.insert(block.network(), (first(*block), identity, name.clone()));
        }
        Ok(())
    }

    /// Whether no other peer's block meets this one. Those that are there do not meet each other, so that only the ones before
    /// and after it can.
    fn is_free(&self, block: IpNetwork) -> Result<(), Error> {
        let before = self.blocks.range(..=block.network()).next_back();
        let after = self.blocks.range(block.network()..).next();
        for (_, (other, _, holder)) in before.into_iter().chain(after) {
            if meets(*other, block) {
                return Err(Error::BlockTaken { block, other: *other, holder: holder.to_string() });
            }
        }
        Ok(())
    }
}

/// Refuses a peer whose entries would lead packets astray.
pub(super) fn check(
    device: &Device,
    own: Identity,
    prefixes: &[IpNetwork],
    peer: &Peer,
) -> Result<(), Error> {
    let (address, identity) = (peer.address, peer.identity);
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return Err(Error::UnusableAddress { address });
    }
    if address.is_ipv4() != device.local.is_ipv4() {
        return Err(Error::OtherFamily { address, local: device.local });
    }
    if address == device.local {
        return Err(Error::OwnAddress { address });
    }
    if identity == own {
        return Err(Error::IdentityTaken { identity, holder: "this node".to_owned() });
    }
    let is_usable = match (device.backend, identity) {
        // The lowest bit of the first byte is that of groups.
        (Backend::Vxlan, Identity::Mac(mac)) => mac.0[0] & 1 == 0 && mac.0 != [0; 6],
        (Backend::Wireguard, Identity::Key(key)) => key.0 != [0; 32],
        _ => false,
    };
    if !is_usable {
        return Err(Error::UnusableIdentity { identity });
    }
    for block in &peer.blocks {
        if !prefixes.iter().any(|prefix| is_inside(*block, *prefix)) {
            return Err(Error::OutsidePrefixes { block: *block });
        }
        if let Some(own) = device.blocks.iter().find(|own| meets(**own, *block)) {
            return Err(Error::BlockTaken { block: *block, other: *own, holder: "this node".to_owned() });
        }
    }
    Ok(())
}

/// The network without the bits of a host.
pub(super) fn first(network: IpNetwork) -> IpNetwork {
    IpNetwork::new(network.network(), network.prefix()).unwrap_or(network)
}

/// Whether a network is the other or a part of it.
pub(super) fn is_inside(part: IpNetwork, whole: IpNetwork) -> bool {
    part.prefix() >= whole.prefix() && whole.contains(part.network())
}

/// Whether two networks have addresses in common.
pub(super) fn meets(one: IpNetwork, other: IpNetwork) -> bool {
    is_inside(one, other) || is_inside(other, one)
}
