//! What is known of free addresses: `.free`, one line each, oldest first.
//!
//! In a nearly full range the next few addresses are taken, and reading the names of 65,000 leases takes the kernel
//! 20 ms. So what one reading found is kept for the ADDs that follow, and DEL adds what it releases: a hint, never
//! a proof, as an address is looked up before it is leased. Where no address was found, a line says so, and holds while
//! the folder is sealed (see `index_complete`) and this program releases nothing. Where no range has been nearly full there is
//! no such file.

use std::net::IpAddr;

use super::{Locked, Store, lease, read};
use crate::error::Error;
use crate::range::RangeSet;

pub(super) const FREE: &str = ".free";

/// How many addresses are kept: each costs one system call when it turns out to be taken.
pub(super) const KEPT: usize = 64;

/// The file's content.
#[derive(Debug, Default)]
pub(super) struct FreeList {
    /// Addresses that were free not long ago.
    pub(super) addresses: Vec<IpAddr>,
    /// Range sets that had no free address, as [`full`] writes them.
    full: Vec<String>,
}

impl Store {
    /// What is known; `None` where nobody has had to look for an address.
    pub(super) fn free_list(&self) -> Result<Option<FreeList>, Error> {
        let Some(content) = read(&self.folder, FREE)? else { return Ok(None) };
        let mut list = FreeList::default();
        for line in content.lines() {
            match lease::address(line) {
                Some(address) => list.addresses.push(address),
                None => list.full.push(line.to_owned()),
            }
        }
        Ok(Some(list))
    }

    /// Whether a set was found full and nothing released by this program since: true while the folder is sealed.
    pub(crate) fn is_noted_full(&self, set: &RangeSet) -> Result<bool, Error> {
        Ok(self.free_list()?.is_some_and(|list| list.full.contains(&full(set))))
    }
}

/// The line that notes a set as full. It names all that an address's being free depends on, so it does not hold for the
/// set of a configuration that was changed.
fn full(set: &RangeSet) -> String {
    let gateways: Vec<String> = set.ranges().iter().map(|range| range.gateway.to_string()).collect();
    format!("full {set} {}", gateways.join(","))
}

impl Locked<'_> {
    /// Keeps what a reading found for one set, besides what is kept of other sets.
    pub(super) fn keep_free(
        &self,
        set: &RangeSet,
        found: impl Iterator<Item = IpAddr>,
        is_full: bool,
    ) -> Result<(), Error> {
        let mut list = self.store.free_list()?.unwrap_or_default();
        list.addresses.retain(|address| set.range_of(*address).is_none());
        list.addresses.extend(found);
        let line = full(set);
        list.full.retain(|noted| *noted != line);
        if is_full && self.is_indexed.get() {
            list.full.push(line);
        }
        self.write_free(&list)
    }

    /// Adds addresses that were released, where there is somebody to look for them. A file that cannot be written, as
    /// on a full disk, must not make a DEL fail that released everything; but then the old one is not to be believed.
    pub(super) fn add_free(&self, released: &[IpAddr]) {
        let add = || match self.store.free_list()? {
            Some(mut list) => {
                list.addresses.retain(|address| !released.contains(address));
                list.addresses.extend(released);
                list.full.clear();
                self.write_free(&list)
            }
            None => Ok(()),
        };
        if !released.is_empty() && add().is_err() {
            self.is_indexed.set(false);
        }
    }

    /// The oldest go where there are too many: they are the most likely to be taken by now.
    fn write_free(&self, list: &FreeList) -> Result<(), Error> {
        let newest = &list.addresses[list.addresses.len().saturating_sub(KEPT)..];
        let lines: Vec<String> =
            newest.iter().map(ToString::to_string).chain(list.full.iter().cloned()).collect();
        self.replace(FREE, &lines.join("\n"))
    }
}
