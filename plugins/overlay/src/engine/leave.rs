//! The end of a node's part in a network, and of a network.

use etcd::{Condition, Operation, Range, Span, Txn};
use ipnetwork::IpNetwork;
use serde::Serialize;

use super::claim::claims_of;
use super::error::Tries;
use super::publish::unchanged;
use super::{Engine, Error, view};
use crate::networks;
use crate::record::{Claim, Record};

/// What was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Removed {
    /// The node's record, if it had one that could be read.
    pub(crate) record: Option<Record>,
    /// Its blocks, which others can claim now.
    #[serde(with = "networks")]
    pub(crate) blocks: Vec<IpNetwork>,
}

impl Engine {
    /// Takes a node's own record, claims and sign of life out. What is not there is no error, and what another machine wrote
    /// stays.
    pub(crate) async fn leave(&self, name: &str, me: &Claim) -> Result<(), Error> {
        let key = self.keys.node(name);
        let mut tries = Tries::default();
        loop {
            let view = self.view().await?;
            let record = view.nodes.get(name);
            let is_others =
                record.and_then(|held| view::machine(&held.raw)).is_some_and(|machine| machine != me.machine);
            let mut txn = Txn::new();
            if !is_others {
                txn = txn.when(unchanged(&key, record)).then(delete(&key));
                txn = txn.then(delete(&self.keys.alive(name)));
            }
            let blocks: Vec<IpNetwork> = claims_of(&view.claims, me).collect();
            if is_others && blocks.is_empty() {
                return Ok(());
            }
            for block in blocks {
                let key = self.keys.block(block);
                txn = txn.when(unchanged(&key, view.claims.get(&block))).then(delete(&key));
            }
            match self.client.txn(txn).await {
                Ok(outcome) if outcome.succeeded => return Ok(()),
                Ok(_) => tries.raced(&key)?,
                Err(error) => tries.lost(error)?,
            }
        }
    }

    /// Takes a node's record, claims and sign of life out, whatever machine wrote them.
    pub(crate) async fn remove_node(&self, name: &str) -> Result<Removed, Error> {
        self.take_out(name, true).await
    }

    /// The same, and refused while the node's agent runs.
    pub(crate) async fn remove_dead_node(&self, name: &str) -> Result<Removed, Error> {
        self.take_out(name, false).await
    }

    async fn take_out(&self, name: &str, force: bool) -> Result<Removed, Error> {
        let (key, alive) = (self.keys.node(name), self.keys.alive(name));
        let mut tries = Tries::default();
        let mut sent: Option<Removed> = None;
        loop {
            let view = self.view().await?;
            let record = view.nodes.get(name);
            let is_its = |claim: &Result<Claim, String>| claim.as_ref().is_ok_and(|claim| claim.node == name);
            let claims: Vec<_> = view.claims.iter().filter(|(_, held)| is_its(&held.value)).collect();
            if record.is_none() && claims.is_empty() {
                let known = || view.nodes.keys().cloned().collect();
                return sent.ok_or_else(|| Error::NoNode { name: name.to_owned(), known: known() });
            }
            let mut txn = Txn::new().when(unchanged(&key, record)).then(delete(&key)).then(delete(&alive));
            if !force {
                if self.client.get(alive.as_str()).await?.is_some() {
                    return Err(Error::Alive(name.to_owned()));
                }
                txn = txn.when(Condition::absent(alive.as_str()));
            }
            for (block, held) in &claims {
                let key = self.keys.block(**block);
                txn = txn.when(unchanged(&key, Some(*held))).then(delete(&key));
            }
            let removed = Removed {
                record: record.and_then(|held| held.value.clone().ok()),
                blocks: claims.iter().map(|(block, _)| **block).collect(),
            };
            match self.client.txn(txn).await {
                Ok(outcome) if outcome.succeeded => return Ok(removed),
                Ok(_) => tries.raced(&key)?,
                Err(error) => {
                    tries.lost(error)?;
                    sent = Some(removed);
                }
            }
        }
    }

    /// Deletes all keys of the network.
    pub(crate) async fn delete(&self) -> Result<(), Error> {
        let all = self.keys.all();
        let mut tries = Tries::default();
        loop {
            match self.client.delete(&all).await {
                Ok(_) => return Ok(()),
                Err(error) => {
                    tries.lost(error)?;
                }
            }
            if self.client.range(&Range::new(all.clone()).limit(1).keys_only()).await?.kvs.is_empty() {
                return Ok(());
            }
        }
    }
}

fn delete(key: &str) -> Operation {
    Operation::Delete(Span::key(key))
}
