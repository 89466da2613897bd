//! Whether rules could accept the first packet of a TCP connection that comes from a bridge.

use std::collections::HashSet;

use nftables::{Chain, Clause, Data, Element, Field, Rule, Selector, Set, Socket, Table, Verdict, state};

use super::chains::{drops_all, name};
use crate::error::Result;
use crate::filter::owner::interface;

/// The search for a rule that could accept the first packet of a connection from a bridge.
pub(super) struct Search<'a> {
    rules: &'a mut Socket,
    links: netlink::Socket,
    bridge: &'a str,
    /// The chains that were looked through.
    seen: HashSet<String>,
}

impl<'a> Search<'a> {
    pub(super) fn new(rules: &'a mut Socket, bridge: &'a str) -> Result<Self> {
        Ok(Self { rules, links: netlink::Socket::open()?, bridge, seen: HashSet::new() })
    }

    /// Whether a chain has such a rule, or leads to one that has.
    pub(super) fn may_accept(&mut self, chain: &Chain) -> Result<bool> {
        if !self.seen.insert(chain.name.to_owned()) {
            return Ok(false);
        }
        for rule in self.rules.rules(chain)? {
            // No packet comes to what is after it.
            if drops_all(&rule) {
                return Ok(false);
            }
            if self.accepts(chain.table, &rule)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn leads_to_acceptance(&mut self, table: Table<'_>, verdict: &Verdict) -> Result<bool> {
        match verdict {
            Verdict::Accept => Ok(true),
            Verdict::Jump(to) | Verdict::Goto(to) => self.may_accept(&Chain::new(table, to)),
            _ => Ok(false),
        }
    }

    /// Whether a rule may match such a packet and accept it: by its verdict, by a map of verdicts, a queue, a target of iptables,
    /// whatever is not known to leave packets alone.
    fn accepts(&mut self, table: Table<'_>, rule: &Rule) -> Result<bool> {
        let (mut verdicts, mut is_known) = (Vec::new(), true);
        for clause in &rule.clauses {
            match clause {
                Clause::Lookup { selector, set, negated } => match self.look_up(table, *selector, set) {
                    Found::Nothing if !negated => return Ok(false),
                    Found::Key if *negated => return Ok(false),
                    Found::Verdict(verdict) => verdicts.push(verdict),
                    Found::Unknown => is_known = false,
                    Found::Nothing | Found::Key => {}
                },
                clause if excludes(clause, self.bridge) => return Ok(false),
                clause if self.leads_to_another_bridge(clause)? => return Ok(false),
                clause => is_known &= leaves_alone(clause),
            }
        }
        if let Some(verdict) = rule.verdict() {
            return self.leads_to_acceptance(table, verdict);
        }
        for verdict in &verdicts {
            if self.leads_to_acceptance(table, verdict)? {
                return Ok(true);
            }
        }
        Ok(!is_known)
    }

    /// What a set or a map of verdicts has of the first packet of a TCP connection from the bridge.
    fn look_up(&mut self, table: Table<'_>, selector: Option<Selector>, set: &str) -> Found {
        let key = match selector {
            Some(Selector::Iifname) => interface(self.bridge).ok(),
            Some(Selector::L4Proto) => Some(Field::TCP),
            // A number in host byte order, as marks are.
            Some(Selector::CtState) => Some(Field::Mark(state::NEW)),
            _ => None,
        };
        let found = key.map(|key| self.rules.get_element(&Set::new(table, set, &[key.kind()]), &[key]));
        match found {
            Some(Ok(None)) => Found::Nothing,
            Some(Ok(Some(Element { data: Some(Data::Verdict(verdict)), .. }))) => Found::Verdict(verdict),
            Some(Ok(Some(_))) => Found::Key,
            Some(Err(_)) | None => Found::Unknown,
        }
    }

    /// Whether a clause is for packets to another bridge: a rule that accepts those lets nothing out of the host.
    fn leads_to_another_bridge(&mut self, clause: &Clause) -> Result<bool> {
        let Clause::Compare { selector: Some(Selector::Oifname), negated: false, bytes, .. } = clause else {
            return Ok(false);
        };
        let name = bytes.split(|byte| *byte == 0).next().and_then(|name| str::from_utf8(name).ok());
        let link = name.map(|name| self.links.get_link(name)).transpose()?.flatten();
        Ok(link.is_some_and(|link| link.kind.as_deref() == Some("bridge") && link.name != self.bridge))
    }
}

/// What a set has of a packet.
enum Found {
    Nothing,
    Key,
    Verdict(Verdict),
    Unknown,
}

fn leaves_alone(clause: &Clause) -> bool {
    matches!(clause, Clause::Compare { .. })
        || matches!(
            name(clause),
            "comment"
                | "LOG"
                | "NFLOG"
                | "REJECT"
                | "MARK"
                | "CONNMARK"
                | "TCPMSS"
                | "limit"
                | "counter"
                | "log"
                | "reject"
                | "bitwise"
                | "immediate"
        )
}

/// Whether a clause alone says that a rule is not for the first packet of a TCP connection from a bridge.
fn excludes(clause: &Clause, bridge: &str) -> bool {
    match clause {
        Clause::Compare { selector: Some(selector), mask, negated, bytes } => match selector {
            Selector::Iifname => is_name(bytes, bridge) == *negated,
            Selector::L4Proto => (bytes[..] == [TCP]) == *negated,
            // Only the form with bits: `ct state established,related`.
            Selector::CtState => *negated && is_zero(bytes) && !has_bit(mask.as_ref(), state::NEW),
            // A new connection has not been translated at this point unless it is for a published port.
            Selector::CtStatus => *negated && is_zero(bytes),
            // Unmarked packets have no mark.
            Selector::Mark => !*negated && !is_zero(bytes),
            _ => false,
        },
        Clause::Extension { name, info } if name == "conntrack" => is_for_answers(info),
        _ => false,
    }
}

/// Whether a comparison is true of an interface: with its NUL the whole name is compared, without only its beginning.
fn is_name(bytes: &[u8], name: &str) -> bool {
    match bytes.iter().position(|byte| *byte == 0) {
        Some(end) => bytes[..end] == *name.as_bytes(),
        None => name.as_bytes().starts_with(bytes),
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Marks and states are in host byte order.
fn has_bit(mask: Option<&Vec<u8>>, bit: u32) -> bool {
    let mask = mask.and_then(|mask| mask.as_slice().try_into().ok()).map(u32::from_ne_bytes);
    mask.is_none_or(|mask| mask & bit != 0)
}

/// Whether iptables' match on connections demands a state other than new, or an address translation
/// (`struct xt_conntrack_mtinfo3`, `linux/netfilter/xt_conntrack.h`).
fn is_for_answers(info: &[u8]) -> bool {
    let word = |at: usize| Some(u16::from_ne_bytes(info.get(at..at + 2)?.try_into().ok()?));
    let (Some(flags), Some(inverted), Some(states)) = (word(146), word(148), word(150)) else { return false };
    let demands = |flag: u16| flags & flag != 0 && inverted & flag == 0;
    demands(XT_CONNTRACK_STATE) && states & XT_CONNTRACK_NEW == 0 || demands(XT_CONNTRACK_STATUS)
}

const XT_CONNTRACK_STATE: u16 = 1;
const XT_CONNTRACK_STATUS: u16 = 1 << 6;
/// `XT_CONNTRACK_STATE_BIT(IP_CT_NEW)`.
const XT_CONNTRACK_NEW: u16 = 1 << 3;
const TCP: u8 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(selector: Selector, mask: Option<u32>, negated: bool, bytes: &[u8]) -> Clause {
        let mask = mask.map(|mask| mask.to_ne_bytes().to_vec());
        Clause::Compare { selector: Some(selector), mask, negated, bytes: bytes.to_vec() }
    }

    #[test]
    fn only_what_is_certain_is_skipped() {
        let zero = [0; 4];
        for (clause, is_certain) in [
            (compare(Selector::Iifname, None, false, b"docker0\0"), true),
            (compare(Selector::Iifname, None, false, b"br0\0\0\0\0"), false),
            (compare(Selector::Iifname, None, false, b"br"), false),
            (compare(Selector::Iifname, None, true, b"br0\0"), true),
            (compare(Selector::Iifname, None, true, b"docker0\0"), false),
            (compare(Selector::Oifname, None, false, b"docker0\0"), false),
            (compare(Selector::L4Proto, None, false, &[1]), true),
            (compare(Selector::L4Proto, None, false, &[6]), false),
            (compare(Selector::CtState, Some(state::ESTABLISHED | state::RELATED), true, &zero), true),
            (compare(Selector::CtState, Some(state::ESTABLISHED | state::NEW), true, &zero), false),
            (compare(Selector::CtState, None, false, &state::NEW.to_ne_bytes()), false),
            (compare(Selector::CtStatus, Some(0x20), true, &zero), true),
            (compare(Selector::Mark, Some(0x4000), false, &0x4000_u32.to_ne_bytes()), true),
            (compare(Selector::IpSaddr, None, false, &[10, 1]), false),
        ] {
            assert_eq!(excludes(&clause, "br0"), is_certain, "{clause:?}");
        }
        let conntrack = |flags: u16, inverted: u16, states: u16| {
            let mut info = vec![0; 164];
            for (at, word) in [(146, flags), (148, inverted), (150, states)] {
                info[at..at + 2].copy_from_slice(&word.to_ne_bytes());
            }
            excludes(&Clause::Extension { name: "conntrack".to_owned(), info }, "br0")
        };
        assert!(conntrack(XT_CONNTRACK_STATE, 0, 6) && conntrack(XT_CONNTRACK_STATUS, 0, 0));
        assert!(!conntrack(XT_CONNTRACK_STATE, 0, 6 | XT_CONNTRACK_NEW));
        assert!(!conntrack(XT_CONNTRACK_STATE, XT_CONNTRACK_STATE, 6) && !conntrack(0, 0, 0));
    }
}
