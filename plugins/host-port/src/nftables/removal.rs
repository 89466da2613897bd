//! DEL and GC in the table: removes what an attachment has, by its owner record, and what nothing needs after that.

use cni::{Attachment, ContainerId, IfName, NetworkName};
use nftables::ledger::{self, Change, Entry};
use nftables::{Chain, Socket, Table};

use super::holdings::{self, Holdings};
use super::owner::Owner;
use super::owner_record as record;
use super::place::Place;
use super::table::{NETWORKS, OWNERS, TABLE};
use super::{localhost, names, standby};
use crate::error::Error;
use crate::flows;

/// Removes all that an attachment has in the table, and says whether it had ports there. Where it has nothing, a DEL before
/// this one may have been killed after its transaction, and what that left is removed; where there is no table,
/// somebody may have flushed it.
pub(crate) fn detach(rules: &mut Socket, attachment: &Attachment, asked: bool) -> Result<bool, Error> {
    let owner = Owner::of(attachment);
    if let Some(record) = rules.get_element(&OWNERS, &[owner.key()?])? {
        remove(rules, &owner, &[])?;
        return Ok(record::has_ports(&record));
    }
    if rules.has_table(&TABLE)? {
        sweep(rules, &attachment.network)?;
    } else if asked {
        localhost::forget(rules)?;
    }
    Ok(false)
}

/// Removes all that an owner has, and what it has of the places `also`. Nothing there is nothing to do.
pub(crate) fn remove(rules: &mut Socket, owner: &Owner, also: &[Place]) -> Result<(), Error> {
    let mut removal = Removal { owner, also, holdings: None };
    ledger::put(rules, &mut [&mut removal])?;
    let Some(holdings) = removal.holdings else { return Ok(()) };
    if let Some(chain) = &holdings.chain {
        release(rules, chain, &holdings.locals)?;
    }
    flows::forget_published(rules, &holdings.ports)
}

struct Removal<'a> {
    owner: &'a Owner,
    also: &'a [Place],
    holdings: Option<Holdings>,
}

/// How many attempts ask for the ruleset as it was read.
const INSISTING: usize = 25;

impl Entry<Error> for Removal<'_> {
    fn table(&self) -> Table<'static> {
        TABLE
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn prepare(&mut self, rules: &mut Socket, change: &mut Change) -> Result<(), Error> {
        // What was read must still hold: a key may be given to another container in between. That takes a container
        // which has gone, so where the ruleset never rests, DEL rather goes on than fails.
        if change.attempt < INSISTING {
            change.needs_ruleset_as_read();
        }
        self.holdings = holdings::recall(rules, self.owner, self.also)?;
        let Some(holdings) = &self.holdings else { return Ok(()) };
        for (map, key) in &holdings.places {
            change.batch.del_element(map, key);
        }
        if holdings.chain.is_some() {
            change.batch.del_element(&OWNERS, &[self.owner.key()?]);
        }
        standby::hand_over(rules, &mut change.batch, self.owner, holdings)
    }
}

/// GC: removes what a network's attachments have that are not valid any more, and the chains that a killed process left.
pub(crate) fn gc(rules: &mut Socket, network: &NetworkName, valid: Vec<(ContainerId, IfName)>) -> Vec<Error> {
    let attachment = |(container_id, ifname)| Attachment { network: network.clone(), container_id, ifname };
    let valid: Vec<Owner> = valid.into_iter().map(|one| Owner::of(&attachment(one))).collect();
    let mut errors = Vec::new();
    match owners(rules, network) {
        Ok(owners) => {
            for owner in owners.iter().filter(|owner| !valid.contains(owner)) {
                errors.extend(remove(rules, owner, &[]).err());
            }
        }
        Err(error) => errors.push(error),
    }
    let swept = rules
        .has_table(&TABLE)
        .map_err(Error::from)
        .and_then(|has_table| if has_table { sweep(rules, network) } else { localhost::forget(rules) });
    errors.extend(swept.err());
    errors
}

/// The owners of a network.
fn owners(rules: &mut Socket, network: &NetworkName) -> Result<Vec<Owner>, Error> {
    let prefix = names::chain_prefix(network);
    let elements = rules.elements(&OWNERS)?;
    Ok(elements
        .iter()
        .filter(|element| record::chain(element).is_some_and(|chain| chain.starts_with(&prefix)))
        .filter_map(|element| Owner::from_key(&element.key))
        .collect())
}

/// Removes chains that nothing leads to.
fn sweep(rules: &mut Socket, network: &NetworkName) -> Result<(), Error> {
    let prefix = names::chain_prefix(network);
    let chains = rules.chain_names(&TABLE)?;
    for chain in chains.iter().filter(|chain| chain.starts_with(&prefix)) {
        rules.del_unused_chain(&Chain::new(TABLE, chain))?;
    }
    for interface in chains.iter().filter_map(|chain| names::local_interface(chain)) {
        localhost::release(rules, interface)?;
    }
    if !chains.is_empty() {
        del_unused_table(rules)?;
    }
    Ok(())
}

/// Removes a network's chain, its interfaces', and the table, as far as no owner needs them any more.
fn release(socket: &mut Socket, chain: &str, locals: &[String]) -> Result<(), Error> {
    if socket.del_unused_chain(&Chain::new(TABLE, chain))? {
        for interface in locals {
            localhost::release(socket, interface)?;
        }
        del_unused_table(socket)?;
    }
    Ok(())
}

/// Removes the table unless a network or an interface needs it.
fn del_unused_table(socket: &mut Socket) -> Result<(), Error> {
    // After `nft flush table` no rule refers to the chain any more, but the owners remain.
    if !socket.is_referenced(&NETWORKS)? && socket.elements(&OWNERS)?.is_empty() {
        socket.del_unused_table(&NETWORKS)?;
    }
    Ok(())
}
