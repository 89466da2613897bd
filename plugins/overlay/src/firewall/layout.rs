//! What of the table is one network's, what all networks of a port share, and how either gets there.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cni::{NetworkName, token};
use nftables::ledger::COMMENT_MAX;
use nftables::{
    Batch, Chain, Clause, Expr, Family, Field, HookPoint, Kind, Result, Selector, Set, Socket, Table, Type,
    WholeRule, priority,
};

pub(super) const TABLE: Table = Table::new(Family::Inet, "cleat_overlay");
/// Leads to a chain for each port.
pub(super) const INCOMING: Chain =
    Chain::base(TABLE, "incoming", Kind::Filter, HookPoint::Input, priority::RAW);

/// The names of what is one network's. Any name is allowed for a network, and not every one for a set.
pub(super) struct Own {
    comment: String,
    sets: [String; 2],
}

impl Own {
    pub(super) fn new(network: &NetworkName) -> Self {
        let (mut comment, token) = (network.as_str().to_owned(), token(&[network.as_str()]));
        comment.truncate(comment.floor_char_boundary(COMMENT_MAX));
        Self { comment, sets: [format!("peers4_{token}"), format!("peers6_{token}")] }
    }

    fn set(&self, family: usize) -> Set<'_> {
        Set::new(TABLE, &self.sets[family], &TYPES[family])
    }

    /// Whether a rule is this network's: by the set that it looks into.
    fn has(&self, rule: &WholeRule) -> bool {
        rule.rule.clauses.iter().any(|clause| match clause {
            Clause::Lookup { set, .. } => self.sets.contains(set),
            _ => false,
        })
    }

    /// The network's rule for a family.
    fn rule(&self, family: usize, vni: u32) -> [Expr<'_>; 4] {
        let set = self.set(family);
        [Expr::vni(vni), Expr::not_in_set(&SOURCES[family], set), Expr::Counter, Expr::drop()]
    }

    pub(super) fn put(
        &self,
        socket: &mut Socket,
        batch: &mut Batch,
        (port, vni): (u16, u32),
        peers: &BTreeSet<IpAddr>,
        goes: &dyn Fn(&IpAddr) -> bool,
    ) -> Result<()> {
        let name = chain_of(port);
        let chain = Chain::new(TABLE, &name);
        if !socket.has_table(&TABLE)? {
            batch.add_table(&TABLE);
        }
        let mut ports = self.leave(socket, batch, Some(port))?;
        ports.insert(port);
        for family in FAMILIES {
            self.put_peers(socket, batch, family, peers, goes)?;
        }
        self.put_rules(socket, batch, &chain, vni)?;
        put_jumps(socket, batch, &ports)
    }

    /// The set of a family has these addresses, and of the others none that `goes`.
    fn put_peers(
        &self,
        socket: &mut Socket,
        batch: &mut Batch,
        family: usize,
        peers: &BTreeSet<IpAddr>,
        goes: &dyn Fn(&IpAddr) -> bool,
    ) -> Result<()> {
        let set = self.set(family);
        let wanted: BTreeSet<IpAddr> =
            peers.iter().copied().filter(|peer| usize::from(peer.is_ipv6()) == family).collect();
        let mut found = BTreeSet::new();
        if socket.has_set(&set)? {
            found.extend(socket.elements(&set)?.iter().filter_map(|element| address(&element.key)));
        } else {
            batch.add_set(&set);
        }
        let keys = |peers: &mut dyn Iterator<Item = &IpAddr>| -> Vec<[Field; 1]> {
            peers.map(|peer| [Field::from(*peer)]).collect()
        };
        batch.add_keys(&set, &keys(&mut wanted.difference(&found)));
        batch.del_keys(&set, &keys(&mut found.difference(&wanted).filter(|address| goes(address))));
        Ok(())
    }

    /// The chain of the port has the network's two rules, and those that end it after all networks'.
    fn put_rules(&self, socket: &mut Socket, batch: &mut Batch, chain: &Chain, vni: u32) -> Result<()> {
        let found = socket.whole_rules(chain)?;
        if found.is_empty() {
            batch.add_chain(chain);
        }
        let (own, others): (Vec<&WholeRule>, Vec<&WholeRule>) = found.iter().partition(|rule| self.has(rule));
        let wanted = FAMILIES.map(|family| self.rule(family, vni));
        let end = end();
        // All rules but the last ones are networks'.
        let is_ended = found.len() >= end.len()
            && are(&found[found.len() - end.len()..].iter().collect::<Vec<_>>(), &end)
            && found[..found.len() - end.len()].iter().all(is_networks);
        if !are(&own, &wanted) {
            for rule in own {
                batch.del_rule(chain, rule.rule.handle);
            }
            for exprs in wanted.iter().rev() {
                batch.insert_rule(chain, exprs, Some(&self.comment));
            }
        }
        if !is_ended {
            for rule in others.into_iter().filter(|rule| !is_networks(rule)) {
                batch.del_rule(chain, rule.rule.handle);
            }
            for exprs in &end {
                batch.add_rule(chain, exprs, None);
            }
        }
        Ok(())
    }

    /// Takes the network's rules out of the chains of all ports but one, and chains without rules of a network. Returns the
    /// ports whose chains stay.
    fn leave(&self, socket: &mut Socket, batch: &mut Batch, keep: Option<u16>) -> Result<BTreeSet<u16>> {
        let mut ports = BTreeSet::new();
        for name in socket.chain_names(&TABLE)? {
            let Some(port) = port_of(&name) else { continue };
            let chain = Chain::new(TABLE, &name);
            let rules = socket.whole_rules(&chain)?;
            let (own, others): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| self.has(rule));
            if Some(port) == keep || others.iter().any(|rule| is_networks(rule)) {
                ports.insert(port);
            } else {
                // No rule leads to a chain that goes.
                for rule in socket.rules(&INCOMING)?.iter().filter(|rule| rule.leads_to(&name)) {
                    batch.del_rule(&INCOMING, rule.handle);
                }
                batch.del_chain(&chain);
                continue;
            }
            if Some(port) != keep {
                for rule in own {
                    batch.del_rule(&chain, rule.rule.handle);
                }
            }
        }
        Ok(ports)
    }

    pub(super) fn remove(&self, socket: &mut Socket, batch: &mut Batch) -> Result<()> {
        if !socket.has_table(&TABLE)? {
            return Ok(());
        }
        if self.leave(socket, batch, None)?.is_empty() {
            *batch = Batch::new();
            batch.del_table(&TABLE);
            return Ok(());
        }
        for family in FAMILIES {
            if socket.has_set(&self.set(family))? {
                batch.del_set(&self.set(family));
            }
        }
        Ok(())
    }
}

/// The base chain leads the datagrams of each port to its chain.
fn put_jumps(socket: &mut Socket, batch: &mut Batch, ports: &BTreeSet<u16>) -> Result<()> {
    let wanted: Vec<_> = ports.iter().map(|port| jump(*port)).collect();
    match socket.is_as_chain(&INCOMING)? {
        // At another hook, or none.
        Some(false) => {
            batch.flush_chain(&INCOMING).del_chain(&INCOMING).add_chain(&INCOMING);
        }
        Some(true) => {
            let found = socket.whole_rules(&INCOMING)?;
            let leads = |exprs: &[Expr]| found.iter().any(|rule| rule.consists_of(TABLE, exprs));
            for exprs in wanted.iter().filter(|exprs| !leads(&exprs[..])) {
                batch.add_rule(&INCOMING, exprs, None);
            }
            return Ok(());
        }
        None => {
            batch.add_chain(&INCOMING);
        }
    }
    for exprs in &wanted {
        batch.add_rule(&INCOMING, exprs, None);
    }
    Ok(())
}

fn jump(port: u16) -> [Expr<'static>; 3] {
    [
        Expr::eq(Selector::L4Proto, Field::UDP),
        Expr::eq(Selector::ThDport, Field::Port(port)),
        Expr::jump(chain_of(port)),
    ]
}

/// What ends the chain of a port: datagrams that have the whole of a VNI go on.
fn end() -> [Vec<Expr<'static>>; 3] {
    [
        vec![Expr::vni(0), Expr::to_caller()],
        vec![Expr::not_vni(0), Expr::to_caller()],
        vec![Expr::Counter, Expr::drop()],
    ]
}

/// Whether rules are those, in their order.
fn are<'a>(found: &[&WholeRule], wanted: &[impl AsRef<[Expr<'a>]>]) -> bool {
    found.len() == wanted.len()
        && found.iter().zip(wanted).all(|(rule, exprs)| rule.consists_of(TABLE, exprs.as_ref()))
}

/// Whether a rule is some network's.
fn is_networks(rule: &WholeRule) -> bool {
    rule.rule.clauses.iter().any(|clause| matches!(clause, Clause::Lookup { .. }))
}

fn chain_of(port: u16) -> String {
    format!("{PORT}{port}")
}

fn port_of(chain: &str) -> Option<u16> {
    chain.strip_prefix(PORT)?.parse().ok()
}

fn address(key: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(key).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(key).map(IpAddr::from)).ok()
}

/// What the chain of a port begins with.
const PORT: &str = "port_";
/// IPv4 and IPv6, by their places in what follows.
const FAMILIES: [usize; 2] = [0, 1];
const TYPES: [[Type; 1]; 2] = [[Type::Ipv4Addr], [Type::Ipv6Addr]];
const SOURCES: [[Selector; 1]; 2] = [[Selector::IpSaddr], [Selector::Ip6Saddr]];
