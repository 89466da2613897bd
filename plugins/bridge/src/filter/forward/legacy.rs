//! The same in the chain `FORWARD` of iptables' legacy variant, by its program.

use std::collections::HashSet;

use cni::IfName;
use iptables::{Family, Iptables, Rule, Transaction, legacy_program, legacy_programs};

use super::chains::{self, mark};
use crate::error::Result;

const TABLE: &str = "filter";
const BASE: &str = "FORWARD";

/// Lets a bridge's packets through where the chain drops by default.
pub(super) fn open(bridge: &IfName) -> Result<()> {
    for program in legacy_programs(TABLE)? {
        if drops(&program, bridge.as_str())? {
            let mut change = Transaction::new(TABLE);
            for direction in ["-o", "-i"] {
                let mark = mark(bridge.as_str());
                let words = [direction, bridge.as_str(), "-m", "comment", "--comment", &mark, "-j", "ACCEPT"];
                change.insert(BASE, &words);
            }
            program.commit(&change)?;
        }
    }
    Ok(())
}

/// Removes what lets a bridge's packets through.
pub(super) fn close(bridge: &str) -> Result<()> {
    for program in legacy_programs(TABLE)? {
        let mut change = Transaction::new(TABLE);
        for rule in ours(&program.rules(TABLE, BASE)?.unwrap_or_default(), bridge) {
            change.delete_rule(rule);
        }
        program.commit(&change)?;
    }
    Ok(())
}

/// Whether the chain drops a bridge's packets by default, and our rules are not there.
pub(super) fn drops(program: &Iptables, bridge: &str) -> Result<bool> {
    let rules = program.rules(TABLE, BASE)?.unwrap_or_default();
    if ours(&rules, bridge).count() == 2 {
        return Ok(false);
    }
    let closes = |rule: &Rule| {
        rule.words().first().is_some_and(|word| word == "-j")
            && matches!(rule.target(), Some("DROP" | "REJECT"))
    };
    Ok(rules.iter().any(closes) || program.policy(TABLE, BASE)?.as_deref() == Some("DROP"))
}

/// The program of a family whose chain drops a bridge's packets for certain, with who else has rules there. Of a bridge that
/// `was_opened` it is enough that our rules are not there any more.
pub(super) fn obstacle(
    family: Family,
    bridge: &str,
    was_opened: bool,
) -> Result<Option<(String, &'static str)>> {
    let Some(program) = legacy_program(family, TABLE)? else { return Ok(None) };
    if !drops(&program, bridge)? {
        return Ok(None);
    }
    let mut search =
        Search { program: &program, links: netlink::Socket::open()?, bridge, seen: HashSet::new() };
    if !was_opened && search.may_accept(BASE)? {
        return Ok(None);
    }
    let rules = program.rules(TABLE, BASE)?.unwrap_or_default();
    let user = chains::program(TABLE, rules.iter().filter_map(Rule::target));
    Ok(Some((program.path().display().to_string(), user)))
}

/// The search for a rule that could accept the first packet of a TCP connection from a bridge, as among those of `nf_tables`.
struct Search<'a> {
    program: &'a Iptables,
    links: netlink::Socket,
    bridge: &'a str,
    /// The chains that were looked through.
    seen: HashSet<String>,
}

impl Search<'_> {
    fn may_accept(&mut self, chain: &str) -> Result<bool> {
        if !self.seen.insert(chain.to_owned()) {
            return Ok(false);
        }
        // What is none of the program's chains is a target that is not known.
        let Some(rules) = self.program.rules(TABLE, chain)? else { return Ok(true) };
        for rule in rules {
            let is_for_all = rule.words().first().is_some_and(|word| word == "-j");
            let accepts = match rule.target() {
                // No packet comes to what is after it.
                Some("DROP" | "REJECT" | "RETURN") if is_for_all => return Ok(false),
                None
                | Some("DROP" | "REJECT" | "RETURN" | "LOG" | "NFLOG" | "MARK" | "CONNMARK" | "TCPMSS") => {
                    false
                }
                Some(_) if self.skips(&rule)? => false,
                Some("ACCEPT") => true,
                Some(target) => self.may_accept(target)?,
            };
            if accepts {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a rule certainly does not match such a packet, or does not let it leave the host's own bridges.
    fn skips(&mut self, rule: &Rule) -> Result<bool> {
        if excludes(rule, self.bridge) {
            return Ok(true);
        }
        let Some(name) = rule.option("-o") else { return Ok(false) };
        let link = self.links.get_link(name)?;
        Ok(link.is_some_and(|link| link.kind.as_deref() == Some("bridge") && link.name != self.bridge))
    }
}

/// Whether a rule's words alone say that it is not for the first packet of a TCP connection from a bridge.
fn excludes(rule: &Rule, bridge: &str) -> bool {
    let is_name = |name: &str| match name.strip_suffix('+') {
        Some(beginning) => bridge.starts_with(beginning),
        None => bridge == name,
    };
    let is_negated = |name: &str| rule.words().windows(2).any(|pair| pair[0] == "!" && pair[1] == name);
    let states = || ["--ctstate", "--state"].into_iter().find_map(|name| rule.option(name));
    rule.option("-i").is_some_and(|name| !is_name(name))
        || rule.option("-p").is_some_and(|protocol| !matches!(protocol, "tcp" | "all"))
        || states().is_some_and(|states| states.split(',').all(|state| state != "NEW"))
        // A new connection has not been translated at this point unless it is for a published port.
        || rule.option("--ctstatus").is_some()
        // Unmarked packets have no mark.
        || rule.option("--mark").is_some_and(|mark| !mark.starts_with("0x0"))
        || is_negated("-i") && words_after(rule, "-i").is_some_and(is_name)
}

/// The word after an option, negated or not.
fn words_after<'a>(rule: &'a Rule, option: &str) -> Option<&'a str> {
    let at = rule.words().iter().position(|word| word == option)?;
    rule.words().get(at + 1).map(String::as_str)
}

fn ours<'a>(rules: &'a [Rule], bridge: &str) -> impl Iterator<Item = &'a Rule> {
    let mark = mark(bridge);
    rules.iter().filter(move |rule| rule.comment() == Some(&mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_certain_is_skipped() {
        for (words, is_certain) in [
            ("-i docker0 ! -o docker0 -j ACCEPT", true),
            ("-i br0 -j ACCEPT", false),
            ("-i br+ -j ACCEPT", false),
            ("-i veth+ -j ACCEPT", true),
            ("! -i br0 -o docker0 -j ACCEPT", true),
            ("! -i docker0 -j ACCEPT", false),
            ("-p icmp -j ACCEPT", true),
            ("! -p icmp -j ACCEPT", false),
            ("-p tcp -j ACCEPT", false),
            ("-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", true),
            ("-m state --state RELATED,ESTABLISHED -j ACCEPT", true),
            ("-m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT", false),
            ("-m conntrack ! --ctstate INVALID -j ACCEPT", false),
            ("-m conntrack --ctstatus DNAT -j ACCEPT", true),
            ("-m mark --mark 0x4000/0x4000 -j ACCEPT", true),
            ("-m mark --mark 0x0/0x4000 -j ACCEPT", false),
            ("-m mark ! --mark 0x4000/0x4000 -j ACCEPT", false),
            ("-s 10.1.0.0/16 -j ACCEPT", false),
        ] {
            let rule = Rule::parse(&format!("-A FORWARD {words}")).unwrap();
            assert_eq!(excludes(&rule, "br0"), is_certain, "{words}");
        }
    }
}
