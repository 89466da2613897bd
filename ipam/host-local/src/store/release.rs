//! Removing leases: an attachment's own, and those of attachments that are gone. Never anybody else's.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use cni::{Attachment, ContainerId, IfName, NetworkName};

use super::{Locked, Store, WRITING, is_empty_file, lease, read};
use crate::error::Error;

impl Store {
    /// The leases of an attachment, found by reading all of them. Old leases, which tell no interface, count only
    /// where there is no other, as in the reference.
    pub(crate) fn leases_of(&self, attachment: &Attachment) -> Result<Vec<String>, Error> {
        let (mut exact, mut old) = (Vec::new(), Vec::new());
        self.for_each_lease(|name, content| {
            if lease::is_of(content, attachment) {
                let found = if lease::parts(content).1.is_some() { &mut exact } else { &mut old };
                found.push(name.to_owned());
            }
        })?;
        Ok(if exact.is_empty() { old } else { exact })
    }
}

impl Locked<'_> {
    /// Removes an attachment's leases and its links: the leases of a previous result's addresses and those that its links
    /// point to. Without a previous result links count only where all leases have them, so that nothing is left that the
    /// reference leased; elsewhere a look at all leases comes first. What cannot be removed does not keep the rest from
    /// it, but keeps the links, so that a further DEL finds it.
    pub(crate) fn release(&self, attachment: &Attachment, previous: &[IpAddr]) -> Result<(), Error> {
        let mut found = Vec::new();
        if previous.is_empty() && !self.is_indexed.get() {
            // Leases that cannot be given links, as on a full disk, can be found and released all the same.
            let _ = self.index(&attachment.network);
            if !self.is_indexed.get() {
                found = self.store.leases_of(attachment)?;
            }
        }
        let owned = self.store.owned_by(attachment)?;
        let known = owned.addresses.iter().chain(previous).map(|address| lease::name(*address));
        let names: BTreeSet<String> = known.chain(found).collect();
        let (mut released, mut failures) = (Vec::new(), Vec::new());
        for name in names {
            match self.release_one(&name, attachment) {
                Ok(true) => released.extend(lease::address(&name)),
                Ok(false) => {}
                Err(error) => failures.push(error),
            }
        }
        if failures.is_empty() {
            failures.extend(self.remove_owner(attachment, 0..owned.links).err());
        }
        failures.extend(self.folder().unlink(WRITING).err().map(Error::from));
        self.add_free(&released);
        Error::all(failures)
    }

    /// Removes a lease if it is the attachment's; whether it was. One without content is nobody else's: a process that leases
    /// holds the lock until the content is there.
    pub(super) fn release_one(&self, name: &str, attachment: &Attachment) -> Result<bool, Error> {
        let Some(content) = read(self.folder(), name)? else { return Ok(false) };
        let is_released = lease::is_of(&content, attachment)
            || content.is_empty() && self.folder().stat(name)?.is_some_and(|stat| is_empty_file(&stat));
        Ok(is_released && self.folder().unlink(name)?)
    }

    /// Removes every lease that is of none of the attachments, those without content among them.
    pub(crate) fn collect(
        &self,
        network: &NetworkName,
        valid: &[(ContainerId, IfName)],
    ) -> Result<(), Error> {
        let exact: HashSet<(&str, Option<&str>)> =
            valid.iter().map(|(id, ifname)| (id.as_str(), Some(ifname.as_str()))).collect();
        let containers: HashSet<&str> = valid.iter().map(|(id, _)| id.as_str()).collect();
        let mut stale = Vec::new();
        self.store.for_each_lease(|name, content| {
            let is_valid = match lease::parts(content) {
                (id, None) => containers.contains(id),
                parts => exact.contains(&parts),
            };
            if !is_valid {
                stale.push(name.to_owned());
            }
        })?;
        let mut failures: Vec<Error> =
            stale.iter().filter_map(|name| self.folder().unlink(name).err()).map(Error::from).collect();
        if !failures.is_empty() {
            // What stays loses its link below.
            self.is_indexed.set(false);
        }
        let released: Vec<IpAddr> = stale.iter().filter_map(|name| lease::address(name)).collect();
        self.add_free(&released);
        let tokens: HashSet<String> = valid
            .iter()
            .map(|(container_id, ifname)| {
                let (network, container_id, ifname) = (network.clone(), container_id.clone(), ifname.clone());
                Attachment { network, container_id, ifname }.token()
            })
            .collect();
        failures.extend(self.remove_owners(|token| tokens.contains(token)).err());
        failures.extend(self.folder().unlink(WRITING).err().map(Error::from));
        Error::all(failures)
    }
}
