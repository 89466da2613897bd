//! `macspoofchk` as the reference makes it: chains of the attachment's own in a table that all share.
//!
//! ```text
//! table bridge nat {
//!     chain PREROUTING {
//!         type filter hook prerouting priority -300
//!         iifname "vethb1ced1e4" jump cni-br-iface-c1-eth0 comment "macspoofchk-c1-eth0"
//!     }
//!     chain cni-br-iface-c1-eth0 { jump cni-br-iface-c1-eth0-mac comment "macspoofchk-c1-eth0" }
//!     chain cni-br-iface-c1-eth0-mac {
//!         ether saddr 02:00:00:00:00:01 return comment "macspoofchk-c1-eth0"
//!         drop comment "macspoofchk-c1-eth0"
//!     }
//! }
//! ```
//!
//! The table and its base chain stay, as with the reference.

use cni::{Attachment, ContainerId, IfName};
use netlink::Mac;
use nftables::ledger::{self, COMMENT_MAX, Change, Removal};
use nftables::{
    Batch, Chain, Clause, Expr, Family, Field, HookPoint, Kind, Rule, Selector, Socket, Table, Verdict,
    priority,
};

use crate::error::{Result, differs};
use crate::filter::owner::{interface, name_of};

const TABLE: Table = Table::new(Family::Bridge, "nat");
const BASE: Chain = Chain::base(TABLE, "PREROUTING", Kind::Filter, HookPoint::Prerouting, priority::RAW);
/// What the names of the chains begin with.
const PREFIX: &str = "cni-br-iface-";
const MAC: &str = "-mac";
/// `NFT_CHAIN_MAXNAMELEN` less the NUL.
const NAME_MAX: usize = 127;

/// The chain of an attachment; `None` where the kernel would not take its name, so that there is none.
fn name(container_id: &ContainerId, ifname: &IfName) -> Option<String> {
    let name = format!("{PREFIX}{container_id}-{ifname}");
    (name.len() + MAC.len() <= NAME_MAX).then_some(name)
}

/// The removal of what guards an attachment. Costs one question where there is nothing.
pub(crate) fn take(attachment: &Attachment) -> Removal<impl FnMut(&mut Socket, &mut Change) -> Result<()>> {
    let name = name(&attachment.container_id, &attachment.ifname);
    Removal::new(TABLE, move |socket, change| match &name {
        Some(name) => leave(socket, &mut change.batch, name),
        None => Ok(()),
    })
}

/// Deletes a chain with what leads to it and what it leads to.
fn leave(socket: &mut Socket, batch: &mut Batch, name: &str) -> Result<()> {
    let (own, mac) = (Chain::new(TABLE, name), format!("{name}{MAC}"));
    let mac = Chain::new(TABLE, &mac);
    let Some(references) = socket.references(&own)? else { return Ok(()) };
    let rules = socket.rules(&BASE)?;
    let leading: Vec<&Rule> = rules.iter().filter(|rule| rule.leads_to(name)).collect();
    for rule in &leading {
        batch.del_rule(&BASE, rule.handle);
    }
    if references == leading.len() {
        let leads_on = socket.rules(&own)?.iter().filter(|rule| rule.leads_to(mac.name)).count();
        batch.del_chain(&own);
        if socket.references(&mac)? == Some(leads_on) {
            batch.del_chain(&mac);
        }
    }
    Ok(())
}

fn del_chain(socket: &mut Socket, name: &str) -> Result<()> {
    let removal = |socket: &mut Socket, change: &mut Change| leave(socket, &mut change.batch, name);
    ledger::put(socket, &mut [&mut Removal::new(TABLE, removal)])
}

/// Removes what is left of guards: rules for interfaces that the host does not have. Their owner stands there as
/// container and interface, without the network; so what has its interface stays, whichever network it is of, and so does what is
/// `valid`.
pub(crate) fn gc(
    socket: &mut Socket,
    links: &mut netlink::Socket,
    valid: &[(ContainerId, IfName)],
) -> Result<()> {
    let valid: Vec<String> = valid.iter().filter_map(|(id, ifname)| name(id, ifname)).collect();
    for rule in socket.rules(&BASE)? {
        let (Some(Verdict::Jump(chain)), Some(port)) = (rule.verdict(), port_of(&rule)) else { continue };
        if chain.starts_with(PREFIX) && !valid.contains(chain) && links.get_link(&port)?.is_none() {
            del_chain(socket, chain)?;
        }
    }
    Ok(())
}

/// Whether an attachment's port takes in frames from one hardware address only.
pub(crate) fn is_guarded(socket: &mut Socket, attachment: &Attachment, port: &str, mac: Mac) -> Result<bool> {
    let Some(own) = name(&attachment.container_id, &attachment.ifname) else { return Ok(false) };
    let held = format!("{own}{MAC}");
    let leads =
        socket.rules(&BASE)?.iter().any(|rule| rule.leads_to(&own) && port_of(rule).as_deref() == Some(port));
    if !leads || !socket.rules(&Chain::new(TABLE, &own))?.iter().any(|rule| rule.leads_to(&held)) {
        return Ok(false);
    }
    let is_own = |clause: &Clause| {
        matches!(clause, Clause::Compare { selector: Some(Selector::EtherSaddr), negated: false, bytes, .. }
            if bytes[..] == mac.octets())
    };
    let rules = socket.rules(&Chain::new(TABLE, &held))?;
    Ok(match &rules[..] {
        [lets, .., drops] => lets.clauses.iter().any(is_own) && drops.verdict() == Some(&Verdict::Drop),
        _ => false,
    })
}

/// Guards a port that the reference made, by chains of its own kind: its DEL and ours find them by their names.
pub(crate) fn add(socket: &mut Socket, attachment: &Attachment, port: &str, mac: Mac) -> Result<()> {
    let Some(own) = name(&attachment.container_id, &attachment.ifname) else {
        return differs(format!("port {port} cannot be held to its hardware address: DEL and ADD"));
    };
    del_chain(socket, &own)?;
    let (held, comment) =
        (format!("{own}{MAC}"), format!("macspoofchk-{}-{}", attachment.container_id, attachment.ifname));
    let comment = Some(comment.as_str()).filter(|comment| comment.len() <= COMMENT_MAX);
    let (own, held) = (Chain::new(TABLE, &own), Chain::new(TABLE, &held));
    let mut batch = Batch::new();
    batch.add_table(&TABLE).add_chain(&BASE).add_chain(&own).add_chain(&held).flush_chain(&held);
    batch.add_rule(&BASE, &[Expr::eq(Selector::Iifname, interface(port)?), Expr::jump(own.name)], comment);
    batch.add_rule(&own, &[Expr::jump(held.name)], comment);
    let is_own = Expr::eq(Selector::EtherSaddr, Field::Ether(mac.octets()));
    batch.add_rule(&held, &[is_own, Expr::to_caller()], comment);
    batch.add_rule(&held, &[Expr::drop()], comment);
    Ok(batch.commit(socket)?)
}

/// The interface that a rule is for.
fn port_of(rule: &Rule) -> Option<String> {
    rule.clauses.iter().find_map(|clause| match clause {
        Clause::Compare { selector: Some(Selector::Iifname), negated: false, bytes, .. } => name_of(bytes),
        _ => None,
    })
}
