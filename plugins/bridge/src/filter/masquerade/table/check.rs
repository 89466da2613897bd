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
            if !is_there && place.is_exception() {
                return differs(format!(
                    "packets of {} do not keep their source: set {} of table {TABLE} does not have it for {}",
                    key[0], set.name, self.owner
                ));
            }
            if !is_there {
                return differs(format!(
                    "address {} is not masqueraded: set {} of table {TABLE} does not have it for {}",
                    key[0], set.name, self.owner
                ));
            }
        }
        if socket.get_element(&OWNERS, &[interface(&self.owner)?])?.is_none() {
            return differs(format!(
                "nobody would end masquerading: map {} of table {TABLE} does not have port {}",
                OWNERS.name, self.owner
            ));
        }
        match self.wrong_rules(&socket.rules(&POST)?) {
            Some(wrong) => differs(wrong),
            None => Ok(()),
        }
    }

    /// What is wrong with the rules.
    pub(super) fn wrong_rules(&self, rules: &[Rule]) -> Option<String> {
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
