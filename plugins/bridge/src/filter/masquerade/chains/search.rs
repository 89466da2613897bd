//! Finding what masquerades an attachment, wherever iptables keeps it: without a program in `nf_tables`, and only where the
//! legacy variant has a table by its own.

use std::net::IpAddr;

use iptables::legacy_programs;
use nftables::{Chain, Clause, Rule, Selector, Socket};

use super::{BASE, TABLE, TABLES, source};
use crate::error::Result;

/// Whether a rule is for packets from one of some addresses; where none are given, from any.
pub(crate) fn is_from(rule: &Rule, addresses: &[IpAddr]) -> bool {
    let compares = |clause: &Clause, address: &IpAddr| match (clause, address) {
        (Clause::Compare { selector: Some(Selector::IpSaddr), bytes, .. }, IpAddr::V4(v4)) => {
            bytes[..] == v4.octets()
        }
        (Clause::Compare { selector: Some(Selector::Ip6Saddr), bytes, .. }, IpAddr::V6(v6)) => {
            bytes[..] == v6.octets()
        }
        _ => false,
    };
    addresses.is_empty()
        || addresses.iter().any(|address| rule.clauses.iter().any(|clause| compares(clause, address)))
}

/// Whether a rule gives packets the address of the host, as `nft` or iptables writes it.
pub(crate) fn masquerades(rule: &Rule) -> bool {
    rule.clauses.iter().any(|clause| match clause {
        Clause::Other(name) => name == "masq",
        Clause::Extension { name, .. } => name == "MASQUERADE",
        _ => false,
    })
}

/// Those of some addresses that a chain of `nf_tables` does not masquerade.
pub(crate) fn not_masqueraded(
    socket: &mut Socket,
    chain: &str,
    mut addresses: Vec<IpAddr>,
) -> Result<Vec<IpAddr>> {
    for table in TABLES {
        if addresses.is_empty() || !socket.rules(&Chain::new(table, chain))?.iter().any(masquerades) {
            continue;
        }
        let rules = socket.rules(&Chain::new(table, BASE))?;
        let leads = |address: &IpAddr| {
            rules.iter().any(|rule| rule.leads_to(chain) && is_from(rule, std::slice::from_ref(address)))
        };
        addresses.retain(|address| !leads(address));
    }
    Ok(addresses)
}

/// As [`not_masqueraded`], for what the legacy variant has.
pub(crate) fn not_masqueraded_by_legacy(chain: &str, mut addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>> {
    for program in legacy_programs(TABLE)? {
        let rules = program.rules(TABLE, chain)?.unwrap_or_default();
        if !rules.iter().any(|rule| rule.target() == Some("MASQUERADE")) {
            continue;
        }
        let base = program.rules(TABLE, BASE)?.unwrap_or_default();
        let leads = |rule: &iptables::Rule, address: &IpAddr| {
            rule.target() == Some(chain) && source(rule) == Some(*address)
        };
        addresses.retain(|address| !base.iter().any(|rule| leads(rule, address)));
    }
    Ok(addresses)
}
