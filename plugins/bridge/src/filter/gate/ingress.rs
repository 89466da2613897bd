//! `ingressFrom`: the rules at the head of a gate's chain by which networks come in.

use ipnetwork::IpNetwork;
use nftables::{Batch, Chain, Expr, Field, Selector, WholeRule};

use super::table::TABLE;

/// What the comment of such a rule begins with, before the network.
const FROM_NETWORK: &str = "from ";

/// Adds the rule that lets a network in. Members are none of it, whatever their addresses.
pub(super) fn let_in(batch: &mut Batch, chain: &Chain, bridge: Field, network: IpNetwork) {
    let comment = format!("{FROM_NETWORK}{network}");
    batch.add_rule(chain, &letting_in(bridge, network), Some(&comment));
}

fn letting_in(bridge: Field, network: IpNetwork) -> [Expr<'static>; 3] {
    let source = if network.is_ipv4() { Selector::IpSaddr } else { Selector::Ip6Saddr };
    [Expr::ne(Selector::Iifname, bridge), Expr::within(source, network), Expr::to_caller()]
}

/// The network that a rule lets in, where it is one of those.
pub(super) fn lets_in(rule: &WholeRule, bridge: Field) -> Option<IpNetwork> {
    let network = rule.rule.comment.as_deref()?.strip_prefix(FROM_NETWORK)?.parse().ok()?;
    rule.consists_of(TABLE, &letting_in(bridge, network)).then_some(network)
}
