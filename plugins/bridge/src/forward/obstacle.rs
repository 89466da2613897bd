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
    let is_for_all = |clause: &Clause| match clause {
        Clause::Compare { .. } | Clause::Dnat { .. } => false,
        Clause::Extension { name, .. } => matches!(name.as_str(), "comment" | "LOG" | "REJECT"),
        Clause::Verdict(verdict) => *verdict == Verdict::Drop,
        Clause::Other(name) => matches!(name.as_str(), "counter" | "log" | "reject"),
    };
    let drops = |clause: &Clause| match clause {
        Clause::Verdict(verdict) => *verdict == Verdict::Drop,
        Clause::Extension { name, .. } => name == "REJECT",
        Clause::Other(name) => name == "reject",
        Clause::Compare { .. } | Clause::Dnat { .. } => false,
    };
    chain.policy == Policy::Drop
        || rules.iter().any(|rule| rule.clauses.iter().all(is_for_all) && rule.clauses.iter().any(drops))
}

/// By these words of STATUS and CHECK an obstacle is told from everything else that may be wrong.
pub const OBSTACLE: &str = "drops what is forwarded from and to bridge";

/// A chain as an obstacle, in words.
pub(super) fn words(chain: &Chain, bridge: &str) -> String {
    format!("chain {} of table {} {OBSTACLE} {bridge}", chain.name, chain.table)
}

/// Names what drops the packets of a network, as far as an ADD would not do something about it.
pub(crate) fn status(request: &Request, conf: &Conf) -> Result<(), Error> {
    let bridge = &conf.bridge;
    if !conf.routed && !conf.forward {
        return Ok(());
    }
    let Some(mut socket) = Socket::open_if_supported()? else { return Ok(()) };
    let socket = &mut socket;
    let families = families(request.conf.raw().get("ipam").unwrap_or(&Value::Null));
    let found = |what: String, cure: &'static str| Err(Error::Obstacle { what, cure });
    let chains = all_chains(socket)?;
    let is_concerned = |chain: &BaseChain| chain.family == Family::Inet || families.contains(&chain.family);
    let mut closed = closed(socket, bridge, chains)?;
    closed.retain(is_concerned);
    if conf.forward {
        // The first ADD opens all of them. Somebody has reloaded or begun to use a firewall since.
        let is_in_use = socket.has_chain(&Chain::new(super::TABLE, &chain(bridge)))?;
        return match closed.first() {
            Some(chain) if is_in_use => found(words(&chain.as_chain(), bridge.as_str()), RELOADED),
            _ => Ok(()),
        };
    }
    for chain in closed {
        if !Search::new(socket, bridge.as_str())?.may_accept(&chain.as_chain())? {
            return found(words(&chain.as_chain(), bridge.as_str()), CURE);
        }
    }
    match legacy::obstacle(bridge.as_str())? {
        Some(program) => found(format!("chain FORWARD of {program} {OBSTACLE} {bridge}"), CURE),
        None => Ok(()),
    }
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
