//! DEL and GC: removes what an attachment has, by what the table itself remembers.

use cni::{Attachment, ContainerId, IfName, NetworkName};
use nftables::{Batch, Chain, Socket};

use crate::error::Error;
use crate::holder::Owner;
use crate::memory::{self, Holdings, Place};
use crate::publish::TRIES;
use crate::ruleset::{self, OWNERS, TABLE};
use crate::{flows, localhost, names};

/// DEL: removes all that an attachment has. Where it has nothing, a DEL before this one may have been killed behind its
/// transaction, and what that left is removed.
pub(crate) fn detach(rules: &mut Socket, attachment: &Attachment) -> Result<(), Error> {
    let owner = Owner::of(attachment);
    if rules.get_element(&OWNERS, &[owner.key()?])?.is_some() {
        return remove(rules, &owner, &[]);
    }
    if rules.has_table(&TABLE)? { sweep(rules, &attachment.network) } else { Ok(()) }
}

/// Removes all that an owner has, and what it has of the places `also`. Nothing there is nothing to do.
pub(crate) fn remove(rules: &mut Socket, owner: &Owner, also: &[Place]) -> Result<(), Error> {
    for attempt in 0..TRIES {
        let generation = rules.generation()?;
        let Some(holdings) = memory::recall(rules, owner, also)? else {
            return Ok(());
        };
        let mut batch = batch(owner, &holdings)?;
        // What was read must still hold: a key may be given to another container in between. That takes a container
        // which has gone, so where the ruleset never rests, DEL rather goes on than fails.
        let outcome =
            if attempt < TRIES / 2 { batch.commit_at(rules, generation) } else { batch.commit(rules) };
        match outcome {
            Ok(()) => {
                if let Some(chain) = &holdings.chain {
                    ruleset::release(rules, chain, &holdings.locals)?;
                }
                return flows::forget_published(rules, &holdings.ports);
            }
            Err(error) if error.is_restart() || error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Contended("remove ports"))
}

fn batch(owner: &Owner, holdings: &Holdings) -> Result<Batch, Error> {
    let mut batch = Batch::new();
    for (map, key) in &holdings.places {
        batch.del_element(map, key);
    }
    if holdings.chain.is_some() {
        batch.del_element(&OWNERS, &[owner.key()?]);
    }
    Ok(batch)
}

/// Removes what a network's attachments have that are not valid any more, and the chains that a killed process left.
pub(crate) fn collect(
    rules: &mut Socket,
    network: &NetworkName,
    valid: Vec<(ContainerId, IfName)>,
) -> Vec<Error> {
    let valid: Vec<Owner> = valid
        .into_iter()
        .map(|(container_id, ifname)| {
            Owner::of(&Attachment { network: network.clone(), container_id, ifname })
        })
        .collect();
    let mut errors = Vec::new();
    match owners(rules, network) {
        Ok(owners) => {
            for owner in owners.iter().filter(|owner| !valid.contains(owner)) {
                errors.extend(remove(rules, owner, &[]).err());
            }
        }
        Err(error) => errors.push(error),
    }
    errors.extend(sweep(rules, network).err());
    errors
}

/// The owners of a network.
fn owners(rules: &mut Socket, network: &NetworkName) -> Result<Vec<Owner>, Error> {
    let prefix = names::chain_prefix(network);
    let elements = rules.elements(&OWNERS)?;
    Ok(elements
        .iter()
        .filter(|element| memory::chain(element).is_some_and(|chain| chain.starts_with(&prefix)))
        .filter_map(|element| Owner::from_key(&element.key))
        .collect())
}

/// Removes chains that nothing leads to.
fn sweep(rules: &mut Socket, network: &NetworkName) -> Result<(), Error> {
    let prefix = names::chain_prefix(network);
    let chains = rules.chains(&TABLE)?;
    for chain in chains.iter().filter(|chain| chain.starts_with(&prefix)) {
        rules.del_unused_chain(&Chain::new(TABLE, chain))?;
    }
    for interface in chains.iter().filter_map(|chain| names::local_interface(chain)) {
        localhost::release(rules, interface)?;
    }
    if !chains.is_empty() {
        ruleset::del_unused_table(rules)?;
    }
    Ok(())
}
