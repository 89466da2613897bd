//! A node's own block of each prefix.

use std::collections::BTreeMap;

use etcd::{Condition, Operation, Put, Txn};
use ipnetwork::IpNetwork;

use super::error::Tries;
use super::view::{Held, View};
use super::{Engine, Error, json};
use crate::blocks;
use crate::record::{Claim, Network, is_node_name};

/// What came of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// The node's blocks, one a prefix, in the prefixes' order.
    Own(Vec<IpNetwork>),
    /// A block that the node had is another's by now. Nothing was changed.
    Conflict {
        /// The block.
        block: IpNetwork,
        /// Whose it is.
        holder: Claim,
    },
    /// All blocks of a prefix are claimed. Nothing was changed.
    Full {
        /// The prefix.
        prefix: IpNetwork,
    },
}

/// What to do about a prefix that is full: the text of an error.
pub(crate) fn full(network: &Network, prefix: IpNetwork) -> String {
    let mut all = network.prefixes.iter().zip(&network.block_lengths);
    let length = all.find(|(other, _)| **other == prefix).map_or(prefix.prefix(), |(_, length)| *length);
    let count = blocks::count(prefix, length);
    format!(
        "no block is left: {prefix} has {count} of /{length}, and all are claimed; look for nodes that are gone with \
         `cleat node ls`, and free their blocks with `cleat node rm`"
    )
}

impl Engine {
    /// Claims a block of each prefix for a node.
    ///
    /// The blocks that it had (`earlier`) are kept, or claimed again if they are free. Without them it takes up a claim that is
    /// its own, of a state that was lost, or a free block.
    pub(crate) async fn claim(
        &self,
        network: &Network,
        me: &Claim,
        earlier: &[IpNetwork],
    ) -> Result<Claimed, Error> {
        if !is_node_name(&me.node) {
            return Err(Error::Bad(format!("{:?} is not the name of a node (RFC 1123)", me.node)));
        }
        me.check().map_err(Error::Bad)?;
        let value = json(me)?;
        let mut tries = Tries::default();
        for attempt in 0_u32.. {
            let found = self.client.list(&self.keys.blocks()).await?;
            let claims = View::of(&self.keys, found).claims;
            let mut own = Vec::new();
            let mut wanted = Vec::new();
            for (prefix, length) in network.prefixes.iter().zip(&network.block_lengths) {
                let is_of_prefix = |block: &&IpNetwork| network.prefix_of(**block) == Some(*prefix);
                let had = earlier.iter().find(is_of_prefix).copied();
                let known = had.or_else(|| claims_of(&claims, me).find(|block| is_of_prefix(&block)));
                let block = if let Some(block) = known {
                    block
                } else {
                    let taken: Vec<IpNetwork> = claims.keys().copied().collect();
                    let seed = format!("{} {prefix} {attempt}", me.machine);
                    let Some(block) = blocks::free(*prefix, *length, &taken, &seed) else {
                        return Ok(Claimed::Full { prefix: *prefix });
                    };
                    block
                };
                match claims.get(&block).map(|held| &held.value) {
                    None => wanted.push(block),
                    Some(Ok(holder)) if holder == me => {}
                    Some(Ok(holder)) => return Ok(Claimed::Conflict { block, holder: holder.clone() }),
                    Some(Err(why)) => {
                        return Err(Error::Unreadable { key: self.keys.block(block), why: why.clone() });
                    }
                }
                own.push(block);
            }
            if wanted.is_empty() {
                return Ok(Claimed::Own(own));
            }
            let txn = wanted.iter().map(|block| self.keys.block(*block)).fold(Txn::new(), |txn, key| {
                let put = Operation::Put(Put::new(key.as_str(), value.as_slice()));
                txn.when(Condition::absent(key)).then(put)
            });
            match self.client.txn(txn).await {
                Ok(outcome) if outcome.succeeded => return Ok(Claimed::Own(own)),
                Ok(_) => tries.raced("claim a block")?,
                Err(error) => tries.lost(error)?,
            }
        }
        Err(Error::Busy("claim a block".to_owned()))
    }
}

/// The blocks that are a node's own.
pub(super) fn claims_of(
    claims: &BTreeMap<IpNetwork, Held<Claim>>,
    me: &Claim,
) -> impl Iterator<Item = IpNetwork> {
    claims.iter().filter(|(_, held)| held.value.as_ref() == Ok(me)).map(|(block, _)| *block)
}
