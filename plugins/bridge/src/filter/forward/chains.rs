//! The host's base chains at the hook of forwarded packets, whichever program made them: which of them drop by default, and
//! the rules that let a bridge's packets through.

use cni::IfName;
use nftables::{
    BaseChain, Batch, Chain, Clause, Expr, Family, HookPoint, Policy, Rule, Selector, Socket, Table, Verdict,
};

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
        if drops_by_default(&chain, &rules) && ours(&rules, bridge.as_str()).count() < 2 {
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

/// Whether a chain drops whatever it has no rule for: by its policy, or by a rule for all packets.
fn drops_by_default(chain: &BaseChain, rules: &[Rule]) -> bool {
    chain.policy == Policy::Drop || rules.iter().any(drops_all)
}

/// Whether a rule drops all packets that come to it.
pub(super) fn drops_all(rule: &Rule) -> bool {
    let drops = |clause: &Clause| matches!(name(clause), "drop" | "REJECT" | "reject");
    let is_for_all =
        |clause: &Clause| drops(clause) || matches!(name(clause), "comment" | "LOG" | "counter" | "log");
    rule.clauses.iter().all(is_for_all) && rule.clauses.iter().any(drops)
}

/// What a clause does, by its name in nft or iptables; empty where it only compares, or leads somewhere.
pub(super) fn name(clause: &Clause) -> &str {
    match clause {
        Clause::Extension { name, .. } | Clause::Other(name) => name,
        Clause::Verdict(Verdict::Drop) => "drop",
        Clause::Verdict(_) | Clause::Compare { .. } | Clause::Lookup { .. } | Clause::Dnat { .. } => "",
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
