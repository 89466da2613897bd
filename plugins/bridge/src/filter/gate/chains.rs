//! The chains of one bridge's gate, with their names: what is there for each combination of the keys.

use cni::{links, token};
use ipnetwork::IpNetwork;
use nftables::{Batch, Chain, Expr, Field, Selector, Set, Type, state, status};

use super::heads::Heads;
use super::layout::Wanted;
use super::table::{BOOT, FORWARD, FROM, GATES, INTO, MEMBERS, TABLE};
use super::tunnel::Tunnel;
use crate::conf::{Edge, Gate};

/// What the name of a gate says that keeps the ports of its bridge apart.
const APART: &str = "apart_";

pub(super) const BETWEEN: &str = "between_";

const LINK4: &[Type] = &[Type::Ipv4Addr, Type::Ipv4Addr, Type::InetProto, Type::InetService];
const LINK6: &[Type] = &[Type::Ipv6Addr, Type::Ipv6Addr, Type::InetProto, Type::InetService];

/// What is looked up in the sets of links: of a recipient's packet, and of an error that its source sends about one.
const LINKED4: &[Selector] = &[Selector::IpSaddr, Selector::IpDaddr, Selector::L4Proto, Selector::ThDport];
const LINKED6: &[Selector] = &[Selector::Ip6Saddr, Selector::Ip6Daddr, Selector::L4Proto, Selector::ThDport];
const ERROR4: &[Selector] =
    &[Selector::IpDaddr, Selector::IpSaddr, Selector::CtProtocol, Selector::CtOriginalDport];
const ERROR6: &[Selector] =
    &[Selector::Ip6Daddr, Selector::Ip6Saddr, Selector::CtProtocol, Selector::CtOriginalDport];

/// The names of what a bridge's gate consists of. Any name is allowed for a bridge, and not every one for a chain.
#[derive(Debug)]
pub(super) struct Names {
    pub gate: String,
    between: String,
    /// The chain that guards the device of an overlay network.
    pub guard: String,
    pub links: [String; 2],
}

impl Names {
    pub(super) fn new(gate: Gate, bridge: &str) -> Self {
        let edge = match gate.edge {
            Edge::Open => "",
            Edge::Published => "published_",
            Edge::Internal => "internal_",
        };
        let apart = match gate {
            Gate { apart: true, .. } => APART,
            Gate { edge: Edge::Open, .. } => "open_",
            _ => "",
        };
        Self::of(&format!("{edge}{apart}{}", &token(&[bridge])[..8]), bridge)
    }

    /// Those that belong to the chain of that name.
    pub(super) fn of(gate: &str, bridge: &str) -> Self {
        let token = &token(&[bridge])[..8];
        let (between, guard) = (format!("{BETWEEN}{token}"), format!("overlay_{token}"));
        Self { gate: gate.to_owned(), between, guard, links: links::sets(bridge) }
    }

    pub(super) fn chain(&self) -> Chain<'_> {
        Chain::new(TABLE, &self.gate)
    }

    pub(super) fn guard(&self) -> Chain<'_> {
        Chain::new(TABLE, &self.guard)
    }

    /// All sets that the gate needs.
    pub(super) fn sets(&self) -> Vec<Set<'_>> {
        let links = link_sets(&self.links).into_iter().filter(|_| keeps_apart(&self.gate));
        [INTO, FROM, MEMBERS].into_iter().chain(links).collect()
    }

    /// Adds the removal of the gate's own chains and sets to a transaction, once no map leads to them.
    pub(super) fn del(&self, batch: &mut Batch) {
        batch.del_chain(&self.chain());
        if keeps_apart(&self.gate) {
            batch.del_chain(&Chain::new(TABLE, &self.between));
            for set in &link_sets(&self.links) {
                batch.del_set(set);
            }
        }
    }

    /// The chains that a gate consists of, with those that all share. `boot` is the mark that it has; without, the gate is
    /// as older versions made it. `from` and `tunnel` are what has to be let in.
    pub(super) fn chains<'a>(
        &'a self,
        gate: Gate,
        bridge: Field,
        boot: Option<&str>,
        (from, tunnel): (&'a [IpNetwork], Option<Tunnel<'a>>),
    ) -> Vec<Wanted<'a>> {
        let mut chains = vec![Wanted::new(GATES, Vec::new())];
        let members = if gate.apart {
            chains.push(Wanted::new(Chain::new(TABLE, &self.between), self.between(boot.is_some())));
            Expr::goto(self.between.as_str())
        } else {
            Expr::to_caller()
        };
        let mut rules = vec![vec![Expr::jump(GATES.name)]];
        rules.extend(own_rules(gate.edge, bridge, members.clone()));
        let mark = boot.map(|boot| format!("{BOOT}{boot}"));
        chains.extend(tunnel.map(|tunnel| Wanted::new(self.guard(), tunnel.guard(bridge))));
        let heads = Heads { bridge, edge: gate.edge, members, from, tunnel };
        chains.push(Wanted { mark, heads: Some(heads), ..Wanted::new(self.chain(), rules) });
        let forward =
            vec![vec![Expr::vmap(&[Selector::Oifname], INTO)], vec![Expr::vmap(&[Selector::Iifname], FROM)]];
        chains.push(Wanted::new(FORWARD, forward));
        chains
    }

    /// What may pass between ports that are kept apart. Each packet of a link's own direction is looked up, not only the
    /// first of a flow: a link that is taken away ends at once, and no flow is inherited with an address. Of errors
    /// pass those that a link's source sends to its recipient about a packet of that link, and of other packets that are
    /// related to a flow (what a helper of connection tracking expects, errors of third parties) none.
    fn between(&self, is_strict: bool) -> Vec<Vec<Expr<'_>>> {
        let [v4, v6] = link_sets(&self.links);
        let related = || Expr::any_bit(Selector::CtState, state::RELATED);
        let replying = || Expr::eq(Selector::CtDirection, Field::REPLY);
        let mut rules =
            vec![vec![Expr::any_bit(Selector::CtState, state::ESTABLISHED), replying(), Expr::to_caller()]];
        if is_strict {
            // nft reads a flow's port among others back only where the rule says of which protocol the packet is.
            for (errors, key, links) in [(Field::ICMP, ERROR4, v4), (Field::ICMPV6, ERROR6, v6)] {
                let (of_errors, linked) = (Expr::eq(Selector::L4Proto, errors), Expr::in_set(key, links));
                rules.push(vec![related(), replying(), of_errors, linked, Expr::to_caller()]);
            }
            rules.push(vec![related(), Expr::drop()]);
        } else {
            rules.push(vec![related(), Expr::to_caller()]);
        }
        // Published ports, by the host's address.
        rules.push(vec![Expr::any_bit(Selector::CtStatus, status::DNAT), Expr::to_caller()]);
        for kind in [Field::NEIGHBOUR_SOLICITATION, Field::NEIGHBOUR_ADVERTISEMENT] {
            rules.push(vec![Expr::eq(Selector::Icmpv6Type, kind), Expr::to_caller()]);
        }
        rules.push(vec![Expr::in_set(LINKED4, v4), Expr::to_caller()]);
        rules.push(vec![Expr::in_set(LINKED6, v6), Expr::to_caller()]);
        rules.push(vec![Expr::drop()]);
        rules
    }
}

/// The sets of links, by their names.
fn link_sets([v4, v6]: &[String; 2]) -> [Set<'_>; 2] {
    [Set::new(TABLE, v4, LINK4), Set::new(TABLE, v6, LINK6)]
}

/// Adds to a transaction that no link is open, by the names of the sets of links.
pub(super) fn close_links(batch: &mut Batch, links: &[String; 2]) {
    for set in &link_sets(links) {
        batch.flush_set(set);
    }
}

/// Whether the gate of this name keeps the ports of its bridge apart.
pub(super) fn keeps_apart(name: &str) -> bool {
    name.contains(APART)
}

/// The maps that lead to a gate.
pub(super) fn maps(gate: Gate) -> &'static [&'static Set<'static>] {
    match gate.edge {
        Edge::Open | Edge::Published => &[&INTO],
        Edge::Internal => &[&INTO, &FROM],
    }
}

/// Members that talk to each other are forwarded too, from the bridge to the bridge, where `br_netfilter` is on.
fn own_rules(edge: Edge, bridge: Field, members: Expr<'static>) -> Vec<Vec<Expr<'static>>> {
    let from_bridge = Expr::eq(Selector::Iifname, bridge);
    match edge {
        Edge::Open => vec![vec![from_bridge, members]],
        Edge::Published => vec![
            vec![from_bridge, members],
            vec![Expr::any_bit(Selector::CtState, state::ESTABLISHED | state::RELATED), Expr::to_caller()],
            vec![Expr::any_bit(Selector::CtStatus, status::DNAT), Expr::to_caller()],
            vec![Expr::drop()],
        ],
        Edge::Internal => {
            vec![vec![from_bridge, Expr::eq(Selector::Oifname, bridge), members], vec![Expr::drop()]]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_combination_has_a_name_that_tells_it() {
        let mut names = std::collections::BTreeSet::new();
        for edge in [Edge::Open, Edge::Published, Edge::Internal] {
            for apart in [false, true] {
                let name = Names::new(Gate { edge, apart }, "a-name-of-fifte").gate;
                assert_eq!(keeps_apart(&name), apart, "{name}");
                assert!(names.insert(name));
            }
        }
    }
}
