//! Whether a container has a port by iptables, of this program or of the reference, read over netlink: for an ADD with
//! nftables on a node that used iptables before. Rules of the legacy variant are not seen.

use cni::{Attachment, reference};
use ipnetwork::IpNetwork;
use nftables::{Chain, Clause, Family, Rule, Selector, Socket, Table, Verdict};

use super::conflict::{holder, is_of};
use super::{DNAT, TABLE, TABLES};
use crate::error::Error;
use crate::port::Port;
use crate::port_match::{is_for, is_on_address};

/// The tables `nat` that have the reference's chains, of the families of these addresses. Costs one question a family.
pub(crate) fn nat_tables(rules: &mut Socket, addresses: &[IpNetwork]) -> Result<Vec<Table<'static>>, Error> {
    let mut nat_tables = Vec::new();
    for address in addresses {
        let table = TABLES[usize::from(address.is_ipv6())];
        if rules.has_chain(&Chain::new(table, DNAT))? {
            nat_tables.push(table);
        }
    }
    Ok(nat_tables)
}

/// Whether anybody has a port of IPv4 by such chains, or may have one in the legacy variant, which is not asked.
pub(crate) fn have_ports(rules: &mut Socket) -> Result<bool, Error> {
    let is_legacy = iptables::legacy_tables(iptables::Family::V4).iter().any(|table| table == TABLE);
    Ok(is_legacy || !rules.rules(&Chain::new(TABLES[0], DNAT))?.is_empty())
}

/// Fails where a port is published by another container's chain in one of the tables that have such.
pub(crate) fn refuse_taken(
    rules: &mut Socket,
    nat_tables: &[Table],
    attachment: &Attachment,
    ports: &[(usize, Port)],
) -> Result<(), Error> {
    let own = reference::chain("DN-", &attachment.network, &attachment.container_id);
    for &table in nat_tables {
        let base = Chain::new(table, DNAT);
        let is_v4 = table.family == Family::Ip;
        let ports: Vec<&Port> =
            ports.iter().map(|(_, port)| port).filter(|port| port.container.is_ipv4() == is_v4).collect();
        if ports.is_empty() {
            continue;
        }
        for entry in rules.rules(&base)? {
            let Some(Verdict::Jump(chain)) = entry.verdict() else { continue };
            let named: Vec<&&Port> = ports.iter().filter(|port| names(&entry, port)).collect();
            let comment = entry.iptables_comment().unwrap_or_default();
            if named.is_empty() || *chain == own || is_of(&comment, &attachment.container_id) {
                continue;
            }
            let leading = rules.rules(&Chain::new(table, chain))?;
            if let Some(port) = named.into_iter().find(|port| leading.iter().any(|rule| takes(rule, port))) {
                return Err(Error::Taken { port: **port, holder: holder(&comment, chain) });
            }
        }
    }
    Ok(())
}

/// Whether an entry of `CNI-HOSTPORT-DNAT` is for a port, and for all packets to it.
fn names(entry: &Rule, port: &Port) -> bool {
    entry.clauses.iter().all(|clause| match clause {
        Clause::Compare { selector: Some(Selector::L4Proto), .. } => is_for(clause, port) == Some(true),
        Clause::Extension { name, info } if name == "multiport" => multiport(info).contains(&port.host_port),
        Clause::Extension { name, .. } => name == "comment",
        Clause::Verdict(_) => true,
        Clause::Other(name) => name == "counter",
        // A condition: the entry takes some packets only.
        Clause::Compare { .. } | Clause::Lookup { .. } | Clause::Dnat { .. } => false,
    })
}

/// Whether a rule of a container's chain is for a port, on every address of the host or on the same.
fn takes(rule: &Rule, port: &Port) -> bool {
    let leads_away = |clause: &Clause| match clause {
        Clause::Extension { name, .. } => name == "DNAT",
        Clause::Dnat { .. } => true,
        _ => false,
    };
    let is_elsewhere = |clause: &Clause| {
        is_for(clause, port) == Some(false)
            || port.host_ip.is_some() && is_on_address(clause, port) == Some(false)
    };
    rule.clauses.iter().any(leads_away) && !rule.clauses.iter().any(is_elsewhere)
}

/// The ports of `struct xt_multiport_v1`: flags, their number, and fifteen of them in the host's order.
fn multiport(info: &[u8]) -> Vec<u16> {
    let count = usize::from(info.get(1).copied().unwrap_or_default());
    let ports = info.get(2..).unwrap_or_default().chunks_exact(2).take(count);
    ports.map(|port| u16::from_ne_bytes([port[0], port[1]])).collect()
}
