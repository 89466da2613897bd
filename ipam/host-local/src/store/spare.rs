//! Addresses that were free not long ago, oldest first: `.free`, one a line.
//!
//! In a nearly full range the next few addresses are taken, and reading the names of 65,000 leases takes the kernel
//! 20 ms. So what one reading found is kept for the ADDs that follow, and DEL adds what it releases. A hint, never
//! a proof: an address is looked up before it is leased. Where no range has been nearly full there is no such file.

use std::net::IpAddr;

use super::{Locked, Store, lease};
use crate::error::Error;

const FREE: &str = ".free";

/// How many addresses are kept: each costs one system call when it turns out to be taken.
pub(super) const SPARE: usize = 64;

impl Store {
    /// The addresses kept; `None` where nobody has had to look for one.
    pub(super) fn spare(&self) -> Result<Option<Vec<IpAddr>>, Error> {
        let content = self.folder.read(FREE)?;
        Ok(content.map(|content| content.lines().filter_map(lease::address).collect()))
    }
}

impl Locked<'_> {
    /// Keeps what a reading found for one set, besides what is kept of other sets.
    pub(super) fn keep_spare(
        &self,
        found: impl Iterator<Item = IpAddr>,
        is_of_set: impl Fn(IpAddr) -> bool,
    ) -> Result<(), Error> {
        let mut spare = self.store.spare()?.unwrap_or_default();
        spare.retain(|address| !is_of_set(*address));
        spare.extend(found);
        self.write_spare(&spare)
    }

    /// Adds addresses that were released, where there is somebody to look for them.
    pub(super) fn add_spare(&self, released: &[IpAddr]) -> Result<(), Error> {
        match self.store.spare()? {
            Some(mut spare) if !released.is_empty() => {
                spare.retain(|address| !released.contains(address));
                spare.extend(released);
                self.write_spare(&spare)
            }
            _ => Ok(()),
        }
    }

    /// The oldest go where there are too many: they are the most likely to be taken by now.
    fn write_spare(&self, spare: &[IpAddr]) -> Result<(), Error> {
        let newest = &spare[spare.len().saturating_sub(SPARE)..];
        let lines: Vec<String> = newest.iter().map(ToString::to_string).collect();
        self.replace(FREE, &lines.join("\n"))
    }
}
