//! Whether rules could accept the first packet of a TCP connection that comes from a bridge.

use nftables::{Chain, Clause, Packet, Search, Selector, Socket};

use crate::error::Result;

/// Whether a chain, or one that it leads to, has a rule that could accept it.
pub(super) fn may_accept(rules: &mut Socket, bridge: &str, chain: &Chain) -> Result<bool> {
    let (mut links, mut failure) = (netlink::Socket::open()?, None);
    let excludes = |clause: &Clause| {
        leads_to_another_bridge(&mut links, bridge, clause).unwrap_or_else(|error| {
            failure = Some(error);
            false
        })
    };
    let packet = Packet { interface: bridge, protocol: TCP, port: None };
    let may_accept = Search::new(rules, packet).passing_over(excludes).may_accept(chain)?;
    failure.map_or(Ok(may_accept), Err)
}

/// Whether a clause is for packets to another bridge: a rule that accepts those lets nothing out of the host.
fn leads_to_another_bridge(links: &mut netlink::Socket, bridge: &str, clause: &Clause) -> Result<bool> {
    let Clause::Compare { selector: Some(Selector::Oifname), negated: false, bytes, .. } = clause else {
        return Ok(false);
    };
    let name = bytes.split(|byte| *byte == 0).next().and_then(|name| str::from_utf8(name).ok());
    let link = name.map(|name| links.get_link(name)).transpose()?.flatten();
    Ok(link.is_some_and(|link| link.kind.as_deref() == Some("bridge") && link.name != bridge))
}

/// `IPPROTO_TCP`.
const TCP: u8 = 6;
