//! What is known of free addresses: `.free`, one line each, oldest first.
//!
//! In a nearly full range the next few addresses are taken, and reading the names of 65,000 leases takes the kernel
//! 20 ms. So what one reading found is kept for the ADDs that follow, and DEL adds what it releases: a hint, never
//! a proof, as an address is looked up before it is leased. Where no address was found, a line says so, and holds while
//! the folder is sealed (see `seal`) and this program releases nothing. Where no range has been nearly full there is
//! no such file.

use std::net::IpAddr;

use super::{Locked, Store, lease};
use crate::error::Error;
use crate::range::RangeSet;

pub(super) const FREE: &str = ".free";

/// How many addresses are kept: each costs one system call when it turns out to be taken.
pub(super) const SPARE: usize = 64;

/// The file's content.
#[derive(Debug, Default)]
pub(super) struct Spare {
    /// Addresses that were free not long ago.
    pub(super) addresses: Vec<IpAddr>,
    /// Range sets that had no free address, as [`full`] writes them.
    full: Vec<String>,
}

impl Store {
    /// What is known; `None` where nobody has had to look for an address.
    pub(super) fn spare(&self) -> Result<Option<Spare>, Error> {
        let Some(content) = self.folder.read(FREE)? else { return Ok(None) };
        let mut spare = Spare::default();
        for line in content.lines() {
            match lease::address(line) {
                Some(address) => spare.addresses.push(address),
                None => spare.full.push(line.to_owned()),
            }
        }
        Ok(Some(spare))
    }

    /// Whether a set was found full and nothing released by this program since: true while the folder is sealed.
    pub(crate) fn is_noted_full(&self, set: &RangeSet) -> Result<bool, Error> {
        Ok(self.spare()?.is_some_and(|spare| spare.full.contains(&full(set))))
    }
}

/// The line that notes a set as full. It names all that an address's being free depends on, so it does not hold for the
/// set of a configuration that was changed.
fn full(set: &RangeSet) -> String {
    let gateways: Vec<String> = set.ranges().iter().map(|range| range.gateway().to_string()).collect();
    format!("full {set} {}", gateways.join(","))
}

impl Locked<'_> {
    /// Keeps what a reading found for one set, besides what is kept of other sets.
    pub(super) fn keep_spare(
        &self,
        set: &RangeSet,
        found: impl Iterator<Item = IpAddr>,
        is_full: bool,
    ) -> Result<(), Error> {
        let mut spare = self.store.spare()?.unwrap_or_default();
        spare.addresses.retain(|address| set.range_of(*address).is_none());
        spare.addresses.extend(found);
        let line = full(set);
        spare.full.retain(|noted| *noted != line);
        if is_full && self.is_indexed.get() {
            spare.full.push(line);
        }
        self.write_spare(&spare)
    }

    /// Adds addresses that were released, where there is somebody to look for them. A file that cannot be written, as
    /// on a full disk, must not make a DEL fail that released everything; but then the old one is not to be believed.
    pub(super) fn add_spare(&self, released: &[IpAddr]) {
        let add = || match self.store.spare()? {
            Some(mut spare) => {
                spare.addresses.retain(|address| !released.contains(address));
                spare.addresses.extend(released);
                spare.full.clear();
                self.write_spare(&spare)
            }
            None => Ok(()),
        };
        if !released.is_empty() && add().is_err() {
            self.is_indexed.set(false);
        }
    }

    /// The oldest go where there are too many: they are the most likely to be taken by now.
    fn write_spare(&self, spare: &Spare) -> Result<(), Error> {
        let newest = &spare.addresses[spare.addresses.len().saturating_sub(SPARE)..];
        let lines: Vec<String> =
            newest.iter().map(ToString::to_string).chain(spare.full.iter().cloned()).collect();
        self.replace(FREE, &lines.join("\n"))
    }
}
