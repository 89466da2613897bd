//! Whether the rules of a chain, which other programs made, could accept a packet of which a few things are known.
//!
//! The answer is no only where it is certain: a clause that is not understood could let the packet through.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use crate::{
    BaseChain, Chain, Clause, Data, Element, Field, Ifname, Policy, Result, Rule, Selector, Set, Socket,
    Table, Verdict, state,
};

/// What is known of the first packet of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The interface that it came in by.
    pub interface: &'a str,
    /// Its protocol above IP, an `IPPROTO_*` number.
    pub protocol: u8,
    /// The port that it goes to, where that is known.
    pub port: Option<u16>,
}

/// The search for a rule that could accept a packet.
pub struct Search<'a> {
    socket: &'a mut Socket,
    packet: Packet<'a>,
    /// What else says that a clause is not for the packet.
    excludes: Box<dyn FnMut(&Clause) -> bool + 'a>,
    /// The chains that were looked through.
    seen: HashSet<String>,
}

impl BaseChain {
    /// Whether it drops whatever it has no rule for: by its policy, or by a rule for all packets. `rules`: its own.
    #[must_use]
    pub fn drops_by_default(&self, rules: &[Rule]) -> bool {
        self.policy == Policy::Drop || rules.iter().any(Rule::drops_all)
    }
}

impl Rule {
    /// Whether it drops, or rejects, all packets that come to it.
    #[must_use]
    pub fn drops_all(&self) -> bool {
        let drops = |clause: &Clause| matches!(name(clause), "drop" | "REJECT" | "reject");
        let is_for_all =
            |clause: &Clause| drops(clause) || matches!(name(clause), "comment" | "LOG" | "counter" | "log");
        self.clauses.iter().all(is_for_all) && self.clauses.iter().any(drops)
    }
}

impl<'a> Search<'a> {
    /// For a packet.
    pub fn new(socket: &'a mut Socket, packet: Packet<'a>) -> Self {
        Self { socket, packet, excludes: Box::new(|_| false), seen: HashSet::new() }
    }

    /// With clauses that the caller knows not to be for the packet.
    #[must_use]
    pub fn passing_over(self, excludes: impl FnMut(&Clause) -> bool + 'a) -> Self {
        Self { excludes: Box::new(excludes), ..self }
    }

    /// Whether a chain has such a rule, or leads to one that has.
    ///
    /// # Errors
    ///
    /// A question that the kernel does not answer.
    pub fn may_accept(&mut self, chain: &Chain) -> Result<bool> {
        if !self.seen.insert(chain.name.to_owned()) {
            return Ok(false);
        }
        for rule in self.socket.rules(chain)? {
            // No packet comes to what is after it.
            if rule.drops_all() {
                return Ok(false);
            }
            if self.accepts(chain.table, &rule)? {
                return Ok(true);
            }
        }
        Ok(false)
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
                clause if self.packet.is_excluded(clause) || (self.excludes)(clause) => return Ok(false),
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

    fn leads_to_acceptance(&mut self, table: Table<'_>, verdict: &Verdict) -> Result<bool> {
        match verdict {
            Verdict::Accept => Ok(true),
            Verdict::Jump(to) | Verdict::Goto(to) => self.may_accept(&Chain::new(table, to)),
            _ => Ok(false),
        }
    }

    /// What a set or a map of verdicts has of the packet.
    fn look_up(&mut self, table: Table<'_>, selector: Option<Selector>, set: &str) -> Found {
        let key = match selector {
            Some(Selector::Iifname) => Ifname::new(self.packet.interface).ok().map(Field::Ifname),
            Some(Selector::L4Proto) => Some(Field::Proto(self.packet.protocol)),
            Some(Selector::ThDport) => self.packet.port.map(Field::Port),
            // A number in host byte order, as marks are.
            Some(Selector::CtState) => Some(Field::Mark(state::NEW)),
            _ => None,
        };
        match key.map(|key| self.socket.get_element(&Set::new(table, set, &[key.kind()]), &[key])) {
            Some(Ok(None)) => Found::Nothing,
            Some(Ok(Some(Element { data: Some(Data::Verdict(verdict)), .. }))) => Found::Verdict(verdict),
            Some(Ok(Some(_))) => Found::Key,
            Some(Err(_)) | None => Found::Unknown,
        }
    }
}

/// What a set has of a packet.
enum Found {
    Nothing,
    Key,
    Verdict(Verdict),
    Unknown,
}

impl Packet<'_> {
    /// Whether a clause alone says that a rule is not for the packet.
    fn is_excluded(&self, clause: &Clause) -> bool {
        match clause {
            Clause::Compare { selector: Some(selector), mask, negated, bytes } => match selector {
                Selector::Iifname => is_name(bytes, self.interface) == *negated,
                Selector::L4Proto => (bytes[..] == [self.protocol]) == *negated,
                // Both ports at once.
                Selector::ThSport if bytes.len() == 4 => {
                    mask.is_none() && !negated && !self.is_to(&bytes[2..])
                }
                Selector::ThDport => mask.is_none() && self.port.is_some() && self.is_to(bytes) == *negated,
                // Only the form with bits: `ct state established,related`.
                Selector::CtState => *negated && is_zero(bytes) && !has_bit(mask.as_ref(), state::NEW),
                // A new connection has not been translated, unless it is for a published port.
                Selector::CtStatus => *negated && is_zero(bytes),
                // Unmarked packets have no mark.
                Selector::Mark => !*negated && !is_zero(bytes),
                _ => false,
            },
            Clause::Extension { name, info } => match &name[..] {
                "conntrack" => is_for_answers(info),
                // iptables' programs compare the protocol as well, but not every version of them before.
                "tcp" => self.protocol != TCP || !self.is_in_range(info),
                "udp" => self.protocol != UDP || !self.is_in_range(info),
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether the packet may go to a port, in network byte order.
    fn is_to(&self, bytes: &[u8]) -> bool {
        self.port.is_none_or(|port| bytes == port.to_be_bytes())
    }

    /// Whether iptables' match on TCP or UDP lets the port through (`struct xt_tcp` and `xt_udp`,
    /// `linux/netfilter/xt_tcpudp.h`: the ports come first in both).
    fn is_in_range(&self, info: &[u8]) -> bool {
        let word = |at: usize| Some(u16::from_ne_bytes(info.get(at..at + 2)?.try_into().ok()?));
        // In xt_tcp the option and the flags, of which two are bytes, come before what is inverted.
        let inverted = info.get(if self.protocol == TCP { 11 } else { 8 });
        let (Some(first), Some(last), Some(inverted), Some(port)) = (word(4), word(6), inverted, self.port)
        else {
            return true;
        };
        (first..=last).contains(&port) != (inverted & XT_INV_DSTPT != 0)
    }
}

/// What a clause does, by its name in nft or iptables; empty where it only compares, or leads somewhere.
fn name(clause: &Clause) -> &str {
    match clause {
        Clause::Extension { name, .. } | Clause::Other(name) => name,
        Clause::Verdict(Verdict::Drop) => "drop",
        Clause::Verdict(_) | Clause::Compare { .. } | Clause::Lookup { .. } | Clause::Dnat { .. } => "",
    }
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

/// `IPPROTO_TCP`.
const TCP: u8 = 6;
/// `IPPROTO_UDP`.
const UDP: u8 = 17;
/// `XT_TCP_INV_DSTPT` and `XT_UDP_INV_DSTPT`.
const XT_INV_DSTPT: u8 = 2;
const XT_CONNTRACK_STATE: u16 = 1;
const XT_CONNTRACK_STATUS: u16 = 1 << 6;
/// `XT_CONNTRACK_STATE_BIT(IP_CT_NEW)`.
const XT_CONNTRACK_NEW: u16 = 1 << 3;
