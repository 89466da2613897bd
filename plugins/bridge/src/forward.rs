//! `forward: accept`: what the host's firewall would drop by default of a network's forwarded packets, it lets through.
//!
//! A packet is forwarded only where no base chain at that hook drops it, whoever made the chain: Docker and ufw have
//! iptables' chain `FORWARD` drop what it has no rule for, others end a chain of their own by rejecting the rest. So two
//! rules for the bridge go to the head of each such chain, `iifname "br0" accept` and `oifname "br0" accept`, in the form
//! that both `nft` and iptables read back. What may come in is for the network's `gate`, which drops in a table of its own.
//!
//! ```text
//! table inet cleat_forward {
//!     map members { type ifname : verdict; elements = { "veth…" comment "br0 …" : goto open_… } } # no rule looks here
//!     chain bridges { }
//!     chain open_… { jump bridges }
//! }
//! ```
//!
//! The elements of `members` keep a bridge's chain: with the last port it goes, the rules with it in one transaction, and
//! the table with the last chain. What iptables' legacy variant has is changed by its program, with the first port and
//! the last.

mod legacy;
mod obstacle;

use cni::{Attachment, IfName, NetworkName, token};
use nftables::{
    BaseChain, Batch, Chain, Data, Element, Expr, Family, HookPoint, Rule, Selector, Set, Socket, Table,
    Type, Verdict,
};

use crate::error::Error;
use crate::names;
use crate::tables::{TRIES, comment, contended, first_word, ignore_change, interface, ports_of};

pub use obstacle::OBSTACLE;
pub(crate) use obstacle::{gives_ipv6, status};

const TABLE: Table = Table::new(Family::Inet, "cleat_forward");
const MEMBERS: Set = Set::vmap(TABLE, "members", &[Type::Ifname]);
const BRIDGES: Chain = Chain::new(TABLE, "bridges");
/// Where iptables keeps its rules in `nf_tables`.
const IPTABLES: [Chain; 2] = [
    Chain::new(Table::new(Family::Ip, "filter"), "FORWARD"),
    Chain::new(Table::new(Family::Ip6, "filter"), "FORWARD"),
];
/// What forwarded packets of either version pass.
const FAMILIES: [Family; 3] = [Family::Inet, Family::Ip, Family::Ip6];

/// Has what drops by default let a bridge's packets through, before the attachment's port comes up. The first port of a
/// bridge looks at all chains, a later one only at those of iptables, which another program may have begun to use.
pub(crate) fn add(socket: &mut Socket, bridge: &IfName, attachment: &Attachment) -> Result<(), Error> {
    let port = names::host_interface(attachment);
    // What an earlier life of the same attachment left.
    del(socket, &port)?;
    for _ in 0..TRIES {
        let is_first = !socket.has_chain(&Chain::new(TABLE, &chain(bridge)))?;
        let chains = if is_first { all_chains(socket)? } else { chains_of_iptables(socket)? };
        let mut batch = Batch::new();
        join(socket, &mut batch, bridge, attachment, is_first)?;
        for chain in closed(socket, bridge, chains)? {
            open(&mut batch, &chain.as_chain(), bridge)?;
        }
        match batch.commit(socket) {
            Ok(()) => return if is_first { legacy::open(bridge) } else { Ok(()) },
            // Somebody else has just made, or removed, the table or this bridge's chain.
            Err(error) if error.is_exists() || error.is_busy() || error.is_not_found() => {}
            // A table that its program keeps for itself.
            Err(error) if error.is_not_permitted() && error.index().is_some() => {
                return Err(Error::Kept { bridge: bridge.to_string(), refused: error.to_string() });
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(contended(&TABLE))
}

/// As [`add`], for a port that may be counted already: every chain that is closed again is opened.
pub(crate) fn restore(socket: &mut Socket, bridge: &IfName, attachment: &Attachment) -> Result<(), Error> {
    if !is_member(socket, bridge, attachment)? {
        add(socket, bridge, attachment)?;
    }
    let chains = all_chains(socket)?;
    let mut batch = Batch::new();
    for chain in closed(socket, bridge, chains)? {
        open(&mut batch, &chain.as_chain(), bridge)?;
    }
    batch.commit(socket)?;
    legacy::open(bridge)
}

fn is_member(socket: &mut Socket, bridge: &IfName, attachment: &Attachment) -> Result<bool, Error> {
    let port = interface(&names::host_interface(attachment))?;
    let found = socket.get_element(&MEMBERS, &[port])?.and_then(|element| element.data);
    Ok(found == Some(Data::Verdict(Verdict::goto(chain(bridge)))))
}

/// Counts a port among its bridge's.
fn join(
    socket: &mut Socket,
    batch: &mut Batch,
    bridge: &IfName,
    attachment: &Attachment,
    is_first: bool,
) -> Result<(), Error> {
    if !socket.has_table(&TABLE)? {
        batch.create_table(&TABLE).add_set(&MEMBERS).add_chain(&BRIDGES);
    }
    let name = chain(bridge);
    if is_first {
        let chain = Chain::new(TABLE, &name);
        batch.create_chain(&chain).add_rule(&chain, &[Expr::jump(BRIDGES.name)], None);
    }
    let port = interface(&names::host_interface(attachment))?;
    let member = Element::new(&[port]).verdict(Verdict::goto(name)).comment(comment(bridge, attachment));
    batch.create_element(&MEMBERS, &member);
    Ok(())
}

/// The rules that let a bridge's packets through a chain.
fn open(batch: &mut Batch, chain: &Chain, bridge: &IfName) -> Result<(), Error> {
    let name = interface(bridge.as_str())?;
    for selector in [Selector::Oifname, Selector::Iifname] {
        let clauses = [Expr::eq(selector, name), Expr::Counter, Expr::Verdict(Verdict::Accept)];
        batch.insert_rule(chain, &clauses, Some(&mark(bridge.as_str())));
    }
    Ok(())
}

/// What our rules in other programs' chains have for comment.
fn mark(bridge: &str) -> String {
    format!("cleat {bridge}")
}

/// Any name is allowed for a bridge, and not every one for a chain.
fn chain(bridge: &IfName) -> String {
    format!("open_{}", &token(&[bridge.as_str()])[..8])
}

fn all_chains(socket: &mut Socket) -> Result<Vec<BaseChain>, Error> {
    let mut chains = Vec::new();
    for family in FAMILIES {
        chains.extend(socket.base_chains(family, HookPoint::Forward)?);
    }
    Ok(chains)
}

fn chains_of_iptables(socket: &mut Socket) -> Result<Vec<BaseChain>, Error> {
    let mut chains = Vec::new();
    for chain in &IPTABLES {
        chains.extend(socket.base_chain(chain, HookPoint::Forward)?);
    }
    Ok(chains)
}

/// Those of some chains that drop by default and do not let a bridge's packets through by our rules.
fn closed(socket: &mut Socket, bridge: &IfName, chains: Vec<BaseChain>) -> Result<Vec<BaseChain>, Error> {
    let mut closed = Vec::new();
    for chain in chains {
        let rules = socket.rules(&chain.as_chain())?;
        if obstacle::drops_by_default(&chain, &rules) && ours(&rules, bridge.as_str()).count() < 2 {
            closed.push(chain);
        }
    }
    Ok(closed)
}

fn ours<'a>(rules: &'a [Rule], bridge: &str) -> impl Iterator<Item = &'a Rule> {
    let mark = mark(bridge);
    rules.iter().filter(move |rule| rule.iptables_comment().as_deref() == Some(&mark))
}

/// Takes a port off its bridge's; with the last one the rules go. Nothing there is nothing to do.
pub(crate) fn del(socket: &mut Socket, port: &str) -> Result<(), Error> {
    let key = [interface(port)?];
    for _ in 0..TRIES {
        let Some(found) = socket.get_element(&MEMBERS, &key)? else { return Ok(()) };
        let Some(Data::Verdict(Verdict::Goto(chain))) = &found.data else { return Ok(()) };
        let bridge = first_word(&found).unwrap_or_default();
        let mut batch = Batch::new();
        batch.del_element(&MEMBERS, &key);
        let is_last = close_if_unused(socket, &mut batch, chain, bridge, 1)?;
        match batch.commit(socket) {
            Ok(()) if is_last => return legacy::close(bridge),
            // Two that went at the same time have each seen the other: whoever is last sees it now.
            Ok(()) => {
                let mut batch = Batch::new();
                if !close_if_unused(socket, &mut batch, chain, bridge, 0)? {
                    return Ok(());
                }
                ignore_change(batch.commit(socket))?;
                return legacy::close(bridge);
            }
            Err(error) if error.is_busy() || error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(contended(&TABLE))
}

/// Adds the removal of a bridge's rules where it has no ports besides those that are `leaving`, and says whether that is
/// so.
fn close_if_unused(
    socket: &mut Socket,
    batch: &mut Batch,
    chain: &str,
    bridge: &str,
    leaving: usize,
) -> Result<bool, Error> {
    let chain = Chain::new(TABLE, chain);
    if socket.references(&chain)? != Some(leaving) {
        return Ok(false);
    }
    batch.del_chain(&chain);
    if socket.references(&BRIDGES)? == Some(1) {
        batch.del_chain(&BRIDGES).del_table(&TABLE);
    }
    for foreign in all_chains(socket)? {
        for rule in ours(&socket.rules(&foreign.as_chain())?, bridge) {
            batch.del_rule(&foreign.as_chain(), rule.handle);
        }
    }
    Ok(true)
}

/// Names what differs from what [`add`] set up.
pub(crate) fn check(socket: &mut Socket, bridge: &IfName, attachment: &Attachment) -> Result<(), Error> {
    if !is_member(socket, bridge, attachment)? {
        let port = names::host_interface(attachment);
        return Err(Error::Differs(format!(
            "map {} of table {TABLE} does not have port {port}",
            MEMBERS.name
        )));
    }
    let chains = all_chains(socket)?;
    match closed(socket, bridge, chains)?.first() {
        Some(chain) => Err(Error::Differs(obstacle::words(&chain.as_chain(), bridge.as_str()))),
        None => Ok(()),
    }
}

/// The ports of a network that other programs' chains are open for.
pub(crate) fn ports(socket: &mut Socket, network: &NetworkName) -> Result<Vec<String>, Error> {
    ports_of(socket, &MEMBERS, network)
}
