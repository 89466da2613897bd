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
//! The solicitation from `::` and the ARP request from 0.0.0.0 ask whether somebody else has an address before it is used. The
//! kernel has taken a VLAN's tag off by then, so frames with a tag are held to the same. `given` says which elements are an
//! attachment's, so that DEL need not be told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni::{Attachment, NetworkName};
use netlink::Mac;
use nftables::{
    Batch, Chain, Element, Expr, Field, HookPoint, Kind, Selector, Set, Socket, Type, Verdict, priority,
};

use super::{OWN_ADDRESS, TABLE};
use crate::error::Error;
use crate::ipam::Ipam;
use crate::names;
use crate::port::Port;
use crate::tables::{TRIES, comment, contended, first_word, interface, ports_of};

const BOUND: Set = Set::vmap(TABLE, "bound", &[Type::Ifname]);
const GIVEN: Set = Set::new(TABLE, "given", &[Type::Ifname, Type::Mark]);
const BOUND4: Set = Set::new(TABLE, "bound4", &[Type::Ifname, Type::EtherAddr, Type::Ipv4Addr]);
const BOUND6: Set = Set::new(TABLE, "bound6", &[Type::Ifname, Type::EtherAddr, Type::Ipv6Addr]);
pub(super) const OWN_NETWORK: Chain = Chain::new(TABLE, "own_network");
const PRE_NETWORK: Chain =
    Chain::base(TABLE, "pre_network", Kind::Filter, HookPoint::Prerouting, priority::RAW);

/// How many addresses one element of [`GIVEN`] remembers: with the longest ones its comment is 119 bytes.
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
        let mut addresses = vec![IpAddr::V6(link_local(mac))];
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

    /// What is remembered of it: the keys of [`GIVEN`], and their comments.
    fn memory(&self, port: Field) -> impl Iterator<Item = ([Field; 2], String)> {
        self.addresses.chunks(TOGETHER).zip(0..).map(move |(some, number)| {
            let some: Vec<String> = some.iter().map(ToString::to_string).collect();
            ([port, Field::Mark(number)], some.join(" "))
        })
    }
}

/// The address that the kernel gives a link from its hardware address (RFC 4291, appendix A).
fn link_local(mac: Mac) -> Ipv6Addr {
    let [first, .., last] = mac.octets();
    let [_, second, third, fourth, fifth, _] = mac.octets();
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, first ^ 2, second, third, 0xff, 0xfe, fourth, fifth, last])
}

/// Holds the attachment's port to what it was given, whatever it was held to before: in one transaction.
pub(crate) fn add(socket: &mut Socket, attachment: &Attachment, given: &Given) -> Result<(), Error> {
    let port = names::host_interface(attachment);
    let name = interface(&port)?;
    let first = format!("{}/{}", given.mac, given.addresses.len().div_ceil(TOGETHER));
    let bound =
        Element::new(&[name]).verdict(Verdict::goto(OWN_NETWORK.name)).comment(comment(first, attachment));
    for attempt in 0..TRIES {
        let mut batch = Batch::new();
        if !is_complete(socket)? {
            make(&mut batch);
        }
        // Where somebody has flushed the map alone, the rest is there, and is in the way.
        if !remove_own(socket, &mut batch, name)? && attempt > 0 {
            remove_left(socket, &mut batch, given, name)?;
        }
        batch.create_element(&BOUND, &bound);
        for (set, key) in given.elements(name) {
            batch.create_element(&set, &Element::new(&key));
        }
        for (key, text) in given.memory(name) {
            batch.create_element(&GIVEN, &Element::new(&key).comment(text));
        }
        match batch.commit(socket) {
            Ok(()) => return Ok(()),
            // Another ADD has just made the chain, or a DEL has just removed it.
            Err(error) if error.is_exists() || error.is_not_found() || error.is_busy() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(contended(&TABLE))
}

/// Whether everything is there that ports have in common.
fn is_complete(socket: &mut Socket) -> Result<bool, Error> {
    Ok(socket.rules(&OWN_NETWORK)?.len() == rules().len() && socket.rules(&PRE_NETWORK)?.len() == 1)
}

/// Makes it, or makes it anew where somebody has flushed a chain.
fn make(batch: &mut Batch) {
    batch.add_table(&TABLE);
    for set in [&BOUND, &GIVEN, &BOUND4, &BOUND6] {
        batch.add_set(set);
    }
    for chain in [&OWN_NETWORK, &PRE_NETWORK] {
        batch.add_chain(chain).flush_chain(chain);
    }
    for exprs in rules() {
        batch.add_rule(&OWN_NETWORK, &exprs, None);
    }
    batch.add_rule(&PRE_NETWORK, &[Expr::vmap(&[Selector::Iifname], BOUND)], None);
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

/// Adds to a transaction that what a port has goes. What somebody has flushed is passed over.
fn remove_own(socket: &mut Socket, batch: &mut Batch, name: Field) -> Result<bool, Error> {
    let Some(bound) = socket.get_element(&BOUND, &[name])? else { return Ok(false) };
    batch.del_element(&BOUND, &[name]);
    let (mac, count) = first_word(&bound).and_then(|word| word.split_once('/')).unwrap_or_default();
    let (Ok(mac), Ok(count)) = (mac.parse::<Mac>(), count.parse::<u32>()) else { return Ok(true) };
    for number in 0..count {
        let key = [name, Field::Mark(number)];
        let Some(given) = socket.get_element(&GIVEN, &key)? else { continue };
        batch.del_element(&GIVEN, &key);
        let words = given.comment.as_deref().unwrap_or_default().split(' ');
        let some = Given { mac, addresses: words.filter_map(|word| word.parse().ok()).collect() };
        for (set, key) in some.elements(name) {
            if socket.get_element(&set, &key)?.is_some() {
                batch.del_element(&set, &key);
            }
        }
    }
    Ok(true)
}

/// The same for what is given anew, where nothing says what a port has.
fn remove_left(socket: &mut Socket, batch: &mut Batch, given: &Given, name: Field) -> Result<(), Error> {
    for (set, key) in given.elements(name) {
        if socket.get_element(&set, &key)?.is_some() {
            batch.del_element(&set, &key);
        }
    }
    for (key, _) in given.memory(name) {
        if socket.get_element(&GIVEN, &key)?.is_some() {
            batch.del_element(&GIVEN, &key);
        }
    }
    Ok(())
}

/// Removes what holds a port to its addresses. Nothing there is nothing to do.
pub(crate) fn del(socket: &mut Socket, port: &str) -> Result<(), Error> {
    let name = interface(port)?;
    for _ in 0..TRIES {
        let mut batch = Batch::new();
        if !remove_own(socket, &mut batch, name)? {
            return Ok(());
        }
        // In one transaction: between two a process may be killed, and the chains would stay.
        let is_last = socket.references(&OWN_NETWORK)? == Some(1);
        if is_last {
            remove_chains(&mut batch);
            if !socket.has_chain(&OWN_ADDRESS)? {
                batch.del_table(&TABLE);
            }
        }
        match batch.commit(socket) {
            // Two that went at the same time have each seen the other: the last one sees it now.
            Ok(()) if is_last => return Ok(()),
            Ok(()) => return del_unused(socket),
            Err(error) if error.is_busy() || error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(contended(&TABLE))
}

fn del_unused(socket: &mut Socket) -> Result<(), Error> {
    if socket.references(&OWN_NETWORK)? != Some(0) {
        return Ok(());
    }
    let mut batch = Batch::new();
    remove_chains(&mut batch);
    if !socket.has_chain(&OWN_ADDRESS)? {
        batch.del_table(&TABLE);
    }
    crate::tables::ignore_change(batch.commit(socket))
}

/// The chain that leads there first, as it looks into the map.
fn remove_chains(batch: &mut Batch) {
    batch.flush_chain(&PRE_NETWORK).flush_chain(&OWN_NETWORK);
    batch.del_chain(&PRE_NETWORK).del_chain(&OWN_NETWORK);
    for set in [&BOUND, &GIVEN, &BOUND4, &BOUND6] {
        batch.del_set(set);
    }
}

/// Names what differs from what [`add`] set up.
pub(crate) fn check(socket: &mut Socket, port: &Port, given: &Given) -> Result<(), Error> {
    let name = interface(&port.link.name)?;
    let differs =
        |what: String| Err(Error::Differs(format!("port {} is not held to {what}", port.link.name)));
    if !is_complete(socket)? || socket.get_element(&BOUND, &[name])?.is_none() {
        return differs("its addresses".to_owned());
    }
    for ((set, key), address) in given.elements(name).zip(&given.addresses) {
        if socket.get_element(&set, &key)?.is_none() {
            return differs(format!("address {address} at {}", given.mac));
        }
    }
    Ok(())
}

/// Puts back what [`check`] misses.
pub(crate) fn restore(
    socket: &mut Socket,
    attachment: &Attachment,
    port: &Port,
    given: &Given,
) -> Result<(), Error> {
    match check(socket, port, given) {
        Err(Error::Differs(_)) if port.is_ours => add(socket, attachment, given),
        Err(Error::Differs(said)) => Err(Error::Differs(format!("{said}: DEL and ADD"))),
        outcome => outcome,
    }
}

/// The ports of a network that are held to their addresses.
pub(crate) fn ports(socket: &mut Socket, network: &NetworkName) -> Result<Vec<String>, Error> {
    ports_of(socket, &BOUND, network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_local_address_follows_from_the_hardware_address() {
        let mac: Mac = "02:00:00:00:00:01".parse().unwrap();
        assert_eq!(link_local(mac).to_string(), "fe80::ff:fe00:1");
        assert_eq!(link_local("86:08:aa:bc:9c:70".parse().unwrap()).to_string(), "fe80::8408:aaff:febc:9c70");
    }

    #[test]
    fn all_addresses_are_remembered_where_there_is_room() {
        let mac: Mac = "02:00:00:00:00:01".parse().unwrap();
        let long: IpAddr = "2001:db8:1234:5678:9abc:def0:1234:5678".parse().unwrap();
        let many = (0..7).map(|number| match long {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() + number)),
            v4 @ IpAddr::V4(_) => v4,
        });
        let given = Given::new(mac, many, &Ipam::new("dhcp".to_owned()));
        assert_eq!(given.addresses.len(), 9);
        let port = interface("veth0123456789a").unwrap();
        let told: Vec<String> = given.memory(port).map(|(_, text)| text).collect();
        assert!(
            told.len() == 3 && told.iter().all(|text| text.len() <= crate::tables::COMMENT_MAX),
            "{told:?}"
        );
        let read = told.iter().flat_map(|text| text.split(' ')).map(|word| word.parse::<IpAddr>().unwrap());
        assert!(read.eq(given.addresses.iter().copied()));
        assert!(given.addresses.contains(&IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
    }
}
