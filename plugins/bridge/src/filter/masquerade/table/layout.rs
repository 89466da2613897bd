//! The table's sets, chains and rules, and where an address has its elements.

use std::net::IpAddr;

use cni::token;
use interface::with_length;
use ipnetwork::IpNetwork;
use nftables::{
    Batch, Chain, Element, Expr, Family, Field, HookPoint, Kind, Selector, Set, Table, Type, Verdict,
    priority,
};

use super::owner_record::Record;
use crate::error::Result;
use crate::filter::owner::interface;

pub(super) const TABLE: Table = Table::new(Family::Inet, "cleat_bridge");
pub(super) const MASQ4: Set = Set::new(TABLE, "masq4", &[Type::Ipv4Addr]);
pub(super) const MASQ6: Set = Set::new(TABLE, "masq6", &[Type::Ipv6Addr]);
pub(super) const HOME4: Set = Set::new(TABLE, "home4", &[Type::Ipv4Addr, Type::Ifname]);
pub(super) const HOME6: Set = Set::new(TABLE, "home6", &[Type::Ipv6Addr, Type::Ifname]);
/// The sets that containers' addresses are in.
pub(super) const ADDRESSES: [&Set<'static>; 4] = [&MASQ4, &MASQ6, &HOME4, &HOME6];
/// An element for each port.
pub(crate) const OWNERS: Set = Set::vmap(TABLE, "owners", &[Type::Ifname]);
pub(super) const MEMBERS: Chain = Chain::new(TABLE, "members");
pub(super) const POST: Chain =
    Chain::base(TABLE, "post", Kind::Nat, HookPoint::Postrouting, priority::SRCNAT);

/// What the names of the sets of exceptions begin with.
const PREFIX: &str = "except";

/// A set, and a key in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    name: String,
    types: &'static [Type],
    pub key: Vec<Field>,
}

impl Place {
    pub(super) fn new(name: String, types: &'static [Type], key: Vec<Field>) -> Self {
        Self { name, types, key }
    }

    pub(super) fn of(set: &Set<'static>, key: Vec<Field>) -> Self {
        Self::new(set.name.to_owned(), set.key, key)
    }

    pub(super) fn set(&self) -> Set<'_> {
        Set::new(TABLE, &self.name, self.types)
    }

    /// Whether it is no part of masquerading, but of an exception from it.
    pub(super) fn is_exception(&self) -> bool {
        ADDRESSES.iter().all(|set| set.name != self.name)
    }
}

/// Where an address has its elements.
pub(super) fn places<'e>(
    address: IpAddr,
    home: &str,
    exceptions: impl Iterator<Item = &'e str>,
) -> Result<Vec<Place>> {
    let homes = if address.is_ipv4() { &HOME4 } else { &HOME6 };
    let mut places = vec![
        Place::of(members(address), vec![address.into()]),
        Place::of(homes, vec![address.into(), interface(home)?]),
    ];
    places.extend(exceptions.filter_map(|word| exception(word, address)));
    Ok(places)
}

/// The set of those whose packets are masqueraded.
pub(super) fn members(address: IpAddr) -> &'static Set<'static> {
    if address.is_ipv4() { &MASQ4 } else { &MASQ6 }
}

/// How many rules there are.
pub(super) const RULES: usize = 2;

/// Adds the rules that masquerade, in place of all others of their chain.
pub(super) fn add_rules(batch: &mut Batch) {
    batch.renew_chain(&POST);
    let families = [
        (Selector::IpSaddr, MASQ4, HOME4, Selector::IpDaddr, with_length([224, 0, 0, 0].into(), 4)),
        (
            Selector::Ip6Saddr,
            MASQ6,
            HOME6,
            Selector::Ip6Daddr,
            with_length([0xff00, 0, 0, 0, 0, 0, 0, 0].into(), 8),
        ),
    ];
    for (source, members, homes, destination, groups) in families {
        let key = [source, Selector::Oifname];
        let exprs = [
            Expr::in_set(&key[..1], members),
            Expr::not_in_set(&key, homes),
            Expr::not_within(destination, groups),
            Expr::Masquerade,
        ];
        batch.add_rule(&POST, &exprs, None);
    }
}

/// What is left of a set's name without its beginning: the family, and what follows from the network.
pub(super) fn exception_word(network: &IpNetwork) -> String {
    let family = if network.is_ipv4() { '4' } else { '6' };
    format!("{family}_{}", &token(&[&network.to_string()])[..8])
}

/// The place of an address in the set of a word; `None` where the set is of another family.
pub(super) fn exception(word: &str, address: IpAddr) -> Option<Place> {
    let family = if address.is_ipv4() { '4' } else { '6' };
    word.starts_with(family)
        .then(|| Place::new(format!("{PREFIX}{word}"), types(address.is_ipv4()), vec![address.into()]))
}

/// The name of a network's set.
pub(super) fn exception_set(network: &IpNetwork) -> String {
    format!("{PREFIX}{}", exception_word(network))
}

/// The key's types of the sets of a family.
pub(super) fn types(is_ipv4: bool) -> &'static [Type] {
    if is_ipv4 { MASQ4.key } else { MASQ6.key }
}

/// The places that an owner's record names.
pub(super) fn owned_places(record: &Record) -> Result<Vec<Place>> {
    let mut all = Vec::new();
    for address in record.addresses() {
        all.extend(places(address, record.home(), record.exceptions())?);
    }
    Ok(all)
}

/// The element of an owner.
pub(super) fn owner_element(owner: &str, record: &Record) -> Result<Element> {
    let element = Element::new(&[interface(owner)?]).verdict(Verdict::goto(MEMBERS.name));
    Ok(element.comment(record.as_str()))
}
