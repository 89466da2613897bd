//! `ipspoofchk`: a container may use only the addresses that it was given, from the hardware address that it was given.
//!
//! In the table of `macspoofchk`, beside what that has there: one chain for every port, and for each attachment an element and
//! one more for each address.
//!
//! ```text
//! table bridge cleat_bridge {
//!     map bound { type ifname : verdict; elements = { "veth…" comment "02:00:00:00:00:01/2 …" : goto own_network } }
//!     set given { type ifname . mark; elements = { "veth…" . 0 comment "10.1.0.2 fe80::ff:fe00:1" } }
//!     set bound4 { type ifname . ether_addr . ipv4_addr; elements = { "veth…" . 02:00:00:00:00:01 . 10.1.0.2 } }
//!     set bound6 { type ifname . ether_addr . ipv6_addr }
//!     chain own_network {
//!         icmpv6 type nd-router-advert or nd-redirect: drop
//!         icmpv6 type nd-neighbor-advert iifname . ether saddr . icmpv6 taddr != @bound6 drop
//!         iifname . ether saddr . ip6 saddr @bound6 return
//!         ip6 saddr :: icmpv6 type nd-neighbor-solicit iifname . ether saddr . icmpv6 taddr @bound6 return
//!         iifname . ether saddr . ip saddr @bound4 return
//!         iifname . ether saddr . arp saddr ip @bound4 iifname . arp saddr ether . arp saddr ip @bound4 return
//!         arp saddr ip 0.0.0.0 iifname . ether saddr . arp daddr ip @bound4 iifname . arp saddr ether . arp daddr ip @bound4 return
//!         drop
//!     }
//!     chain pre_network { type filter hook prerouting priority raw; iifname vmap @bound }
//! }
//! ```
//!
//! The solicitation from `::` and the ARP request from 0.0.0.0 ask whether another node has an address before it is used. The
//! kernel has taken a VLAN's tag off by then, so frames with a tag are held to the same. `given` says which elements are an
//! attachment's: DEL needs to know nothing else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni::Attachment;
use interface::Ipam;
use netlink::Mac;
use nftables::ledger::Skeleton;
use nftables::{
    Batch, Chain, Element, Expr, Field, HookPoint, Kind, Selector, Set, Socket, Type, Verdict, priority,
};

use super::macspoofchk::TABLE;
use crate::error::{Result, differs};
use crate::filter::owner::{comment, del_if_present, first_word, interface};
use crate::mac;

/// The ports that are held to their addresses.
pub(crate) const BOUND: Set = Set::vmap(TABLE, "bound", &[Type::Ifname]);
const GIVEN: Set = Set::new(TABLE, "given", &[Type::Ifname, Type::Mark]);
const BOUND4: Set = Set::new(TABLE, "bound4", &[Type::Ifname, Type::EtherAddr, Type::Ipv4Addr]);
const BOUND6: Set = Set::new(TABLE, "bound6", &[Type::Ifname, Type::EtherAddr, Type::Ipv6Addr]);
pub(super) const OWN_NETWORK: Chain = Chain::new(TABLE, "own_network");
const PRE_NETWORK: Chain =
    Chain::base(TABLE, "pre_network", Kind::Filter, HookPoint::Prerouting, priority::RAW);

/// How many addresses one element of [`GIVEN`] has: with the longest ones its comment is 119 bytes.
const TOGETHER: usize = 3;

/// What an attachment may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    mac: Mac,
    addresses: Vec<IpAddr>,
}

impl Given {
    /// The addresses that IPAM gave, the link-local one that follows from the hardware address, and the unspecified one
    /// where a server of DHCP is asked.
    pub(crate) fn new(mac: Mac, given: impl Iterator<Item = IpAddr>, ipam: &Ipam) -> Self {
        let mut addresses = vec![IpAddr::V6(mac::link_local(mac))];
        if ipam.asks_a_server() {
            addresses.push(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        }
        addresses.extend(given);
        addresses.sort();
        addresses.dedup();
        Self { mac, addresses }
    }

    fn elements(&self, port: Field) -> impl Iterator<Item = (Set<'static>, [Field; 3])> {
        let mac = Field::Ether(self.mac.octets());
        self.addresses.iter().map(move |address| {
            (if address.is_ipv4() { BOUND4 } else { BOUND6 }, [port, mac, Field::from(*address)])
        })
    }

    /// What [`GIVEN`] says of it: keys and comments.
    fn record(&self, port: Field) -> impl Iterator<Item = ([Field; 2], String)> {
        self.addresses.chunks(TOGETHER).zip(0..).map(move |(some, number)| {
            let some: Vec<String> = some.iter().map(ToString::to_string).collect();
            ([port, Field::Mark(number)], some.join(" "))
        })
    }
}

/// What all ports share.
pub(super) fn skeleton() -> Skeleton<'static> {
    Skeleton {
        table: TABLE,
        sets: vec![BOUND, GIVEN, BOUND4, BOUND6],
        chains: vec![
            (OWN_NETWORK, rules()),
            (PRE_NETWORK, vec![vec![Expr::vmap(&[Selector::Iifname], BOUND)]]),
        ],
    }
}

fn rules() -> Vec<Vec<Expr<'static>>> {
    const FROM6: &[Selector] = &[Selector::Iifname, Selector::EtherSaddr, Selector::Ip6Saddr];
    const TARGET6: &[Selector] = &[Selector::Iifname, Selector::EtherSaddr, Selector::Icmpv6Target];
    const FROM4: &[Selector] = &[Selector::Iifname, Selector::EtherSaddr, Selector::IpSaddr];
    const ARP: &[Selector] = &[Selector::Iifname, Selector::EtherSaddr, Selector::ArpSaddrIp];
    const ARP_SAYS: &[Selector] = &[Selector::Iifname, Selector::ArpSaddrEther, Selector::ArpSaddrIp];
    const PROBE: &[Selector] = &[Selector::Iifname, Selector::EtherSaddr, Selector::ArpDaddrIp];
    const PROBE_SAYS: &[Selector] = &[Selector::Iifname, Selector::ArpSaddrEther, Selector::ArpDaddrIp];
    let kind = |field| Expr::eq(Selector::Icmpv6Type, field);
    vec![
        vec![kind(Field::ROUTER_ADVERTISEMENT), Expr::drop()],
        vec![kind(Field::REDIRECT), Expr::drop()],
        vec![kind(Field::NEIGHBOUR_ADVERTISEMENT), Expr::not_in_set(TARGET6, BOUND6), Expr::drop()],
        vec![Expr::in_set(FROM6, BOUND6), Expr::to_caller()],
        vec![
            Expr::eq(Selector::Ip6Saddr, Field::Ipv6(Ipv6Addr::UNSPECIFIED)),
            kind(Field::NEIGHBOUR_SOLICITATION),
            Expr::in_set(TARGET6, BOUND6),
            Expr::to_caller(),
        ],
        vec![Expr::in_set(FROM4, BOUND4), Expr::to_caller()],
        vec![Expr::in_set(ARP, BOUND4), Expr::in_set(ARP_SAYS, BOUND4), Expr::to_caller()],
        vec![
            Expr::eq(Selector::ArpSaddrIp, Field::Ipv4(Ipv4Addr::UNSPECIFIED)),
            Expr::in_set(PROBE, BOUND4),
            Expr::in_set(PROBE_SAYS, BOUND4),
            Expr::to_caller(),
        ],
        vec![Expr::drop()],
    ]
}

/// Adds the elements of a port.
pub(super) fn enter(batch: &mut Batch, port: Field, attachment: &Attachment, given: &Given) {
    let first = format!("{}/{}", given.mac, given.addresses.len().div_ceil(TOGETHER));
    let bound = Element::new(&[port]).verdict(Verdict::goto(OWN_NETWORK.name));
    batch.create_element(&BOUND, &bound.comment(comment(first, attachment)));
    for (set, key) in given.elements(port) {
        batch.create_element(&set, &Element::new(&key));
    }
    for (key, text) in given.record(port) {
        batch.create_element(&GIVEN, &Element::new(&key).comment(text));
    }
}

/// Deletes the elements of a port, and says whether there are any. What another program has flushed is skipped.
pub(super) fn leave(socket: &mut Socket, batch: &mut Batch, port: Field) -> Result<bool> {
    let Some(bound) = socket.get_element(&BOUND, &[port])? else { return Ok(false) };
    batch.del_element(&BOUND, &[port]);
    let (mac, count) = first_word(&bound).and_then(|word| word.split_once('/')).unwrap_or_default();
    let (Ok(mac), Ok(count)) = (mac.parse::<Mac>(), count.parse::<u32>()) else { return Ok(true) };
    for number in 0..count {
        let key = [port, Field::Mark(number)];
        let Some(given) = socket.get_element(&GIVEN, &key)? else { continue };
        batch.del_element(&GIVEN, &key);
        let words = given.comment.as_deref().unwrap_or_default().split(' ');
        let some = Given { mac, addresses: words.filter_map(|word| word.parse().ok()).collect() };
        for (set, key) in some.elements(port) {
            del_if_present(socket, batch, &set, &key)?;
        }
    }
    Ok(true)
}

/// Deletes the elements that are about to be added, where [`BOUND`] does not have the port.
pub(super) fn leave_elements(
    socket: &mut Socket,
    batch: &mut Batch,
    port: Field,
    given: &Given,
) -> Result<()> {
    for (set, key) in given.elements(port) {
        del_if_present(socket, batch, &set, &key)?;
    }
    for (key, _) in given.record(port) {
        del_if_present(socket, batch, &GIVEN, &key)?;
    }
    Ok(())
}

/// Names what a port is not held to.
pub(super) fn check(socket: &mut Socket, name: &str, given: &Given) -> Result<()> {
    let port = interface(name)?;
    if !skeleton().is_complete(socket)? || socket.get_element(&BOUND, &[port])?.is_none() {
        return differs(format!("port {name} is not held to its addresses"));
    }
    for ((set, key), address) in given.elements(port).zip(&given.addresses) {
        if socket.get_element(&set, &key)?.is_none() {
            return differs(format!("port {name} is not held to address {address} at {}", given.mac));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_recorded() {
        let mac: Mac = "02:00:00:00:00:01".parse().unwrap();
        let long: IpAddr = "2001:db8:1234:5678:9abc:def0:1234:5678".parse().unwrap();
        let many = (0..7).map(|number| match long {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() + number)),
            v4 @ IpAddr::V4(_) => v4,
        });
        let given = Given::new(mac, many, &Ipam::new("dhcp".to_owned()));
        assert_eq!(given.addresses.len(), 9);
        let port = crate::filter::owner::interface("veth0123456789a").unwrap();
        let told: Vec<String> = given.record(port).map(|(_, text)| text).collect();
        assert!(
            told.len() == 3 && told.iter().all(|text| text.len() <= nftables::ledger::COMMENT_MAX),
            "{told:?}"
        );
        let read = told.iter().flat_map(|text| text.split(' ')).map(|word| word.parse::<IpAddr>().unwrap());
        assert!(read.eq(given.addresses.iter().copied()));
        assert!(given.addresses.contains(&IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
    }
}
