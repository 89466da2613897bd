//! ADD: the rules of a container, by one start of `iptables-restore` a family.

use iptables::{Iptables, Transaction};
use nftables::Socket;

use super::conflict;
use super::layout::{Layout, is_like};
use super::names::{DNAT, TABLE, TABLES};
use crate::conf::Conf;
use crate::container::Container;
use crate::error::Error;
use crate::port::Port;

/// Refuses what this backend has no way to do for a container.
pub(crate) fn refuse_unsupported(conf: &Conf, container: &Container) -> Result<(), Error> {
    let has_ipv6 = container.addresses.iter().any(ipnetwork::IpNetwork::is_ipv6);
    for mapping in &conf.mappings {
        if mapping.host_port.is_none() {
            return Err(Error::Unsupported {
                key: "hostPort 0",
                cure: "name a host port, or use \"backend\": \"nftables\"",
            });
        }
        if has_ipv6 && mapping.host_ip.is_some_and(|ip| ip.is_ipv6() && ip.is_loopback()) {
            return Err(Error::Unsupported {
                key: "hostIP ::1",
                cure: "use 127.0.0.1, or \"backend\": \"nftables\"",
            });
        }
    }
    Ok(())
}

/// Sets the rules up. What a failure leaves is for the caller to undo.
pub(crate) fn add(
    rules: Option<&mut Socket>,
    attachment: &cni::Attachment,
    conf: &Conf,
    container: &Container,
    ports: &[Port],
) -> Result<(), Error> {
    let layouts = Layout::of_families(attachment, conf, &container.addresses, ports);
    // Most nodes have the common chains by now: to see that costs no program where they are in nf_tables.
    let mut has_frame = false;
    if let Some(rules) = rules {
        let chain = nftables::Chain::new(TABLES[0], DNAT);
        has_frame = rules.has_chain(&chain)?;
    }
    for layout in &layouts {
        commit(layout, has_frame)?;
    }
    if conf.chains.conditions_v4.is_empty() && conf.chains.conditions_v6.is_empty() {
        for layout in &layouts {
            conflict::check(layout)?;
        }
    }
    Ok(())
}

fn commit(layout: &Layout, has_frame: bool) -> Result<(), Error> {
    let program = Iptables::find(layout.family)?;
    program.put(|attempt| {
        Ok(Some(match attempt {
            0 if has_frame => layout.container(),
            0 => layout.everything(),
            _ => missing(layout, &program)?,
        }))
    })
}

/// What is missing beside what is there.
fn missing(layout: &Layout, program: &Iptables) -> Result<Transaction, Error> {
    let mut change = Transaction::new(TABLE);
    for chain in layout.chains() {
        if program.rules(TABLE, chain)?.is_none() {
            change.new_chain(chain);
        }
    }
    for (chain, words, at_head) in layout.frame() {
        let there = program.rules(TABLE, chain)?.unwrap_or_default();
        if !there.iter().any(|rule| is_like(rule, &words)) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            if at_head {
                change.insert(chain, &words)
            } else {
                change.append(chain, &words)
            };
        }
    }
    // What an earlier life of the container left for the same ports goes.
    let base = program.rules(TABLE, DNAT)?.unwrap_or_default();
    for rule in base.iter().filter(|rule| layout.replaces_entry(rule)) {
        change.delete_rule(rule);
    }
    let own = program.rules(TABLE, &layout.chain)?.unwrap_or_default();
    for rule in own.iter().filter(|rule| layout.replaces(rule)) {
        change.delete_rule(rule);
    }
    layout.append(&mut change);
    Ok(change)
}
