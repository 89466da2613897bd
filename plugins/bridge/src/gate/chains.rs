//! The chains of one bridge's gate, with their names: what is there for each combination of the keys.

use cni::{IfName, links, token};
use ipnetwork::IpNetwork;
use nftables::{Batch, Chain, Expr, Field, Rule, Selector, Set, Type, Verdict, state, status};

use super::{FORWARD, FROM, GATES, INTO, TABLE};
use crate::conf::{Edge, Gate};

/// What the name of a gate says that keeps the ports of its bridge apart.
const APART: &str = "apart_";

/// How many rules let something through between ports that are kept apart.
const PASSES: usize = 7;

const LINK4: &[Type] = &[Type::Ipv4Addr, Type::Ipv4Addr, Type::InetProto, Type::InetService];
const LINK6: &[Type] = &[Type::Ipv6Addr, Type::Ipv6Addr, Type::InetProto, Type::InetService];

/// The name of a bridge's gate. Any name is allowed for a bridge, and not every one for a chain.
pub(super) fn name(gate: Gate, bridge: &IfName) -> String {
    let edge = match gate.edge {
        Edge::Open => "",
        Edge::Published => "published_",
        Edge::Internal => "internal_",
    };
    let apart = if gate.apart { APART } else { "" };
    format!("{edge}{apart}{}", &token(&[bridge.as_str()])[..8])
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

/// The chains that a gate consists of, each with the number of its rules.
pub(super) fn all(gate: Gate, bridge: &IfName, port: Field) -> Vec<(String, usize)> {
    let own = 1 + rules(gate.edge, port, Expr::to_caller()).len();
    let between = gate.apart.then(|| (between(bridge.as_str()), PASSES + 1));
    [(FORWARD.name.to_owned(), 2), (name(gate, bridge), own)].into_iter().chain(between).collect()
}

/// Adds a gate's chains to a transaction.
pub(super) fn create(batch: &mut Batch, gate: Gate, bridge: &IfName, port: Field) {
    let (name, between) = (name(gate, bridge), between(bridge.as_str()));
    let chain = Chain::new(TABLE, &name);
    let members = if gate.apart {
        create_between(batch, bridge.as_str(), &between);
        Expr::goto(between)
    } else {
        Expr::to_caller()
    };
    batch.create_chain(&chain).add_rule(&chain, &[Expr::jump(GATES.name)], None);
    for rule in rules(gate.edge, port, members) {
        batch.add_rule(&chain, &rule, None);
    }
}

/// Adds the rules that let networks in. Members are none of them, whatever their addresses.
pub(super) fn let_in(batch: &mut Batch, name: &str, bridge: Field, from: &[IpNetwork]) {
    for network in from {
        let source = if network.is_ipv4() { Selector::IpSaddr } else { Selector::Ip6Saddr };
        let rule = [Expr::ne(Selector::Iifname, bridge), Expr::within(source, *network), Expr::to_caller()];
        batch.insert_rule(&Chain::new(TABLE, name), &rule, Some(&mark(*network)));
    }
}

/// Those of some networks that none of a chain's rules lets in.
pub(super) fn missing(rules: &[Rule], from: &[IpNetwork]) -> Vec<IpNetwork> {
    let has = |network: &IpNetwork| {
        let mark = mark(*network);
        rules.iter().any(|rule| rule.comment.as_deref() == Some(&mark))
    };
    from.iter().copied().filter(|network| !has(network)).collect()
}

/// Whether a rule is one of those that let networks in.
pub(super) fn lets_in(rule: &Rule) -> bool {
    rule.comment.as_deref().is_some_and(|comment| comment.starts_with(FROM_NETWORK))
        && rule.verdict() == Some(&Verdict::Return)
}

/// What a rule that lets a network in has for comment.
fn mark(network: IpNetwork) -> String {
    format!("{FROM_NETWORK}{network}")
}

const FROM_NETWORK: &str = "from ";

/// Members that talk to each other are forwarded too, from the bridge to the bridge, where `br_netfilter` is on.
fn rules(edge: Edge, bridge: Field, members: Expr<'static>) -> Vec<Vec<Expr<'static>>> {
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

/// What may pass between ports that are kept apart. Each packet of a link's own direction is looked up, not only the
/// first of a flow: a link that is taken away ends at once, and nobody inherits its flows with an address.
fn create_between(batch: &mut Batch, bridge: &str, between: &str) {
    let between = Chain::new(TABLE, between);
    let [v4, v6] = links::sets(bridge);
    let (v4, v6) = (Set::new(TABLE, &v4, LINK4), Set::new(TABLE, &v6, LINK6));
    batch.create_chain(&between).create_set(&v4).create_set(&v6);
    let neighbours = [Field::NEIGHBOUR_SOLICITATION, Field::NEIGHBOUR_ADVERTISEMENT];
    let [solicitation, advertisement] = neighbours.map(|kind| Expr::eq(Selector::Icmpv6Type, kind));
    let linked = |addresses: [Selector; 2], set| {
        let [from, to] = addresses;
        (vec![from, to, Selector::L4Proto, Selector::ThDport], set)
    };
    let (linked4, v4) = linked([Selector::IpSaddr, Selector::IpDaddr], v4);
    let (linked6, v6) = linked([Selector::Ip6Saddr, Selector::Ip6Daddr], v6);
    let passes: [Vec<Expr>; PASSES] = [
        vec![
            Expr::any_bit(Selector::CtState, state::ESTABLISHED),
            Expr::eq(Selector::CtDirection, Field::REPLY),
        ],
        vec![Expr::any_bit(Selector::CtState, state::RELATED)],
        // Published ports, by the host's address.
        vec![Expr::any_bit(Selector::CtStatus, status::DNAT)],
        vec![solicitation],
        vec![advertisement],
        vec![Expr::in_set(&linked4, v4)],
        vec![Expr::in_set(&linked6, v6)],
    ];
    for passes in passes {
        let rule: Vec<Expr> = passes.into_iter().chain([Expr::to_caller()]).collect();
        batch.add_rule(&between, &rule, None);
    }
    batch.add_rule(&between, &[Expr::drop()], None);
}

/// Adds the removal of a gate's chains to a transaction, once no map leads to them.
pub(super) fn del(batch: &mut Batch, name: &str, bridge: &str) {
    batch.del_chain(&Chain::new(TABLE, name));
    if keeps_apart(name) {
        batch.del_chain(&Chain::new(TABLE, &between(bridge)));
        for (set, key) in links::sets(bridge).iter().zip([LINK4, LINK6]) {
            batch.del_set(&Set::new(TABLE, set, key));
        }
    }
}

fn between(bridge: &str) -> String {
    format!("between_{}", &token(&[bridge])[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_combination_has_a_name_that_tells_it() {
        let bridge = IfName::new("a-name-of-fifte").unwrap();
        let mut names = std::collections::BTreeSet::new();
        for edge in [Edge::Open, Edge::Published, Edge::Internal] {
            for apart in [false, true] {
                let name = name(Gate { edge, apart }, &bridge);
                assert_eq!(keeps_apart(&name), apart, "{name}");
                assert!(names.insert(name));
            }
        }
    }
}
