//! The host's base chains at the hook of forwarded packets, whichever program made them: which of them drop by default, and
//! the rules that let a bridge's packets through.

use cni::IfName;
use nftables::{BaseChain, Batch, Chain, Expr, Family, HookPoint, Rule, Selector, Socket, Table, Verdict};

use crate::error::{OBSTACLE, Result};
use crate::filter::owner::interface;

/// Where iptables keeps its rules in `nf_tables`.
const IPTABLES: [Chain; 2] = [
    Chain::new(Table::new(Family::Ip, "filter"), "FORWARD"),
    Chain::new(Table::new(Family::Ip6, "filter"), "FORWARD"),
];
/// What forwarded packets of either version pass.
const FAMILIES: [Family; 3] = [Family::Inet, Family::Ip, Family::Ip6];

/// All of them.
pub(super) fn all_chains(socket: &mut Socket) -> Result<Vec<BaseChain>> {
    let mut chains = Vec::new();
    for family in FAMILIES {
        chains.extend(socket.base_chains(family, HookPoint::Forward)?);
    }
    Ok(chains)
}

/// Those of iptables.
pub(super) fn chains_of_iptables(socket: &mut Socket) -> Result<Vec<BaseChain>> {
    let mut chains = Vec::new();
    for chain in &IPTABLES {
        chains.extend(socket.base_chain(chain, HookPoint::Forward)?);
    }
    Ok(chains)
}

/// Those of some chains that drop by default and do not let a bridge's packets through by our rules.
pub(super) fn closed(socket: &mut Socket, bridge: &IfName, chains: Vec<BaseChain>) -> Result<Vec<BaseChain>> {
    let mut closed = Vec::new();
    for chain in chains {
        let rules = socket.rules(&chain.as_chain())?;
        if chain.drops_by_default(&rules) && ours(&rules, bridge.as_str()).count() < 2 {
            closed.push(chain);
        }
    }
    Ok(closed)
}

/// Our rules for a bridge.
pub(super) fn ours<'a>(rules: &'a [Rule], bridge: &str) -> impl Iterator<Item = &'a Rule> {
    let mark = mark(bridge);
    rules.iter().filter(move |rule| rule.iptables_comment().as_deref() == Some(&mark))
}

/// The rules that let a bridge's packets through a chain.
pub(super) fn open(batch: &mut Batch, chain: &Chain, bridge: &IfName) -> Result<()> {
    let name = interface(bridge.as_str())?;
    for selector in [Selector::Oifname, Selector::Iifname] {
        let clauses = [Expr::eq(selector, name), Expr::Counter, Expr::Verdict(Verdict::Accept)];
        batch.insert_rule(chain, &clauses, Some(&mark(bridge.as_str())));
    }
    Ok(())
}

/// What our rules in other programs' chains have for comment.
pub(super) fn mark(bridge: &str) -> String {
    format!("cleat {bridge}")
}

/// Says that a chain is an obstacle.
pub(super) fn obstacle(chain: &Chain, bridge: &str) -> String {
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
