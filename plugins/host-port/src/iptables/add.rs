//! ADD: the rules of a container, by one start of `iptables-restore` a family.

use iptables::{Iptables, Rule, Transaction};
use nftables::Socket;

use super::conflict;
use super::layout::{Layout, is_like};
use super::{DNAT, TABLE, TABLES};
use crate::backend::Wanted;
use crate::error::Error;

/// Refuses what this backend has no way to do for a container.
pub(crate) fn refuse_unsupported(wanted: &Wanted) -> Result<(), Error> {
    let has_ipv6 = wanted.container.addresses.iter().any(ipnetwork::IpNetwork::is_ipv6);
    for mapping in &wanted.conf.mappings {
        if mapping.host_port.is_none() {
            let cure = "name a host port, or use \"backend\": \"nftables\"";
            return Err(Error::Unsupported("hostPort 0", cure));
        }
        if has_ipv6 && mapping.host_ip.is_some_and(|ip| ip.is_ipv6() && ip.is_loopback()) {
            let cure = "use 127.0.0.1, or \"backend\": \"nftables\"";
            return Err(Error::Unsupported("hostIP ::1", cure));
        }
    }
    Ok(())
}

/// Sets the rules up. What a failure leaves is for the caller to undo.
pub(crate) fn add(rules: Option<&mut Socket>, wanted: &Wanted) -> Result<(), Error> {
    let layouts = Layout::of_families(wanted)?;
    // Most nodes have the common chains by now: to see that costs no program where they are in nf_tables.
    let has_common_chains = match rules {
        Some(rules) => rules.has_chain(&nftables::Chain::new(TABLES[0], DNAT))?,
        None => false,
    };
    for layout in &layouts {
        let program = Iptables::find(layout.family)?;
        program.put(|attempt| match attempt {
            0 if has_common_chains => Ok(Some(layout.container())),
            0 => missing(layout, |_| Ok(None)).map(Some),
            _ => missing(layout, |chain| program.rules(TABLE, chain)).map(Some),
        })?;
    }
    if wanted.conf.iptables.conditions_v4.is_empty() && wanted.conf.iptables.conditions_v6.is_empty() {
        layouts.iter().try_for_each(conflict::check)?;
    }
    Ok(())
}

/// What is missing beside the rules that the chains have; `None` is no such chain.
fn missing(
    layout: &Layout,
    rules_of: impl Fn(&str) -> iptables::Result<Option<Vec<Rule>>>,
) -> Result<Transaction, Error> {
    let mut change = Transaction::new(TABLE);
    for chain in layout.chains() {
        if rules_of(chain)?.is_none() {
            change.new_chain(chain);
        }
    }
    for (chain, words, at_head) in layout.common_rules() {
        let there = rules_of(chain)?.unwrap_or_default();
        if there.iter().any(|rule| is_like(rule, &words)) {
            continue;
        }
        if at_head {
            change.insert(chain, &words)
        } else {
            change.append(chain, &words)
        };
    }
    // Rules that an earlier container with this ID left for the same ports go.
    let base = rules_of(DNAT)?.unwrap_or_default();
    for rule in base.iter().filter(|rule| rule.target() == Some(&layout.chain) && layout.replaces(rule)) {
        change.delete_rule(rule);
    }
    let own = rules_of(&layout.chain)?.unwrap_or_default();
    for rule in own.iter().filter(|rule| layout.replaces(rule)) {
        change.delete_rule(rule);
    }
    layout.append(&mut change);
    Ok(change)
}
