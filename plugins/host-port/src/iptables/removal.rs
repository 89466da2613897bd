//! Taking the chains away again, wherever iptables keeps them and whichever program made them.
//!
//! The common chains go with the last container, though the reference keeps them: nothing is to be left behind.

use cni::{Attachment, ContainerId, NetworkName, reference};
use iptables::{Iptables, Transaction, legacy_programs};
use nftables::ledger::{self, Change, Removal};
use nftables::{Batch, Chain, Rule, Socket, Table};

use super::udp_ports::{by_rule, by_words};
use super::{DNAT, MASQ, SETMARK, TABLE, TABLES};
use crate::error::Error;
use crate::flows;
use crate::port::Port;

/// The built-in chains, and the common chain that a rule of each leads to.
const LEADING: [(&str, &str); 3] = [("PREROUTING", DNAT), ("OUTPUT", DNAT), ("POSTROUTING", MASQ)];
/// The common chains.
const COMMON: [&str; 3] = [DNAT, MASQ, SETMARK];
/// The attempts that remove the common chains as well. The kernel refuses that where another program has put them to use.
const WITH_COMMON: usize = 2;

/// Removes an attachment's chain from `nf_tables`, over netlink. Costs two questions where there is none.
pub(crate) fn del(rules: &mut Socket, attachment: &Attachment) -> Result<(), Error> {
    del_chain(rules, &reference::chain("DN-", &attachment.network, &attachment.container_id))
}

fn del_chain(rules: &mut Socket, name: &str) -> Result<(), Error> {
    let mut udp_ports: Vec<Port> = Vec::new();
    let mut removal = Removal::new(TABLES[0], |rules: &mut Socket, change: &mut Change| {
        udp_ports.clear();
        for table in TABLES {
            let (chain, base) = (Chain::new(table, name), Chain::new(table, DNAT));
            if !rules.has_chain(&chain)? {
                continue;
            }
            let entries = rules.rules(&base)?;
            let (own, others): (Vec<&Rule>, Vec<&Rule>) =
                entries.iter().partition(|rule| rule.leads_to(name));
            for rule in &own {
                change.batch.del_rule(&base, rule.handle);
            }
            udp_ports.extend(rules.rules(&chain)?.iter().filter_map(by_rule));
            change.batch.del_chain(&chain);
            // The common chains stay where another program uses them.
            if others.is_empty() && change.attempt < WITH_COMMON {
                del_common(rules, table, &mut change.batch)?;
            }
        }
        Ok(())
    });
    ledger::put::<Error>(rules, &mut [&mut removal])?;
    flows::forget_published(rules, &udp_ports)
}

fn del_common(rules: &mut Socket, table: Table, batch: &mut Batch) -> Result<(), Error> {
    for (base, target) in LEADING {
        let base = Chain::new(table, base);
        for rule in rules.rules(&base)?.iter().filter(|rule| rule.leads_to(target)) {
            batch.del_rule(&base, rule.handle);
        }
    }
    for name in COMMON {
        let chain = Chain::new(table, name);
        if rules.has_chain(&chain)? {
            batch.del_chain(&chain);
        }
    }
    Ok(())
}

/// As [`del`], for what the legacy variant has: by its program, which is only started where it has the table.
pub(crate) fn del_legacy(attachment: &Attachment) -> Result<(), Error> {
    let chain = reference::chain("DN-", &attachment.network, &attachment.container_id);
    for program in legacy_programs(TABLE)? {
        del_by_program(&program, &chain)?;
    }
    Ok(())
}

fn del_by_program(program: &Iptables, chain: &str) -> Result<(), Error> {
    let mut udp_ports: Vec<Port> = Vec::new();
    program.put(|attempt| {
        let Some(rules) = program.rules(TABLE, chain)? else { return Ok::<_, Error>(None) };
        udp_ports = rules.iter().filter_map(by_words).collect();
        let entries = program.rules(TABLE, DNAT)?.unwrap_or_default();
        let (own, others): (Vec<_>, Vec<_>) = entries.iter().partition(|rule| rule.target() == Some(chain));
        let mut change = Transaction::new(TABLE);
        for rule in own {
            change.delete_rule(rule);
        }
        change.flush_chain(chain).del_chain(chain);
        if others.is_empty() && attempt < WITH_COMMON {
            for (base, target) in LEADING {
                let rules = program.rules(TABLE, base)?.unwrap_or_default();
                for rule in rules.iter().filter(|rule| rule.target() == Some(target)) {
                    change.delete_rule(rule);
                }
            }
            for name in COMMON {
                if program.rules(TABLE, name)?.is_some() {
                    change.flush_chain(name).del_chain(name);
                }
            }
        }
        Ok(Some(change))
    })?;
    if udp_ports.is_empty() { Ok(()) } else { flows::forget_published(&mut Socket::open()?, &udp_ports) }
}

/// Removes the chains of a network's containers that are not valid any more. Whose a chain is stands in the comment of
/// the rules that lead to it.
pub(crate) fn gc(
    rules: Option<&mut Socket>,
    network: &NetworkName,
    valid: &[&ContainerId],
) -> Result<(), Error> {
    let is_stale = |chain: &str, comment: &str| {
        reference::container("dnat ", "DN-", network, chain, comment).is_some_and(|id| !valid.contains(&&id))
    };
    if let Some(rules) = rules {
        for table in TABLES {
            for (chain, comment) in rules.entries(&Chain::new(table, DNAT))? {
                if is_stale(&chain, &comment) {
                    del_chain(rules, &chain)?;
                }
            }
        }
    }
    for program in legacy_programs(TABLE)? {
        for (chain, comment) in program.entries(TABLE, DNAT)? {
            if is_stale(&chain, &comment) {
                del_by_program(&program, &chain)?;
            }
        }
    }
    Ok(())
}
