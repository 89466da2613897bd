//! Making leases: one address of every range set, or none at all.

use std::net::IpAddr;

use cni::{Attachment, NetworkName};
use folder::PRIVATE;

use super::{BOOT_ID, Free, Locked, WRITING, last_reserved_name, lease, read};
use crate::allocate::Candidate;
use crate::error::Error;
use crate::range::RangeSet;

/// A range set and the address of it that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    /// The set.
    pub(crate) set: RangeSet,
    /// The address, which is one of the set's or beside it in the subnet; without it the next free one.
    pub(crate) requested: Option<IpAddr>,
}

impl Locked<'_> {
    /// Drops all leases where they are of an earlier boot, in which every container has ended, and keeps this one's
    /// ID. A folder that tells no boot comes from the reference, whose containers may be running: it keeps them.
    pub(crate) fn enter_boot(&self, boot_id: Option<&str>) -> Result<(), Error> {
        let Some(boot_id) = boot_id else { return Ok(()) };
        match read(self.folder(), BOOT_ID)? {
            Some(kept) if kept == boot_id => return Ok(()),
            Some(_) => {
                for name in self.store.lease_names()? {
                    self.folder().unlink(&name)?;
                }
                self.remove_owners(|_| false)?;
                self.begin_index()?;
            }
            None if self.store.lease_names()?.is_empty() => self.begin_index()?,
            None => {}
        }
        // Written last: where this is interrupted, the next ADD begins anew.
        self.replace(BOOT_ID, boot_id)
    }

    /// Leases an address of each set to an attachment; on failure none stays leased.
    ///
    /// An attachment that has an address of a set gets no second one, unless that is asked for by address, as in
    /// the reference.
    pub(crate) fn reserve<'s>(
        &self,
        attachment: &Attachment,
        demands: &'s [Demand],
    ) -> Result<Vec<Candidate<'s>>, Error> {
        let links = self.refuse_duplicates(attachment, demands)?;
        let mut leased = Vec::with_capacity(demands.len());
        self.make(attachment, demands, links, &mut leased).map_err(|cause| {
            let addresses: Vec<IpAddr> =
                leased.iter().map(|candidate: &Candidate<'_>| candidate.address).collect();
            match self.undo(attachment, &addresses, links) {
                Ok(()) => cause,
                Err(undo) => Error::Undo { cause: Box::new(cause), undo: Box::new(undo) },
            }
        })?;
        Ok(leased)
    }

    /// How many links the attachment has, of leases that do not stand in the way.
    fn refuse_duplicates(&self, attachment: &Attachment, demands: &[Demand]) -> Result<usize, Error> {
        let owned = self.store.owned_by(attachment)?;
        let mut held = Vec::new();
        for address in owned.addresses {
            if self.store.lease(address)?.is_some_and(|content| lease::is_of(&content, attachment)) {
                held.push(address);
            }
        }
        if held.is_empty() {
            // A killed ADD left the links, or another program has removed the leases.
            self.remove_owner(attachment, 0..owned.links)?;
            return Ok(0);
        }
        let duplicate = demands
            .iter()
            .filter(|demand| demand.requested.is_none())
            .find_map(|demand| held.iter().find(|address| demand.set.range_beside(**address).is_some()));
        match duplicate {
            Some(address) => {
                Err(Error::Duplicate { address: *address, attachment: Box::new(attachment.clone()) })
            }
            None => Ok(owned.links),
        }
    }

    fn make<'s>(
        &self,
        attachment: &Attachment,
        demands: &'s [Demand],
        links: usize,
        leased: &mut Vec<Candidate<'s>>,
    ) -> Result<(), Error> {
        let mut chosen = Vec::with_capacity(demands.len());
        for (index, demand) in demands.iter().enumerate() {
            chosen.push(self.choose(&attachment.network, demand, index)?);
        }
        // All leases of an attachment have the same content: they are names of one file.
        let text = lease::text(attachment);
        self.folder().create(WRITING, text.as_bytes(), PRIVATE)?;
        for (index, candidate) in chosen.into_iter().enumerate() {
            leased.push(candidate);
            self.add_owner(attachment, links + index, candidate.address)?;
            self.folder().link(WRITING, &lease::name(candidate.address))?;
        }
        self.folder().unlink(WRITING)?;
        // One from beside the ranges does not lead the search away from where it is.
        let inside = |(_, candidate): &(usize, &Candidate<'_>)| candidate.range.contains(candidate.address);
        for (index, candidate) in leased.iter().enumerate().filter(inside) {
            self.replace(&last_reserved_name(index), &lease::name(candidate.address))?;
        }
        Ok(())
    }

    /// The address to lease, with an empty lease of it out of the way.
    fn choose<'s>(
        &self,
        network: &NetworkName,
        demand: &'s Demand,
        index: usize,
    ) -> Result<Candidate<'s>, Error> {
        let free = match demand.requested {
            Some(address) => self.requested(&demand.set, address)?,
            None => self.next_free(network, &demand.set, index)?,
        };
        if free.has_empty_lease {
            self.folder().unlink(&lease::name(free.candidate.address))?;
        }
        Ok(free.candidate)
    }

    fn requested<'s>(&self, set: &'s RangeSet, address: IpAddr) -> Result<Free<'s>, Error> {
        let range = set.range_beside(address).ok_or(Error::NoRange { address })?;
        match self.store.free(Candidate { address, range })? {
            Some(free) => Ok(free),
            None => Err(Error::in_use(address, self.store.lease(address)?.as_deref())),
        }
    }

    fn next_free<'s>(
        &self,
        network: &NetworkName,
        set: &'s RangeSet,
        index: usize,
    ) -> Result<Free<'s>, Error> {
        let search = self.store.search(set, index)?;
        if let Some(free) = self.store.find_near(set, &search)? {
            return Ok(free);
        }
        if self.is_indexed.get() && self.store.is_noted_full(set)? {
            return Err(Error::exhausted(set, index));
        }
        let found = self.store.find_far(set, &search)?;
        if found.is_empty() {
            // So that the next ADD, which comes as a runtime repeats a failed one, need not look again. Where that
            // cannot be, it is slower.
            let _ = self.index(network);
        }
        let further = found.iter().skip(1).map(|free| free.candidate.address);
        self.keep_free(set, further, found.is_empty())?;
        found.first().copied().ok_or_else(|| Error::exhausted(set, index))
    }

    fn undo(&self, attachment: &Attachment, addresses: &[IpAddr], links: usize) -> Result<(), Error> {
        let mut failures: Vec<Error> = addresses
            .iter()
            .filter_map(|address| self.release_one(&lease::name(*address), attachment).err())
            .collect();
        if failures.is_empty() {
            failures.extend(self.remove_owner(attachment, links..links + addresses.len()).err());
        }
        failures.extend(self.folder().unlink(WRITING).err().map(Error::from));
        Error::all(failures)
    }
}
