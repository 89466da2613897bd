//! Whether another container's rule takes a port first.
//!
//! Transactions are carried out one after another, and the kernel takes the first rule that matches: so of all that add a
//! rule for one port at the same time, exactly one finds none before its own.

use cni::ContainerId;
use iptables::{Iptables, Rule};

use super::layout::{Layout, names_port};
use super::{DNAT, TABLE};
use crate::error::Error;
use crate::port::Port;

/// Fails where another container had a port before, and names it.
pub(super) fn check(layout: &Layout) -> Result<(), Error> {
    let program = Iptables::find(layout.family)?;
    let entries = program.rules(TABLE, DNAT)?.unwrap_or_default();
    for port in &layout.ports {
        for entry in entries.iter().take_while(|rule| rule.target() != Some(&layout.chain)) {
            let comment = entry.comment().unwrap_or_default();
            if !names_port(entry, port) || has_conditions(entry) || is_of(comment, &layout.container_id) {
                continue;
            }
            let chain = entry.target().unwrap_or_default();
            let rules = program.rules(TABLE, chain)?.unwrap_or_default();
            if rules.iter().any(|rule| takes(rule, port)) {
                return Err(Error::Taken { port: *port, holder: holder(comment, chain) });
            }
        }
    }
    Ok(())
}

/// Whether a rule of a container's chain is for a port, on every address of the host or on the same.
fn takes(rule: &Rule, port: &Port) -> bool {
    let to = rule.option("-d").and_then(|to| to.split('/').next());
    let is_elsewhere = port.host_ip.is_some_and(|ip| to.is_some_and(|to| to != ip.to_string()));
    rule.target() == Some("DNAT") && names_port(rule, port) && !is_elsewhere
}

/// Whether an entry has words that the reference writes for no port: then it takes some packets only.
fn has_conditions(entry: &Rule) -> bool {
    let known = ["-p", "-m", "--comment", "--dports", "-j"];
    entry.words().iter().step_by(2).any(|word| !known.contains(&word.as_str()))
}

/// Whether a comment is that of the container, by any of its networks: podman asks for its ports on each of them.
pub(super) fn is_of(comment: &str, container_id: &ContainerId) -> bool {
    comment.ends_with(&format!(" id: \"{container_id}\""))
}

/// The container that has a chain, by the comment `dnat name: "net" id: "web"` of what leads there, as other refusals write it.
pub(super) fn holder(comment: &str, chain: &str) -> String {
    let named = comment.strip_prefix("dnat name: \"").and_then(|text| text.split_once("\" id: \""));
    match named {
        Some((network, id)) => format!("container {} on network {network}", id.trim_end_matches('"')),
        None => format!("a rule of iptables that leads to chain {chain}"),
    }
}
