//! Masquerading in one table of the suite's own.
//!
//! Two sets have each container's address, one of them together with the interface of the host that its network is
//! behind: what leaves by another interface is masqueraded. A third one remembers under the name of the container's port
//! what it has, so that DEL needs to know nothing else:
//!
//! ```text
//! table inet cleat_bridge {
//!     set masq4 { type ipv4_addr; elements = { 10.1.0.5 comment "veth… net 1a2b3c4d eth0 id" } }
//!     set home4 { type ipv4_addr . ifname; elements = { 10.1.0.5 . "cni0" comment "veth… net 1a2b3c4d eth0 id" } }
//!     set masq6, home6: the same for IPv6
//!     map owners { type ifname : verdict; elements = { "veth…" comment "cni0 net 1a2b3c4d 10.1.0.5" : goto members } }
//!     chain members { }
//!     chain post {
//!         type nat hook postrouting priority srcnat
//!         ip saddr @masq4 ip saddr . oifname != @home4 ip daddr != 224.0.0.0/4 masquerade
//!         ip6 saddr @masq6 ip6 saddr . oifname != @home6 ip6 daddr != ff00::/8 masquerade
//!     }
//! }
//! ```
//!
//! An address may be there twice, where the subnets of two networks meet: then the elements are those of whoever came first,
//! and become the other's when that one goes (see `beside`).
//!
//! The kernel counts the references: the empty chain `members`, which every owner leads to, can be deleted once there is
//! none; the table goes with it. No rule looks into a verdict map: whenever an element that leads to a chain is added, the
//! kernel goes through all elements of all maps that rules look into (`nft_table_validate`), 0.1 ms a thousand.

mod beside;
mod except;
mod memory;
mod removal;

use std::borrow::Cow;
use std::net::IpAddr;

use ipnetwork::{IpNetwork, IpNetworkError};
use nftables::{
    Batch, Chain, Element, Expr, Family, Field, HookPoint, Kind, Rule, Selector, Set, Socket, Table, Type,
    priority,
};

use super::Masquerade;
use crate::error::Error;
use crate::names;
use crate::tables::{TRIES, comment, contended, first_word, interface};

use beside::{Living, owner_element};
use memory::Memory;

pub(super) use removal::{del, owners};

const TABLE: Table = Table::new(Family::Inet, "cleat_bridge");
const MASQ4: Set = Set::new(TABLE, "masq4", &[Type::Ipv4Addr]);
const MASQ6: Set = Set::new(TABLE, "masq6", &[Type::Ipv6Addr]);
const HOME4: Set = Set::new(TABLE, "home4", &[Type::Ipv4Addr, Type::Ifname]);
const HOME6: Set = Set::new(TABLE, "home6", &[Type::Ipv6Addr, Type::Ifname]);
/// The sets that containers' addresses are in.
const ADDRESSES: [&Set<'static>; 4] = [&MASQ4, &MASQ6, &HOME4, &HOME6];
const OWNERS: Set = Set::vmap(TABLE, "owners", &[Type::Ifname]);
const MEMBERS: Chain = Chain::new(TABLE, "members");
const POST: Chain = Chain::base(TABLE, "post", Kind::Nat, HookPoint::Postrouting, priority::SRCNAT);

/// What the table has for one attachment.
#[derive(Debug)]
pub(super) struct Members<'a> {
    owner: String,
    label: String,
    home: &'a str,
    comment: String,
    addresses: &'a [IpAddr],
    /// Of the families that there are addresses of.
    except: Vec<IpNetwork>,
}

impl<'a> Members<'a> {
    /// What the table has for an attachment.
    pub(super) fn new(masquerade: &'a Masquerade<'_>) -> Self {
        let Masquerade { attachment, home, addresses, except, .. } = masquerade;
        let owner = names::host_interface(attachment);
        let comment = comment(&owner, attachment);
        let has_family = |network: &IpNetwork| addresses.iter().any(|ip| ip.is_ipv4() == network.is_ipv4());
        let except = except.iter().copied().filter(has_family).collect();
        Self { owner, label: names::network_label(&attachment.network), home, comment, addresses, except }
    }

    /// Sets it up in one transaction. What stands under one of the addresses is mostly left of a container that has gone,
    /// since IPAM gave the address away anew, and is replaced; but whoever lives keeps it.
    pub(super) fn add(&self, socket: &mut Socket) -> Result<(), Error> {
        for _ in 0..TRIES {
            // To try and be refused would cost the kernel a grace period, some ten milliseconds.
            let has_table = socket.has_chain(&MEMBERS)?;
            match self.batch(socket, has_table)?.commit(socket) {
                Ok(()) => return Ok(()),
                // The table has just gone with another container.
                Err(error) if error.is_not_found() => {}
                // Somebody else has just made the table; or an element is stale.
                Err(error) if error.is_exists() || error.is_busy() => {
                    if has_table {
                        self.clear(socket)?;
                        if self.add_beside(socket)? {
                            return Ok(());
                        }
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(contended(&TABLE))
    }

    /// The table, unless it is there, and the elements. A table without its chain is filled up.
    fn batch(&self, socket: &mut Socket, has_table: bool) -> Result<Batch, Error> {
        let mut batch = Batch::new();
        if !has_table {
            batch.add_table(&TABLE);
            for set in ADDRESSES.into_iter().chain([&OWNERS]) {
                batch.add_set(set);
            }
            batch.create_chain(&MEMBERS);
            add_rules(&mut batch)?;
        }
        except::prepare(socket, &mut batch, &self.except, !has_table)?;
        for place in self.places()? {
            batch.create_element(&place.set(), &Element::new(&place.key).comment(self.comment.as_str()));
        }
        batch.create_element(&OWNERS, &owner_element(&self.owner, &self.memory())?);
        Ok(batch)
    }

    /// Where the elements are, that of the owner excepted.
    fn places(&self) -> Result<Vec<Place>, Error> {
        let words: Vec<String> = self.except.iter().map(except::word).collect();
        let places = |address: &IpAddr| places(*address, self.home, words.iter().map(String::as_str));
        Ok(self.addresses.iter().map(places).collect::<Result<Vec<_>, Error>>()?.concat())
    }

    fn memory(&self) -> Memory {
        Memory::new(self.home, &self.label, self.addresses, self.except.iter().map(except::word))
    }

    /// Names what differs from what [`Members::add`] set up.
    pub(super) fn check(&self, socket: &mut Socket) -> Result<(), Error> {
        for place in self.places()? {
            let (set, key) = (place.set(), &place.key);
            let found = socket.get_element(&set, key)?;
            let is_there = match found.as_ref().and_then(first_word) {
                Some(owner) => owner == self.owner || Living::new()?.has(owner)?,
                None => false,
            };
            if !is_there && place.is_exception() {
                return Err(Error::Differs(format!(
                    "packets of {} do not keep their source: set {} of table {TABLE} does not have it for {}",
                    key[0], set.name, self.owner
                )));
            }
            if !is_there {
                return Err(Error::Differs(format!(
                    "address {} is not masqueraded: set {} of table {TABLE} does not have it for {}",
                    key[0], set.name, self.owner
                )));
            }
        }
        if socket.get_element(&OWNERS, &[interface(&self.owner)?])?.is_none() {
            return Err(Error::Differs(format!(
                "nobody would end masquerading: map {} of table {TABLE} does not have port {}",
                OWNERS.name, self.owner
            )));
        }
        match self.wrong_rules(&socket.rules(&POST)?) {
            Some(wrong) => Err(Error::Differs(wrong)),
            None => Ok(()),
        }
    }

    /// What is wrong with the rules.
    fn wrong_rules(&self, rules: &[Rule]) -> Option<String> {
        let excepted: Vec<IpNetwork> = rules.iter().filter_map(except::network).collect();
        let others = rules.len() - excepted.len();
        if others != RULES {
            return Some(format!(
                "nothing is masqueraded: chain {} of table {TABLE} has {others} rules instead of {RULES}",
                POST.name
            ));
        }
        let missing = self.except.iter().find(|network| !excepted.contains(network));
        missing.map(|network| {
            format!(
                "packets to {network} do not keep their source: chain {} of table {TABLE} has no rule for it",
                POST.name
            )
        })
    }

    /// Puts back what is missing.
    pub(super) fn restore(&self, socket: &mut Socket) -> Result<(), Error> {
        self.clear(socket)?;
        self.add(socket)?;
        let rules = socket.rules(&POST)?;
        if self.wrong_rules(&rules).is_some() {
            let mut excepted: Vec<IpNetwork> = rules.iter().filter_map(except::network).collect();
            excepted.extend(&self.except);
            excepted.sort();
            excepted.dedup();
            let mut batch = Batch::new();
            add_rules(&mut batch)?;
            for network in excepted {
                except::insert_rule(&mut batch, network);
            }
            batch.commit(socket)?;
        }
        Ok(())
    }
}

/// A set, and a key in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    name: Cow<'static, str>,
    types: &'static [Type],
    key: Vec<Field>,
}

impl Place {
    fn new(name: String, types: &'static [Type], key: Vec<Field>) -> Self {
        Self { name: name.into(), types, key }
    }

    fn of(set: &Set<'static>, key: Vec<Field>) -> Self {
        Self { name: set.name.into(), types: set.key, key }
    }

    fn set(&self) -> Set<'_> {
        Set::new(TABLE, &self.name, self.types)
    }

    /// Whether it is no part of masquerading, but of an exception from it.
    fn is_exception(&self) -> bool {
        ADDRESSES.iter().all(|set| set.name != self.name)
    }
}

/// Where an address has its elements.
fn places<'e>(
    address: IpAddr,
    home: &str,
    exceptions: impl Iterator<Item = &'e str>,
) -> Result<Vec<Place>, Error> {
    let homes = if address.is_ipv4() { &HOME4 } else { &HOME6 };
    let mut places = vec![
        Place::of(members(address), vec![address.into()]),
        Place::of(homes, vec![address.into(), interface(home)?]),
    ];
    places.extend(exceptions.filter_map(|word| except::place(word, address)));
    Ok(places)
}

fn members(address: IpAddr) -> &'static Set<'static> {
    if address.is_ipv4() { &MASQ4 } else { &MASQ6 }
}

/// How many rules there are.
const RULES: usize = 2;

/// Adds the rules that masquerade, in place of all others of their chain.
fn add_rules(batch: &mut Batch) -> Result<(), Error> {
    batch.add_chain(&POST).flush_chain(&POST);
    let families = [
        (Selector::IpSaddr, MASQ4, HOME4, Selector::IpDaddr, "224.0.0.0/4"),
        (Selector::Ip6Saddr, MASQ6, HOME6, Selector::Ip6Daddr, "ff00::/8"),
    ];
    for (source, members, homes, destination, groups) in families {
        let groups = groups.parse().map_err(|error: IpNetworkError| Error::Differs(error.to_string()))?;
        let key = [source, Selector::Oifname];
        let exprs = [
            Expr::in_set(&key[..1], members),
            Expr::not_in_set(&key, homes),
            Expr::not_within(destination, groups),
            Expr::Masquerade,
        ];
        batch.add_rule(&POST, &exprs, None);
    }
    Ok(())
}
