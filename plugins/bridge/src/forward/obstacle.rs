//! What keeps a network's packets from being forwarded, and whether that is certain.
//!
//! A firewall that drops by default may well have a rule that lets the network through. STATUS must not call a node
//! unfit for that, so a chain counts as an obstacle only where none of its rules, and of those it leads to, could accept
//! the first packet of a TCP connection that comes from the bridge. A rule that is not understood could.

mod search;

use cni::Request;
use ipnetwork::IpNetwork;
use nftables::{BaseChain, Chain, Clause, Family, Policy, Rule, Socket, Verdict};
use serde_json::Value;

use search::Search;

use super::{all_chains, chain, closed, legacy};
use crate::conf::Conf;
use crate::error::Error;

/// Whether a chain drops whatever it has no rule for: by its policy, or by a rule for all packets.
pub(super) fn drops_by_default(chain: &BaseChain, rules: &[Rule]) -> bool {
    chain.policy == Policy::Drop || rules.iter().any(drops_all)
}

/// Whether a rule drops all packets that come to it.
fn drops_all(rule: &Rule) -> bool {
    let is_for_all = |clause: &Clause| match clause {
        Clause::Compare { .. } | Clause::Lookup { .. } | Clause::Dnat { .. } => false,
        Clause::Extension { name, .. } => matches!(name.as_str(), "comment" | "LOG" | "REJECT"),
        Clause::Verdict(verdict) => *verdict == Verdict::Drop,
        Clause::Other(name) => matches!(name.as_str(), "counter" | "log" | "reject"),
    };
    let drops = |clause: &Clause| match clause {
        Clause::Verdict(verdict) => *verdict == Verdict::Drop,
        Clause::Extension { name, .. } => name == "REJECT",
        Clause::Other(name) => name == "reject",
        Clause::Compare { .. } | Clause::Lookup { .. } | Clause::Dnat { .. } => false,
    };
    rule.clauses.iter().all(is_for_all) && rule.clauses.iter().any(drops)
}

/// By these words of STATUS and CHECK an obstacle is told from everything else that may be wrong.
pub const OBSTACLE: &str = "drops what is forwarded from and to bridge";

/// A chain as an obstacle, in words.
pub(super) fn words(chain: &Chain, bridge: &str) -> String {
    format!("chain {} of table {} {OBSTACLE} {bridge}", chain.name, chain.table)
}

/// The programs that are known to close chains like these, by what their rules lead to.
pub(super) fn program<'a>(table: &str, mut targets: impl Iterator<Item = &'a str>) -> &'static str {
    const KNOWN: [(&str, &str); 3] = [
        ("ufw-", " (ufw's rules are in it)"),
        ("DOCKER", " (Docker's rules are in it)"),
        ("firewalld", " (firewalld's table)"),
    ];
    let is_of = |text: &str, known: &str| text.starts_with(known);
    let by_target = targets.find_map(|target| KNOWN.iter().find(|(known, _)| is_of(target, known)));
    by_target.or_else(|| KNOWN.iter().find(|(known, _)| is_of(table, known))).map_or("", |(_, words)| words)
}

/// Names what drops the packets of a network, as far as an ADD would not do something about it.
pub(crate) fn status(request: &Request, conf: &Conf) -> Result<(), Error> {
    if !conf.routed && !conf.forward {
        return Ok(());
    }
    let families = families(request.conf.raw().get("ipam").unwrap_or(&Value::Null));
    let cure = if conf.forward { RELOADED } else { CURE };
    let mut found = None;
    if let Some(mut socket) = Socket::open_if_supported()? {
        // The first ADD opens all of them: until then there is nothing to say.
        if conf.forward && !socket.has_chain(&Chain::new(super::TABLE, &chain(conf.host_link())))? {
            return Ok(());
        }
        found = in_nftables(&mut socket, conf, &families)?;
    }
    if found.is_none() {
        found = in_legacy(conf, &families)?;
    }
    found.map_or(Ok(()), |what| Err(Error::Obstacle { what, cure }))
}

/// The first chain of `nf_tables` that drops a network's packets; of a network that others let through, the first that does
/// not any more.
fn in_nftables(socket: &mut Socket, conf: &Conf, families: &[Family]) -> Result<Option<String>, Error> {
    let bridge = conf.host_link();
    let chains = all_chains(socket)?;
    for chain in closed(socket, bridge, chains)? {
        let is_concerned = chain.family == Family::Inet || families.contains(&chain.family);
        let named = chain.as_chain();
        if is_concerned && (conf.forward || !Search::new(socket, bridge.as_str())?.may_accept(&named)?) {
            let rules = socket.rules(&named)?;
            let targets = rules.iter().filter_map(|rule| match rule.verdict() {
                Some(Verdict::Jump(to) | Verdict::Goto(to)) => Some(to.as_str()),
                _ => None,
            });
            let user = program(named.table.name, targets);
            return Ok(Some(format!("{}{user}", words(&named, bridge.as_str()))));
        }
    }
    Ok(None)
}

/// The same of iptables' legacy variant.
fn in_legacy(conf: &Conf, families: &[Family]) -> Result<Option<String>, Error> {
    let bridge = conf.host_link();
    for (family, of_nftables) in [(iptables::Family::V4, Family::Ip), (iptables::Family::V6, Family::Ip6)] {
        if families.contains(&of_nftables)
            && let Some((path, user)) = legacy::obstacle(family, bridge.as_str(), conf.forward)?
        {
            return Ok(Some(format!("chain FORWARD of {path} {OBSTACLE} {bridge}{user}")));
        }
    }
    Ok(None)
}

/// Whether the network's IPAM plugin may give IPv6 addresses, by its configuration.
pub(crate) fn gives_ipv6(request: &Request) -> bool {
    families(request.conf.raw().get("ipam").unwrap_or(&Value::Null)).contains(&Family::Ip6)
}

/// The families of the subnets and addresses that the configuration of an IPAM plugin names, whichever it is; IPv4 where
/// it names none.
fn families(ipam: &Value) -> Vec<Family> {
    let named = networks(ipam);
    let has = |is_it: fn(&IpNetwork) -> bool| named.iter().any(is_it);
    match (has(IpNetwork::is_ipv4), has(IpNetwork::is_ipv6)) {
        (true, true) => vec![Family::Ip, Family::Ip6],
        (false, true) => vec![Family::Ip6],
        (_, false) => vec![Family::Ip],
    }
}

/// Every text that is a network, but for destinations of routes.
fn networks(value: &Value) -> Vec<IpNetwork> {
    match value {
        Value::String(text) if text.contains('/') => text.parse().into_iter().collect(),
        Value::Array(values) => values.iter().flat_map(networks).collect(),
        Value::Object(keys) => {
            keys.iter().filter(|(key, _)| *key != "dst").flat_map(|(_, value)| networks(value)).collect()
        }
        _ => Vec::new(),
    }
}

const CURE: &str =
    "set \"forward\": \"accept\" in the bridge's configuration to have it let this network through";
const RELOADED: &str = "the firewall was loaded anew since the network's first container came; cleat repair has it let the network through again";

#[cfg(test)]
mod tests {
    use nftables::Selector;

    use super::*;

    #[test]
    fn the_families_are_those_of_the_addresses_that_ipam_may_give() {
        let v4 = serde_json::json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]], "routes": [{"dst": "::/0"}]});
        let v6 = serde_json::json!({"type": "static", "addresses": [{"address": "fd00::5/64"}], "routes": [{"dst": "0.0.0.0/0"}]});
        assert_eq!(families(&v4), [Family::Ip]);
        assert_eq!(families(&v6), [Family::Ip6]);
        assert_eq!(families(&serde_json::json!([v4, v6])), [Family::Ip, Family::Ip6]);
        assert_eq!(families(&serde_json::json!({"type": "dhcp"})), [Family::Ip]);
    }

    #[test]
    fn a_chain_drops_by_policy_or_by_a_rule_for_all_packets() {
        let chain = |policy| BaseChain { family: Family::Inet, table: "t".into(), name: "c".into(), policy };
        let rule = |clauses: Vec<Clause>| Rule { handle: 1, comment: None, clauses };
        let reject = || Clause::Other("reject".to_owned());
        assert!(drops_by_default(&chain(Policy::Drop), &[]));
        assert!(!drops_by_default(&chain(Policy::Accept), &[]));
        let all = rule(vec![Clause::Other("counter".to_owned()), reject()]);
        assert!(drops_by_default(&chain(Policy::Accept), &[all]));
        let tcp =
            Clause::Compare { selector: Some(Selector::L4Proto), mask: None, negated: false, bytes: vec![6] };
        let some = rule(vec![tcp, reject()]);
        let none = rule(vec![Clause::Verdict(Verdict::Accept)]);
        assert!(!drops_by_default(&chain(Policy::Accept), &[some, none]));
    }
}
