//! What keeps a network's packets from being forwarded, and whether that is certain.
//!
//! A firewall that drops by default may well have a rule that lets the network through. STATUS must not call a node
//! unfit for that, so a chain counts as an obstacle only where none of its rules, and of those it leads to, could accept
//! the first packet of a TCP connection that comes from the bridge. A rule that is not understood could.

use cni::Request;
use ipnetwork::IpNetwork;
use nftables::{Family, Socket, Verdict};
use serde_json::Value;

use super::chains::{all_chains, closed, obstacle, program};
use super::legacy;
use super::members::has_members;
use super::search::may_accept;
use crate::conf::Conf;
use crate::error::{Error, OBSTACLE, Result};

/// Names what drops the packets of a network, as far as an ADD would not do something about it.
pub(crate) fn status(request: &Request, conf: &Conf) -> Result<()> {
    if !conf.routed && !conf.forward {
        return Ok(());
    }
    let families = families(request.conf.value(&["ipam"]).unwrap_or(&Value::Null));
    let cure = if conf.forward { RELOADED } else { CURE };
    let mut found = None;
    if let Some(mut socket) = Socket::open_if_supported()? {
        // The first ADD opens all of them: until then there is nothing to say.
        if conf.forward && !has_members(&mut socket, conf.host_link())? {
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
fn in_nftables(socket: &mut Socket, conf: &Conf, families: &[Family]) -> Result<Option<String>> {
    let bridge = conf.host_link();
    let chains = all_chains(socket)?;
    for chain in closed(socket, bridge, chains)? {
        let is_concerned = chain.family == Family::Inet || families.contains(&chain.family);
        let named = chain.as_chain();
        if is_concerned && (conf.forward || !may_accept(socket, bridge.as_str(), &named)?) {
            let rules = socket.rules(&named)?;
            let targets = rules.iter().filter_map(|rule| match rule.verdict() {
                Some(Verdict::Jump(to) | Verdict::Goto(to)) => Some(to.as_str()),
                _ => None,
            });
            let user = program(named.table.name, targets);
            return Ok(Some(format!("{}{user}", obstacle(&named, bridge.as_str()))));
        }
    }
    Ok(None)
}

/// The same of iptables' legacy variant.
fn in_legacy(conf: &Conf, families: &[Family]) -> Result<Option<String>> {
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
    families(request.conf.value(&["ipam"]).unwrap_or(&Value::Null)).contains(&Family::Ip6)
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
}
