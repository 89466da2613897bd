//! What an attachment has published by another backend than the one that is in use now: by chains of iptables, of this
//! program or of the reference, in either variant, or in the reference's tables of nftables. A node that was moved under
//! running containers has these until each of them ends; they serve as well as our own.

use cni::{Attachment, reference as names};
use iptables::{Iptables, Variant};
use nftables::{Chain, Socket, Table};

use crate::backend::{Place, Wanted};
use crate::container::Container;
use crate::error::Error;
use crate::iptables::names::TABLE;
use crate::iptables::removal as chains;
use crate::iptables::{check as chains_check, taken};
use crate::nftables::check::localhost_of_chains;
use crate::port::Port;
use crate::reference_tables;

/// The places where an attachment has ports on a container's addresses; `framed` are the tables of nftables that have
/// chains of that kind at all. Where there are none, that takes one question a family; a program is started only where the
/// legacy variant has rules.
pub(crate) fn places(
    rules: Option<&mut Socket>,
    framed: &[Table],
    attachment: &Attachment,
    container: &Container,
) -> Result<Vec<Place>, Error> {
    let mut places = Vec::new();
    let chain = names::chain("DN-", &attachment.network, &attachment.container_id);
    if let Some(rules) = rules {
        for table in framed {
            if rules.has_chain(&Chain::new(*table, &chain))? {
                places.push(Place::Chains(Variant::Nft));
                break;
            }
        }
        if reference_tables::has(rules, &attachment.container_id, &container.addresses)? {
            places.push(Place::Tables);
        }
    }
    for program in programs(container)? {
        if program.rules(TABLE, &chain)?.is_some() {
            places.push(Place::Chains(Variant::Legacy));
            break;
        }
    }
    Ok(places)
}

/// The same for the backend of iptables, without the place where that keeps its own.
pub(crate) fn others(
    mut rules: Option<&mut Socket>,
    attachment: &Attachment,
    container: &Container,
) -> Result<Vec<Place>, Error> {
    let framed = match rules.as_deref_mut() {
        Some(rules) => taken::framed(rules, &container.addresses)?,
        None => Vec::new(),
    };
    let mut places = places(rules, &framed, attachment, container)?;
    if places.iter().any(|place| matches!(place, Place::Chains(_))) {
        let chosen = Iptables::find(iptables::Family::V4)?.variant()?;
        places.retain(|place| *place != Place::Chains(chosen));
    }
    Ok(places)
}

/// The programs of the legacy variant for the container's families.
fn programs(container: &Container) -> Result<Vec<Iptables>, Error> {
    let mut programs = Vec::new();
    for family in iptables::Family::ALL {
        let is_v4 = family == iptables::Family::V4;
        if container.addresses.iter().any(|address| address.is_ipv4() == is_v4) {
            programs.extend(iptables::legacy_program(family, TABLE)?);
        }
    }
    Ok(programs)
}

/// Whether the ports work by one of these places; if not, what is missing there.
pub(crate) fn check(mut rules: Option<&mut Socket>, places: &[Place], wanted: &Wanted) -> Result<(), Error> {
    let ports = wanted.ports()?;
    let mut outcome = Ok(());
    for place in places {
        outcome = check_at(rules.as_deref_mut(), *place, wanted, &ports);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

fn check_at(
    mut rules: Option<&mut Socket>,
    place: Place,
    wanted: &Wanted,
    ports: &[Port],
) -> Result<(), Error> {
    let Wanted { attachment, conf, container } = wanted;
    match (place, rules.as_deref_mut()) {
        (Place::Chains(variant), _) => {
            chains_check::check(attachment, conf, container, ports, Some(variant))?;
        }
        (Place::Tables, Some(rules)) => {
            reference_tables::check(rules, &attachment.container_id, &container.addresses, ports, conf.snat)?;
        }
        (Place::Tables, None) => {}
    }
    localhost_of_chains(rules, attachment, conf, container)
}

/// Removes what an attachment has in these places.
pub(crate) fn remove(
    mut rules: Option<&mut Socket>,
    places: &[Place],
    Wanted { attachment, container, .. }: &Wanted,
) -> Result<(), Error> {
    for place in places {
        match (place, rules.as_deref_mut()) {
            (Place::Chains(Variant::Nft), Some(rules)) => chains::del(rules, attachment)?,
            (Place::Chains(_), _) => chains::del_legacy(attachment)?,
            (Place::Tables, Some(rules)) => {
                reference_tables::del_of(rules, &attachment.container_id, &container.addresses)?;
            }
            (Place::Tables, None) => {}
        }
    }
    Ok(())
}
