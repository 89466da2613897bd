//! What else on the host drops the network's packets, before they come to the device.
//!
//! A firewall that drops by default (ufw, firewalld) has to let the port in. That is for who runs it to say, so nothing is
//! changed here: the chain is named, with the command. It counts only where none of its rules, and of those that it leads
//! to, could accept the first datagram of a node: a rule that is not understood could.

use nftables::{BaseChain, Family, HookPoint, Packet, Rule, Search, Socket, Verdict};

use super::Error;
use super::layout::TABLE;

/// Names the first chain that drops datagrams to a port that come in by an interface, over IPv4 or IPv6, and what to do.
pub(crate) fn find(port: u16, interface: &str, is_ipv6: bool) -> std::result::Result<Option<String>, Error> {
    let Some(mut socket) = Socket::open_if_supported()? else { return Ok(None) };
    let own = if is_ipv6 { Family::Ip6 } else { Family::Ip };
    let mut chains = socket.base_chains(Family::Inet, HookPoint::Input)?;
    chains.extend(socket.base_chains(own, HookPoint::Input)?);
    for chain in chains {
        let named = chain.as_chain();
        let rules = socket.rules(&named)?;
        if named.table == TABLE
            || !chain.drops_by_default(&rules)
            || socket.is_dormant(&named.table)? == Some(true)
        {
            continue;
        }
        let packet = Packet { interface, protocol: UDP, port: Some(port) };
        if !Search::new(&mut socket, packet).may_accept(&named)? {
            return Ok(Some(sentence(&chain, &rules, port)));
        }
    }
    Ok(None)
}

fn sentence(chain: &BaseChain, rules: &[Rule], port: u16) -> String {
    let leads_to = |prefix: &str| {
        let target =
            |rule: &Rule| rule.verdict().and_then(Verdict::chain).is_some_and(|to| to.starts_with(prefix));
        rules.iter().any(target)
    };
    let named = chain.as_chain();
    let cure = if leads_to("ufw") {
        format!("ufw allow {port}/udp")
    } else if chain.table == "firewalld" {
        format!("firewall-cmd --permanent --add-port={port}/udp && firewall-cmd --reload")
    } else {
        format!("nft insert rule {named} udp dport {port} accept")
    };
    format!(
        "chain {} of table {} drops what other nodes send to UDP port {port}; let it in: {cure}",
        named.name, named.table
    )
}

/// `IPPROTO_UDP`.
const UDP: u8 = 17;
