//! What the reference's portmap makes with its own nftables backend (from version 1.6 on): a rule a port in chains that
//! all networks share, whose comment is the container's ID. Its tables stay, as with the reference.
//!
//! ```text
//! table ip cni_hostport {                                        (and ip6)
//!     chain hostports { tcp dport 8080 dnat to 10.1.0.2:80 comment "web" }
//!     chain hostip_hostports { the same, in some versions, for a port on one address of the host }
//!     chain hostports_all { jump hostip_hostports; jump hostports }
//!     chain prerouting, output { fib daddr type local jump hostports_all }
//!     chain masquerading { ip saddr 127.0.0.1 ip daddr 10.1.0.2 masquerade comment "web" }
//! }
//! ```

use std::net::{IpAddr, Ipv4Addr};

use cni::ContainerId;
use ipnetwork::IpNetwork;
use nftables::ledger::{self, Change, Removal};
use nftables::{Chain, Clause, Family, Rule, Selector, Socket, Table, key};

use crate::backend::Wanted;
use crate::error::{Error, differs};
use crate::port::Port;
use crate::port_match::{is_for, is_on_address};

const TABLES: [Table; 2] = [Table::new(Family::Ip, "cni_hostport"), Table::new(Family::Ip6, "cni_hostport")];
const CHAINS: [&str; 3] = [PORTS, PORTS_OF_ADDRESSES, MASQUERADING];
const PORTS: &str = "hostports";
const PORTS_OF_ADDRESSES: &str = "hostip_hostports";
const MASQUERADING: &str = "masquerading";
const ALL_PORTS: &str = "hostports_all";

/// Whether a container has a port in these tables on any of its addresses. Costs a question a family where there is no
/// such table.
pub(crate) fn has(rules: &mut Socket, wanted: &Wanted) -> Result<bool, Error> {
    for address in wanted.container.addresses.iter().map(IpNetwork::ip) {
        if rules.has_table(&table(address))?
            && !own(rules, &wanted.attachment.container_id, address)?.is_empty()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether anybody has a port of IPv4 in these tables.
pub(crate) fn has_ports(rules: &mut Socket) -> Result<bool, Error> {
    for chain in [PORTS, PORTS_OF_ADDRESSES] {
        if !rules.rules(&Chain::new(TABLES[0], chain))?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Names what is missing for the ports.
pub(crate) fn check(rules: &mut Socket, wanted: &Wanted) -> Result<(), Error> {
    let Wanted { attachment, conf, container } = wanted;
    let all = wanted.ports()?;
    for address in container.addresses.iter().map(IpNetwork::ip) {
        let table = table(address);
        let mut ports = all.iter().filter(|port| port.container.ip() == address).peekable();
        if ports.peek().is_none() {
            continue;
        }
        let leading = own(rules, &attachment.container_id, address)?;
        if let Some(port) = ports.find(|port| !leading.iter().any(|rule| leads(rule, port))) {
            return differs(format!(
                "table {table} has no rule that leads port {port} to {}",
                port.container
            ));
        }
        for (from, to) in [("prerouting", ALL_PORTS), ("output", ALL_PORTS), (ALL_PORTS, PORTS)] {
            if !rules.rules(&Chain::new(table, from))?.iter().any(|rule| rule.leads_to(to)) {
                return differs(format!("chain {from} of table {table} does not lead to chain {to}"));
            }
        }
        let localhost = address.is_ipv4().then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let masquerading = rules.rules(&Chain::new(table, MASQUERADING))?;
        for from in [address].into_iter().chain(localhost).filter(|_| conf.snat) {
            if !masquerading.iter().any(|rule| masquerades(rule, from, address)) {
                return differs(format!("table {table} does not masquerade {from} on its way to {address}"));
            }
        }
    }
    Ok(())
}

fn table(address: IpAddr) -> Table<'static> {
    TABLES[usize::from(address.is_ipv6())]
}

/// The rules of a container that lead to an address. By its other networks it has other addresses.
fn own(rules: &mut Socket, container_id: &ContainerId, address: IpAddr) -> Result<Vec<Rule>, Error> {
    let wanted = key::encode(&[address.into()]);
    let leads_there = |rule: &Rule| {
        let to = |clause: &Clause| matches!(clause, Clause::Dnat { address, .. } if *address == wanted);
        is_of(rule, container_id) && rule.clauses.iter().any(to)
    };
    let mut own = Vec::new();
    for name in [PORTS, PORTS_OF_ADDRESSES] {
        let all = rules.rules(&Chain::new(table(address), name))?;
        own.extend(all.into_iter().filter(leads_there));
    }
    Ok(own)
}

fn is_of(rule: &Rule, container_id: &ContainerId) -> bool {
    rule.comment.as_deref() == Some(container_id.as_str())
}

/// Whether a rule leads a port, on every address of the host or on the same, to where it is to lead.
fn leads(rule: &Rule, port: &Port) -> bool {
    rule.clauses.iter().all(|clause| match clause {
        Clause::Compare { .. } => {
            is_for(clause, port).or_else(|| is_on_address(clause, port)).unwrap_or(false)
        }
        Clause::Dnat { port: to, .. } => *to == Some(port.container.port()),
        _ => true,
    })
}

/// Whether a rule masquerades what comes from the one address and goes to the other.
fn masquerades(rule: &Rule, from: IpAddr, to: IpAddr) -> bool {
    let agrees = |clause: &Clause| match clause {
        Clause::Compare { selector: Some(selector), negated: false, bytes, .. } => match selector {
            Selector::IpSaddr | Selector::Ip6Saddr => *bytes == key::encode(&[from.into()]),
            Selector::IpDaddr | Selector::Ip6Daddr => *bytes == key::encode(&[to.into()]),
            _ => false,
        },
        Clause::Compare { .. } => false,
        _ => true,
    };
    rule.clauses.contains(&Clause::Other("masq".to_owned())) && rule.clauses.iter().all(agrees)
}

/// Removes the rules of a container, of every network. Costs two questions where there are no such tables.
pub(crate) fn del(rules: &mut Socket, container_id: &ContainerId) -> Result<(), Error> {
    for table in TABLES {
        if rules.has_table(&table)? {
            del_in(rules, table, container_id, |_| true)?;
        }
    }
    Ok(())
}

/// Removes the rules of a container for one network's addresses alone.
pub(crate) fn del_of(rules: &mut Socket, wanted: &Wanted) -> Result<(), Error> {
    for address in wanted.container.addresses.iter().map(IpNetwork::ip) {
        let bytes = key::encode(&[address.into()]);
        let is_for = |rule: &Rule| {
            rule.clauses.iter().any(|clause| match clause {
                Clause::Dnat { address, .. } => *address == bytes,
                Clause::Compare {
                    selector: Some(Selector::IpDaddr | Selector::Ip6Daddr), bytes: to, ..
                } => *to == bytes,
                _ => false,
            })
        };
        del_in(rules, table(address), &wanted.attachment.container_id, is_for)?;
    }
    Ok(())
}

fn del_in(
    rules: &mut Socket,
    table: Table<'static>,
    container_id: &ContainerId,
    is_meant: impl Fn(&Rule) -> bool,
) -> Result<(), Error> {
    let mut removal = Removal::new(table, |rules: &mut Socket, change: &mut Change| {
        for name in CHAINS {
            let chain = Chain::new(table, name);
            let all = rules.rules(&chain)?;
            for rule in all.iter().filter(|rule| is_of(rule, container_id) && is_meant(rule)) {
                change.batch.del_rule(&chain, rule.handle);
            }
        }
        Ok(())
    });
    ledger::put::<Error>(rules, &mut [&mut removal])
}
