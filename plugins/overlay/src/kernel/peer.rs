//! Changes of single peers, which take a few messages and no dump.

use super::Kernel;
use super::Made;
use super::apply::unless_gone;
use super::entries;
use super::error::Error;
use super::message;
use super::route::Route;
use crate::key::PublicKey;
use crate::record::Backend;
use crate::wanted::{Device, Identity, Peer};

impl Kernel {
    /// Has a peer's entries in the kernel: adds or replaces them, and then removes those that it had before and has no longer.
    /// No packet is lost where only its address changes.
    ///
    /// It must come after an [`apply`](Self::apply), which says which prefixes there are. That no other peer has the block or MAC
    /// address is for the caller to know. After an error some entries may be there; the next [`apply`](Self::apply) tells.
    pub(crate) async fn put_peer(
        &self,
        device: &Device,
        peer: &Peer,
        before: Option<&Peer>,
    ) -> Result<(), Error> {
        let made = self.made(device)?;
        let index = made.index;
        {
            let mut known = self.known();
            entries::check(device, made.identity, &known.entries.prefixes, peer)?;
            known.entries.peers.insert(peer.identity, (peer.address, "".into()));
            for block in &peer.blocks {
                let block = entries::first(*block);
                known.entries.blocks.insert(block.ip(), (block, peer.identity, "".into()));
            }
        }
        let mut requests = Vec::new();
        match peer.identity {
            Identity::Mac(mac) => requests.push(message::put_fdb(index, mac, peer.address)),
            Identity::Key(key) => self.put_tunnel(device, index, key, peer, before).await?,
        }
        for block in &peer.blocks {
            if let Identity::Mac(mac) = peer.identity {
                requests.push(message::put_neighbour(index, block.network(), mac));
            }
            let has_route = before.is_some_and(|before| before.blocks.contains(block));
            if !has_route {
                requests.push(message::add_route(
                    index,
                    entries::first(*block),
                    device.backend,
                    &device.name,
                ));
            }
        }
        let routes: Vec<_> = requests.iter().map(|request| request.route).collect();
        for (answer, to) in self.requests.send(requests).await?.into_iter().zip(routes) {
            let Err(error) = answer else { continue };
            let is_ours = |route: &Route| Some(route.to) == to && route.leads_to_block(index, device.backend);
            // A route that is there already is fine if it is this program's.
            if to.is_none() || !self.requests.own_routes().await?.iter().any(is_ours) {
                return Err(self.explain(error, to, &mut None).await);
            }
        }
        let Some(before) = before else { return Ok(()) };
        let gone = Peer {
            blocks: before.blocks.iter().filter(|block| !peer.blocks.contains(block)).copied().collect(),
            ..before.clone()
        };
        self.remove_entries(device, index, &gone, before.identity != peer.identity).await
    }

    /// The part of a peer that the WireGuard device has.
    async fn put_tunnel(
        &self,
        device: &Device,
        index: u32,
        key: PublicKey,
        peer: &Peer,
        before: Option<&Peer>,
    ) -> Result<(), Error> {
        let wireguard = self.wireguard().await?;
        let is_kept = |before: &Peer| before.blocks.iter().all(|block| peer.blocks.contains(block));
        let endpoint = (peer.address, device.port).into();
        let is_all = !before.is_some_and(is_kept);
        let mut requests = vec![wireguard.put_peer(index, key, endpoint, &peer.blocks, is_all)];
        if before.is_none_or(|before| before.identity != peer.identity) {
            requests.push(wireguard.greet(index, key));
        }
        wireguard.requests.send(requests).await?.into_iter().collect()
    }

    /// Removes a peer's entries. What is gone already is no error.
    pub(crate) async fn remove_peer(&self, device: &Device, peer: &Peer) -> Result<(), Error> {
        match self.index_of(&device.name).await {
            Ok(index) => self.remove_entries(device, index, peer, true).await,
            Err(Error::DeviceGone { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes the entries of a peer's blocks, and `with_identity` the one that all of them need.
    async fn remove_entries(
        &self,
        device: &Device,
        index: u32,
        peer: &Peer,
        with_identity: bool,
    ) -> Result<(), Error> {
        let mut requests = Vec::new();
        let mut key = None;
        {
            let mut known = self.known();
            for block in &peer.blocks {
                // It may have become another peer's.
                let holder = known.entries.blocks.get(&block.network());
                if holder.is_some_and(|(_, identity, _)| *identity != peer.identity) {
                    continue;
                }
                known.entries.blocks.remove(&block.network());
                requests.push(message::remove_block_route(index, entries::first(*block), device));
                if device.backend == Backend::Vxlan {
                    requests.push(message::remove_neighbour(index, block.network()));
                }
            }
            let to = known.entries.peers.get(&peer.identity).map(|(to, _)| *to);
            if with_identity && to.is_none_or(|to| to == peer.address) {
                known.entries.peers.remove(&peer.identity);
                match peer.identity {
                    Identity::Mac(mac) => requests.push(message::remove_fdb(index, mac, peer.address, &[])),
                    Identity::Key(gone) => key = Some(gone),
                }
            }
        }
        let answers = self.requests.send(requests).await?;
        answers.into_iter().try_for_each(unless_gone)?;
        let Some(key) = key else { return Ok(()) };
        let wireguard = self.wireguard().await?;
        unless_gone(wireguard.requests.send_one(wireguard.remove_peer(index, key)).await)
    }

    /// The device as it was made; it must have been.
    fn made(&self, device: &Device) -> Result<Made, Error> {
        let known = self.known();
        let made = known.device.as_ref().filter(|made| made.name == device.name);
        made.cloned().ok_or_else(|| Error::DeviceGone { name: device.name.clone() })
    }

    /// The device's index: as it was made, which saves a request, or as it is.
    async fn index_of(&self, name: &str) -> Result<u32, Error> {
        if let Some(made) = self.known().device.as_ref().filter(|made| made.name == name) {
            return Ok(made.index);
        }
        let link = self.requests.link(name).await?;
        link.map(|link| link.index).ok_or_else(|| Error::DeviceGone { name: name.to_owned() })
    }
}
