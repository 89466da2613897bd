//! What the packet filter of IP cannot see of ports that are kept apart: which port a packet comes from and goes to, and
//! what is no packet of IP.
//!
//! `br_netfilter` shows a bridge's packets to the packet filter of IP, with the bridge for interface. That one lets links
//! through by their addresses, so here each address is held to its port: a container that sends from another's, or
//! claims it, gets nothing through, neither on the bridge nor by way of the host. Nor does `br_netfilter` show what is
//! in a VLAN's tag. A container with a raw socket may tag its packets with VLAN 0, and the receiver takes them for untagged
//! ones (IEEE 802.1Q, priority tags), so they would pass by the gate: between ports nothing passes but IP and ARP.
//!
//! ```text
//! table bridge cleat_gate {
//!     map apart { type ifname : verdict; elements = { "veth…" comment "…" : goto plain } }
//!     set ports { type ifname; elements = { "veth…" comment "br0 veth… 10.1.0.2" } }   # with what it holds
//!     set held4 { type ipv4_addr; elements = { 10.1.0.2 comment "veth…" } }            # held6 likewise
//!     set own4 { type ifname . ipv4_addr; elements = { "veth…" . 10.1.0.2 } }          # own6 likewise
//!     chain plain { ether type ip return; ether type ip6 return; ether type arp return; drop }
//!     chain forward { type filter hook forward priority 0; iifname vmap @apart; oifname vmap @apart }
//!     chain pre { type filter hook prerouting priority -300
//!         iifname @ports ip saddr @held4 iifname . ip saddr != @own4 drop               # IPv6 likewise
//!         iifname @ports meta protocol 8021q drop                                       # 8021ad likewise: a tag in a tag
//!     }
//!     chain post { type filter hook postrouting priority 0
//!         oifname @ports ip daddr @held4 oifname . ip daddr != @own4 drop               # IPv6 likewise
//!     }
//! }
//! ```
//!
//! One element of `apart` and of `ports` is the bridge's own, and one of each `held` an address that no packet on a wire has:
//! where it is missing, the set has been flushed. The table goes with the last element that leads to `plain`.
//!
//! Older versions had `apart`, `plain` and `forward`. Not every kernel knows the bridge of a port (`meta ibrname`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nftables::{
    Batch, Chain, Element, Expr, Family, Field, HookPoint, Kind, Selector, Set, Socket, Table, Type, Verdict,
    priority,
};

use super::layout::{self, Wanted};
use super::ports::Port;
use crate::error::{Result, differs};
use crate::filter::owner::{del_if_present, element, interface, key_of};

const TABLE: Table = Table::new(Family::Bridge, "cleat_gate");
const APART: Set = Set::vmap(TABLE, "apart", &[Type::Ifname]);
const PORTS: Set = Set::new(TABLE, "ports", &[Type::Ifname]);
const HELD: [Set; 2] =
    [Set::new(TABLE, "held4", &[Type::Ipv4Addr]), Set::new(TABLE, "held6", &[Type::Ipv6Addr])];
const OWN: [Set; 2] = [
    Set::new(TABLE, "own4", &[Type::Ifname, Type::Ipv4Addr]),
    Set::new(TABLE, "own6", &[Type::Ifname, Type::Ipv6Addr]),
];
const PLAIN: Chain = Chain::new(TABLE, "plain");
const FORWARD: Chain = Chain::base(TABLE, "forward", Kind::Filter, HookPoint::Forward, priority::FILTER);
const PRE: Chain = Chain::base(TABLE, "pre", Kind::Filter, HookPoint::Prerouting, priority::RAW);
const POST: Chain = Chain::base(TABLE, "post", Kind::Filter, HookPoint::Postrouting, priority::FILTER);
/// No packet on a wire is from or to these.
const NOBODYS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

fn chains() -> [Wanted<'static>; 4] {
    use Selector::{Iifname, Ip6Daddr, Ip6Saddr, IpDaddr, IpSaddr, Oifname};
    let held = |both: &'static [Selector], family: usize| {
        let (port, address) = (Expr::in_set(&both[..1], PORTS), Expr::in_set(&both[1..], HELD[family]));
        vec![port, address, Expr::not_in_set(both, OWN[family]), Expr::drop()]
    };
    let tagged = |tag| vec![Expr::in_set(&[Iifname], PORTS), Expr::eq(Selector::Protocol, tag), Expr::drop()];
    let mut pre = vec![held(&[Iifname, IpSaddr], 0), held(&[Iifname, Ip6Saddr], 1)];
    pre.extend([Field::ETHER_VLAN, Field::ETHER_SERVICE_VLAN].map(tagged));
    let post = vec![held(&[Oifname, IpDaddr], 0), held(&[Oifname, Ip6Daddr], 1)];
    let [plain, forward] = chains_of_older_versions();
    [plain, forward, Wanted::new(PRE, pre), Wanted::new(POST, post)]
}

/// Those that older versions made.
fn chains_of_older_versions() -> [Wanted<'static>; 2] {
    let sides: [&[Selector]; 2] = [&[Selector::Iifname], &[Selector::Oifname]];
    let forward = sides.map(|side| vec![Expr::vmap(side, APART)]);
    let plain = [Field::ETHER_IP, Field::ETHER_IP6, Field::ETHER_ARP]
        .map(|plain| vec![Expr::eq(Selector::EtherType, plain), Expr::to_caller()]);
    let plain = plain.into_iter().chain([vec![Expr::drop()]]).collect();
    [Wanted::new(PLAIN, plain), Wanted::new(FORWARD, forward.into())]
}

/// Names what differs for a bridge, besides what single ports have.
pub(super) fn expect(socket: &mut Socket, bridge: Field) -> Result<()> {
    layout::expect(socket, &TABLE, &chains())?;
    if element(socket, &APART, &[bridge])?.is_none() {
        return differs(format!(
            "map apart of table {TABLE} has been flushed, and what is in a VLAN's tag passes"
        ));
    }
    flushed(socket, bridge)?
        .map_or(Ok(()), |set| differs(format!("set {set} of table {TABLE} has been flushed")))
}

/// A set of those that hold addresses to ports that does not have the bridge's own element any more.
pub(super) fn flushed(socket: &mut Socket, bridge: Field) -> Result<Option<&'static str>> {
    for (set, address) in HELD.iter().zip(NOBODYS) {
        if element(socket, set, &[address.into()])?.is_none() {
            return Ok(Some(set.name));
        }
    }
    Ok(element(socket, &PORTS, &[bridge])?.is_none().then_some(PORTS.name))
}

/// Names what differs from what older versions made.
pub(super) fn expect_older(socket: &mut Socket) -> Result<()> {
    layout::expect(socket, &TABLE, &chains_of_older_versions())
}

/// Adds to a transaction what is missing of the table, and for the bridge and its ports.
pub(super) fn mend(socket: &mut Socket, batch: &mut Batch, bridge: &str, ports: &[&Port]) -> Result<()> {
    let sets = [APART, PORTS, HELD[0], HELD[1], OWN[0], OWN[1]];
    layout::mend(socket, batch, &TABLE, &sets, &chains())?;
    batch.add_element(&APART, &leads(interface(bridge)?));
    batch.add_element(&PORTS, &Element::new(&[interface(bridge)?]));
    for (set, address) in HELD.iter().zip(NOBODYS) {
        batch.add_element(set, &Element::new(&[address.into()]));
    }
    for port in ports {
        let name = interface(&port.name)?;
        batch.add_element(&APART, &leads(name).comment(port.comment(bridge)));
        batch.add_element(&PORTS, &Element::new(&[name]).comment(format!("{bridge} {}", port.name)));
    }
    Ok(())
}

fn leads(link: Field) -> Element {
    Element::new(&[link]).verdict(Verdict::goto(PLAIN.name))
}

/// What a port holds, under its derived name and the one that the kernel knows it by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding<'a> {
    pub bridge: &'a str,
    pub derived: &'a str,
    pub held: &'a str,
    pub addresses: &'a [IpAddr],
}

/// An element that says whose an address is.
pub(super) type Key = (Set<'static>, Vec<Field>);

impl Holding<'_> {
    /// Adds to a transaction that the port lets nothing but plain packets through, and nobody else has its addresses.
    /// An address has one port: the port that had it before has gone without a DEL. `gone` is what the transaction has removed.
    pub(super) fn add(
        &self,
        socket: &mut Socket,
        batch: &mut Batch,
        comment: String,
        gone: &[Key],
    ) -> Result<()> {
        let derived = interface(self.derived)?;
        batch.add_element(&APART, &leads(interface(self.held)?).comment(comment));
        batch.add_element(&PORTS, &Element::new(&[derived]).comment(self.comment()));
        if self.held != self.derived {
            batch.add_element(&PORTS, &Element::new(&[interface(self.held)?]));
        }
        for (set, key) in self.keys()? {
            // What has the port for key is the port's.
            if key.len() == 1
                && let Some(found) = element(socket, &set, &key)?
                && found.comment.as_deref() != Some(self.held)
                && !gone.contains(&(set, key.clone()))
            {
                batch.del_element(&set, &key);
            }
            batch.add_element(&set, &Element::new(&key).comment(self.held));
        }
        Ok(())
    }

    /// Names the first address that others may have.
    pub(super) fn expect(&self, socket: &mut Socket) -> Result<()> {
        let held = self.held;
        for set in [&APART, &PORTS] {
            if element(socket, set, &[interface(held)?])?.is_none() {
                return differs(format!(
                    "port {held} is not held to packets without a VLAN's tag: {} of table {TABLE} does not have it",
                    set.name
                ));
            }
        }
        for (set, key) in self.keys()? {
            if element(socket, &set, &key)?.is_none() {
                return differs(format!(
                    "the addresses of port {held} are not held to it: set {} of table {TABLE} does not have {}",
                    set.name,
                    key.iter().map(ToString::to_string).collect::<Vec<_>>().join(" . ")
                ));
            }
        }
        Ok(())
    }

    /// Whether an earlier ADD of the attachment left another one.
    pub(super) fn replaces(&self, socket: &mut Socket) -> Result<bool> {
        let found = element(socket, &PORTS, &[interface(self.derived)?])?;
        Ok(found.is_some_and(|found| found.comment.as_deref() != Some(&self.comment())))
    }

    fn keys(&self) -> Result<Vec<Key>> {
        let held = interface(self.held)?;
        let keys = self.addresses.iter().flat_map(|address| {
            let (family, address) = (usize::from(address.is_ipv6()), Field::from(*address));
            [(OWN[family], vec![held, address]), (HELD[family], vec![address])]
        });
        Ok(keys.collect())
    }

    /// By this DEL finds the rest: as many addresses as there is room for, which is more than containers have.
    fn comment(&self) -> String {
        let mut text = format!("{} {}", self.bridge, self.held);
        for address in self.addresses {
            let more = format!(" {address}");
            if text.len() + more.len() <= nftables::ledger::COMMENT_MAX {
                text += &more;
            }
        }
        text
    }
}

/// Adds to a transaction, which has removed the `gone` elements, that others may have what a port holds. Where nothing
/// is there, nothing is done.
pub(super) fn forget(
    socket: &mut Socket,
    batch: &mut Batch,
    derived: &str,
    gone: &mut Vec<Key>,
) -> Result<()> {
    let port = interface(derived)?;
    let own = (PORTS, vec![port]);
    let Some(found) = element(socket, &PORTS, &[port])?.filter(|_| !gone.contains(&own)) else {
        return Ok(());
    };
    batch.del_element(&PORTS, &[port]);
    gone.push(own);
    let comment = found.comment.unwrap_or_default();
    let mut words = comment.split(' ');
    let (Some(bridge), Some(held)) = (words.next(), words.next()) else { return Ok(()) };
    let addresses: Vec<IpAddr> = words.filter_map(|word| word.parse().ok()).collect();
    if held != derived {
        del_if_present(socket, batch, &PORTS, &[interface(held)?])?;
    }
    for (set, key) in (Holding { bridge, derived, held, addresses: &addresses }).keys()? {
        // Another program may have flushed a set, or the address is another port's by now.
        let is_own = element(socket, &set, &key)?.is_some_and(|found| found.comment.as_deref() == Some(held));
        if is_own && !gone.contains(&(set, key.clone())) {
            batch.del_element(&set, &key);
            gone.push((set, key));
        }
    }
    Ok(())
}

/// Adds to a transaction that a port has left, as [`forget`] and from those that are held to plain packets. Says how many
/// elements that were. A port that another program made has no derived name: it is looked for by its comment.
pub(super) fn leave(
    socket: &mut Socket,
    batch: &mut Batch,
    derived: &str,
    comment: Option<&str>,
    gone: &mut Vec<Key>,
) -> Result<usize> {
    forget(socket, batch, derived, gone)?;
    let mut held = element(socket, &APART, &[interface(derived)?])?;
    if held.is_none() && comment.is_some() {
        held = socket.elements(&APART)?.into_iter().find(|element| element.comment.as_deref() == comment);
    }
    let Some(port) = held.as_ref().and_then(key_of) else { return Ok(0) };
    batch.del_element(&APART, &[interface(&port)?]);
    Ok(1)
}

/// Adds to a transaction that removes that many of a bridge's elements, the last ones, what the bridge itself has, and the
/// table where it was the last bridge.
pub(super) fn del_bridge(socket: &mut Socket, batch: &mut Batch, bridge: &str, removed: usize) -> Result<()> {
    let bridge = interface(bridge)?;
    let own = del_if_present(socket, batch, &APART, &[bridge])?;
    if socket.references(&PLAIN)? == Some(removed + usize::from(own)) {
        remove(batch);
    } else {
        del_if_present(socket, batch, &PORTS, &[bridge])?;
    }
    Ok(())
}

/// Whether the table is there, and nothing needs it.
pub(super) fn is_unused(socket: &mut Socket) -> Result<bool> {
    Ok(socket.references(&PLAIN)? == Some(0))
}

/// Adds to a transaction the removal of a table that [`is_unused`].
pub(super) fn remove(batch: &mut Batch) {
    batch.del_chain(&PLAIN).del_table(&TABLE);
}
