//! DEL and GC in the table: removes what an attachment has, by its owner record, and what nothing needs after that.

use cni::{Attachment, ContainerId, IfName, NetworkName};
use nftables::ledger::{self, Change, Entry};
use nftables::{Chain, Socket, Table};

use super::holdings::{self, Holdings};
use super::owner::Owner;
use super::owner_record::{Record, chain};
use super::place::Place;
use super::table::{NETWORKS, OWNERS, TABLE};
use super::{localhost, names, standby};
use crate::error::Error;
use crate::flows;

/// Removes all that an attachment has in the table, and says whether it had ports there. Where it has nothing, an earlier DEL may
/// have been killed after its transaction, and what that left is removed.
pub(crate) fn detach(rules: &mut Socket, attachment: &Attachment, asked: bool) -> Result<bool, Error> {
    let owner = Owner::of(attachment);
    if let Some(record) = Record::find(rules, &owner)? {
        remove(rules, &owner, &[])?;
        return Ok(record.has_ports());
    }
    sweep_or_forget(rules, &attachment.network, asked)?;
    Ok(false)
}

/// Removes all that an owner has, and what it has of the places `also`. Nothing there is nothing to do.
pub(crate) fn remove(rules: &mut Socket, owner: &Owner, also: &[Place]) -> Result<(), Error> {
    let mut removal = Removal { owner, also, holdings: None };
    ledger::put(rules, &mut [&mut removal])?;
    let Some(holdings) = removal.holdings else { return Ok(()) };
    if let Some(record) = &holdings.record {
        release(rules, record)?;
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
        // What was read must still hold: a key may be given to another container in between. That happens only after this
        // container has gone, so where the ruleset keeps changing, DEL goes on rather than fail.
        if change.attempt < INSISTING {
            change.needs_ruleset_as_read();
        }
        self.holdings = holdings::recall(rules, self.owner, self.also)?;
        let Some(holdings) = &self.holdings else { return Ok(()) };
        for (map, key) in &holdings.places {
            change.batch.del_element(map, key);
        }
        if holdings.record.is_some() {
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
            let stale = owners.iter().filter(|owner| !valid.contains(owner));
            errors.extend(stale.filter_map(|owner| remove(rules, owner, &[]).err()));
        }
        Err(error) => errors.push(error),
    }
    errors.extend(sweep_or_forget(rules, network, true).err());
    errors
}

/// The owners of a network.
fn owners(rules: &mut Socket, network: &NetworkName) -> Result<Vec<Owner>, Error> {
    let prefix = names::chain_prefix(network);
    let mut elements = rules.elements(&OWNERS)?;
    elements.retain(|element| chain(element).is_some_and(|chain| chain.starts_with(&prefix)));
    Ok(elements.iter().filter_map(|element| Owner::from_key(&element.key)).collect())
}

/// Sweeps the table. Where there is none, it may have been flushed, and local routes be left.
fn sweep_or_forget(rules: &mut Socket, network: &NetworkName, forget: bool) -> Result<(), Error> {
    if rules.has_table(&TABLE)? {
        sweep(rules, network)
    } else if forget {
        localhost::forget(rules)
    } else {
        Ok(())
    }
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
fn release(socket: &mut Socket, record: &Record) -> Result<(), Error> {
    if socket.del_unused_chain(&Chain::new(TABLE, &record.chain))? {
        for interface in record.locals() {
            localhost::release(socket, &interface)?;
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
