//! The same in the chain `FORWARD` of iptables' legacy variant, by its program.

use cni::IfName;
use iptables::{Iptables, Rule, Transaction, legacy_programs};

use super::mark;
use crate::error::Error;

const TABLE: &str = "filter";
const BASE: &str = "FORWARD";

/// Lets a bridge's packets through where the chain drops by default.
pub(super) fn open(bridge: &IfName) -> Result<(), Error> {
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
pub(super) fn close(bridge: &str) -> Result<(), Error> {
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
pub(super) fn drops(program: &Iptables, bridge: &str) -> Result<bool, Error> {
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

/// The first program whose chain drops a bridge's packets for certain: it has nothing that could accept any. Less is
/// understood here than of `nf_tables`.
pub(super) fn obstacle(bridge: &str) -> Result<Option<String>, Error> {
    for program in legacy_programs(TABLE)? {
        let rules = program.rules(TABLE, BASE)?.unwrap_or_default();
        // Other bridges' rules of ours are for these bridges only.
        let is_harmless = |rule: &Rule| {
            matches!(rule.target(), Some("DROP" | "REJECT" | "RETURN" | "LOG"))
                || rule.option("-i").is_some_and(|name| name != bridge && !name.ends_with('+'))
                || rule.comment().is_some_and(|comment| comment.starts_with(&mark("")))
        };
        if rules.iter().all(is_harmless) && drops(&program, bridge)? {
            return Ok(Some(program.path().display().to_string()));
        }
    }
    Ok(None)
}

fn ours<'a>(rules: &'a [Rule], bridge: &str) -> impl Iterator<Item = &'a Rule> {
    let mark = mark(bridge);
    rules.iter().filter(move |rule| rule.comment() == Some(&mark))
}
