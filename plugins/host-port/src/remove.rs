//! DEL and GC: removes what an attachment has, by what the table itself remembers.

use cni::{Attachment, Conf, ContainerId, IfName, NetworkName, case_blind, links};
use netlink::NsidsWithProcesses;
use nftables::{Batch, Chain, Socket};
use serde_json::Value;

use crate::error::Error;
use crate::holder::Owner;
use crate::memory::{self, Holdings, Place};
use crate::publish::TRIES;
use crate::ruleset::{self, OWNERS, TABLE};
use crate::{chains, flows, localhost, names, reference, spare};

/// Whether the runtime tells of ports. A configuration that cannot be read keeps no DEL from anything.
pub(crate) fn are_ports_asked_for(conf: &Conf) -> bool {
    let runtime = case_blind::get(conf.raw(), "runtimeConfig").and_then(Value::as_object);
    let mappings = runtime.and_then(|runtime| case_blind::get(runtime, "portMappings"));
    mappings.and_then(Value::as_array).is_some_and(|mappings| !mappings.is_empty())
}

/// DEL: removes all that an attachment has, whichever backend or program made it, past errors. `rules` is missing where
/// the kernel has no nftables; `asked` says whether ports were asked for.
pub(crate) fn everything(rules: Option<&mut Socket>, attachment: &Attachment, asked: bool) -> Vec<Error> {
    let Some(rules) = rules else {
        return chains::del_legacy(attachment).err().into_iter().collect();
    };
    let had_ports = detach(rules, attachment, asked);
    // Who has ports in the table has no legacy chains: only for these a program would be started.
    let may_be_legacy = !matches!(had_ports, Ok(true));
    let outcomes = [
        had_ports.map(drop),
        chains::del(rules, attachment),
        reference::del(rules, &attachment.container_id),
        if may_be_legacy { chains::del_legacy(attachment) } else { Ok(()) },
    ];
    outcomes.into_iter().filter_map(Result::err).collect()
}

/// Removes all that an attachment has in the table, and says whether it had ports there. Where it has nothing, a DEL before
/// this one may have been killed behind its transaction, and what that left is removed; where there is no table,
/// somebody may have flushed it.
fn detach(rules: &mut Socket, attachment: &Attachment, asked: bool) -> Result<bool, Error> {
    let owner = Owner::of(attachment);
    if let Some(memory) = rules.get_element(&OWNERS, &[owner.key()?])? {
        remove(rules, &owner, &[])?;
        return Ok(memory::has_ports(&memory));
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
    for attempt in 0..TRIES {
        let generation = rules.generation()?;
        let Some(holdings) = memory::recall(rules, owner, also)? else {
            return Ok(());
        };
        let mut batch = batch(owner, &holdings)?;
        spare::hand_over(rules, &mut batch, owner, &holdings)?;
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
            Err(error) if error.is_restart() || error.is_not_found() || error.is_exists() => {}
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
    mut rules: Option<&mut Socket>,
    network: &NetworkName,
    valid: Vec<(ContainerId, IfName)>,
) -> Vec<Error> {
    let ids: Vec<&ContainerId> = valid.iter().map(|(id, _)| id).collect();
    let mut errors: Vec<Error> = chains::gc(rules.as_deref_mut(), network, &ids).err().into_iter().collect();
    let Some(rules) = rules else { return errors };
    let valid: Vec<Owner> = valid
        .into_iter()
        .map(|(container_id, ifname)| {
            Owner::of(&Attachment { network: network.clone(), container_id, ifname })
        })
        .collect();
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

/// The attachments of a network whose container has a process, by the links that lead there: a runtime's list of what is valid
/// is its own, and another one may have containers on a network of this name.
pub(crate) fn inhabited(network: &NetworkName) -> Result<Vec<(ContainerId, IfName)>, Error> {
    let mut socket = netlink::Socket::open()?;
    let attachment = |link: &netlink::Link| links::attachment_of(network, &link.name, link.alias.as_deref());
    let mut all: Vec<_> =
        socket.links()?.into_iter().filter_map(|link| attachment(&link).map(|found| (link, found))).collect();
    if !all.is_empty() {
        let inhabited = NsidsWithProcesses::read(&mut socket)?;
        all.retain(|(link, _)| inhabited.is_behind(link));
    }
    Ok(all.into_iter().map(|(_, found)| (found.container_id, found.ifname)).collect())
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
    let chains = rules.chain_names(&TABLE)?;
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
