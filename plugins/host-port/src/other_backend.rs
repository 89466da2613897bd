//! What an attachment has published by another backend than the one that is in use now: by chains of iptables, of this
//! program or of the reference, in either variant, or in the reference's tables of nftables. A node that was moved under
//! running containers has these until each of them ends. They work as well as our own.

use cni::reference as names;
use iptables::{Family, Iptables, Variant};
use nftables::{Chain, Socket, Table};

use crate::backend::{Other, Wanted};
use crate::error::Error;
use crate::iptables::TABLE;
use crate::iptables::removal as chains;
use crate::iptables::{check as chains_check, taken};
use crate::nftables::check::localhost_by_iptables;
use crate::reference_tables;

/// The backends by which an attachment has ports on its container's addresses, the table excepted; `nat_tables` are the tables of
/// nftables that have chains of iptables at all. Where there are none, that takes one question a family; a program is started
/// only where the legacy variant has rules.
pub(crate) fn find(
    rules: Option<&mut Socket>,
    nat_tables: &[Table],
    wanted: &Wanted,
) -> Result<Vec<Other>, Error> {
    let mut others = Vec::new();
    let chain = names::chain("DN-", &wanted.attachment.network, &wanted.attachment.container_id);
    if let Some(rules) = rules {
        for table in nat_tables {
            if rules.has_chain(&Chain::new(*table, &chain))? {
                others.push(Other::Iptables(Variant::Nft));
                break;
            }
        }
        if reference_tables::has(rules, wanted)? {
            others.push(Other::ReferenceTables);
        }
    }
    for family in Family::ALL {
        let is_of_family = |ip: &ipnetwork::IpNetwork| ip.is_ipv4() == (family == Family::V4);
        if wanted.container.addresses.iter().any(is_of_family)
            && let Some(program) = iptables::legacy_program(family, TABLE)?
            && program.rules(TABLE, &chain)?.is_some()
        {
            others.push(Other::Iptables(Variant::Legacy));
            break;
        }
    }
    Ok(others)
}

/// The same for the backend of iptables, without the variant that it uses itself.
pub(crate) fn others(mut rules: Option<&mut Socket>, wanted: &Wanted) -> Result<Vec<Other>, Error> {
    let nat_tables = match rules.as_deref_mut() {
        Some(rules) => taken::nat_tables(rules, &wanted.container.addresses)?,
        None => Vec::new(),
    };
    let mut others = find(rules, &nat_tables, wanted)?;
    if others.iter().any(|other| matches!(other, Other::Iptables(_))) {
        let chosen = Iptables::find(Family::V4)?.variant()?;
        others.retain(|other| *other != Other::Iptables(chosen));
    }
    Ok(others)
}

/// Whether the ports work by one of these backends; if not, what is missing there.
pub(crate) fn check(mut rules: Option<&mut Socket>, others: &[Other], wanted: &Wanted) -> Result<(), Error> {
    let mut outcome = Ok(());
    for other in others {
        outcome = match (other, rules.as_deref_mut()) {
            (Other::Iptables(variant), _) => chains_check::check(wanted, Some(*variant)),
            (Other::ReferenceTables, Some(rules)) => reference_tables::check(rules, wanted),
            (Other::ReferenceTables, None) => Ok(()),
        };
        outcome = outcome.and_then(|()| localhost_by_iptables(rules.as_deref_mut(), wanted));
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Removes what an attachment has by these backends.
pub(crate) fn remove(mut rules: Option<&mut Socket>, others: &[Other], wanted: &Wanted) -> Result<(), Error> {
    for other in others {
        match (other, rules.as_deref_mut()) {
            (Other::Iptables(Variant::Nft), Some(rules)) => chains::del(rules, wanted.attachment)?,
            (Other::Iptables(_), _) => chains::del_legacy(wanted.attachment)?,
            (Other::ReferenceTables, Some(rules)) => reference_tables::del_of(rules, wanted)?,
            (Other::ReferenceTables, None) => {}
        }
    }
    Ok(())
}
