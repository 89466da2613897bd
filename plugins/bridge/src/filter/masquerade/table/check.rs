//! Looking whether an attachment is masqueraded.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use nftables::{Rule, Socket};

use super::except;
use super::layout::{OWNERS, POST, RULES, TABLE};
use crate::error::{Result, differs};
use crate::filter::masquerade::Masquerade;
use crate::filter::owner::{first_word, interface};

impl Masquerade<'_> {
    /// Names what differs from what [`super::Put`] set up for some of the addresses.
    pub(crate) fn check_table(&self, socket: &mut Socket, addresses: &[IpAddr]) -> Result<()> {
        for place in self.places(addresses)? {
            let (set, key) = (place.set(), &place.key);
            let found = socket.get_element(&set, key)?;
            let is_there = match found.as_ref().and_then(first_word) {
                Some(owner) => owner == self.owner || Living::new()?.has(owner)?,
                None => false,
            };
            if !is_there {
                let what = if place.is_exception() {
                    format!("packets of {} do not keep their source", key[0])
                } else {
                    format!("address {} is not masqueraded", key[0])
                };
                let (set, owner) = (set.name, &self.owner);
                return differs(format!("{what}: set {set} of table {TABLE} does not have it for {owner}"));
            }
        }
        if socket.get_element(&OWNERS, &[interface(&self.owner)?])?.is_none() {
            return differs(format!(
                "nobody would end masquerading: map {} of table {TABLE} does not have port {}",
                OWNERS.name, self.owner
            ));
        }
        self.check_rules(&socket.rules(&POST)?)
    }

    /// Names what is wrong with the rules.
    pub(super) fn check_rules(&self, rules: &[Rule]) -> Result<()> {
        let chain = POST.name;
        let excepted: Vec<IpNetwork> = rules.iter().filter_map(except::network).collect();
        let others = rules.len() - excepted.len();
        if others != RULES {
            return differs(format!(
                "nothing is masqueraded: chain {chain} of table {TABLE} has {others} rules instead of {RULES}"
            ));
        }
        let missing = self.except.iter().find(|network| !excepted.contains(network));
        missing.map_or(Ok(()), |network| {
            differs(format!(
                "packets to {network} do not keep their source: chain {chain} of table {TABLE} has no rule for it"
            ))
        })
    }
}

/// Which owners are still there: those whose interface the kernel has.
pub(super) struct Living {
    links: netlink::Socket,
    known: HashMap<String, bool>,
}

impl Living {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { links: netlink::Socket::open()?, known: HashMap::new() })
    }

    pub(super) fn has(&mut self, owner: &str) -> Result<bool> {
        if let Some(known) = self.known.get(owner) {
            return Ok(*known);
        }
        let lives = interface(owner).is_ok() && self.links.get_link(owner)?.is_some();
        self.known.insert(owner.to_owned(), lives);
        Ok(lives)
    }
}
