//! The leases of one network on disk: `<dataDir>/<network>/`, in the reference's format, so that both programs can
//! work on one folder side by side.
//!
//! - `<address>`: a lease (see `lease`), mode 0600.
//! - `last_reserved_ip.<n>`: the address that range set `n` leased last.
//! - `lock`: empty; a process that writes holds `flock(2)` on it. Mode 0600 in a folder of 0700, also where somebody made them
//!   otherwise: a user who can open the file can hold its lock.
//! - `boot_id`: ours; the boot that the leases belong to.
//! - `.owners/<token>.<n>`: ours; the leases of one attachment (see `owners`).
//! - `.free`: ours; what is known of free addresses, once a range was nearly full (see `spare`).
//! - `.writing`: ours; a file on its way to its name. The lock makes the one name enough, and what a killed process
//!   leaves there is replaced by the next writer.
//!
//! The folder's modification time is a seal (see `seal`): it tells whether anybody else has been here.
//!
//! A lease gets its name only when its content is there, so a killed process leaves none empty. Nothing is flushed to
//! the disk (`fsync(2)`): what a power failure loses belongs to a boot that is over. Reading needs no lock; writing is
//! a matter of [`Locked`], which cannot be had without it.

mod folder;
pub(crate) mod lease;
mod owners;
mod release;
mod reserve;
mod seal;
mod spare;

use std::cell::{Cell, OnceCell};
use std::fs::{DirBuilder, File};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cni::Attachment;

use crate::allocate::{Candidate, Search};
use crate::error::Error;
use crate::range::{RangeSet, number};
use folder::{Entry, Folder};
pub(crate) use reserve::Demand;

const LOCK: &str = "lock";
const BOOT_ID: &str = "boot_id";
const WRITING: &str = ".writing";

/// How many candidates are looked up one by one before other ways of finding a free address are tried.
const PROBES: usize = 8;

/// A network's folder, for reading.
#[derive(Debug)]
pub(crate) struct Store {
    folder: Folder,
    /// The folder of links, once it was needed and there (see `owners`).
    owners: OnceCell<Folder>,
}

/// A network's folder while this process holds its lock, for writing.
#[derive(Debug)]
pub(crate) struct Locked<'a> {
    store: &'a Store,
    /// Whether every lease has its link (see `seal`).
    is_indexed: Cell<bool>,
    /// Closing the file gives the lock up. `None` where the folder has no lock file, so that nobody holds it.
    lock: Option<File>,
}

/// An address that can be leased.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Free<'s> {
    candidate: Candidate<'s>,
    /// Whether a lease without content has to go first.
    has_empty_lease: bool,
}

impl Free<'_> {
    /// The address itself.
    pub(crate) fn address(&self) -> IpAddr {
        self.candidate.address
    }
}

impl Store {
    /// Opens a network's folder; `None` where there is none.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, Error> {
        Ok(Folder::open(path)?.map(|folder| Self { folder, owners: OnceCell::new() }))
    }

    /// Opens a network's folder and makes it first where there is none.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        if let Some(store) = Self::open(path)? {
            return Ok(store);
        }
        let folder = |path: &Path, mode| DirBuilder::new().recursive(true).mode(mode).create(path);
        let made =
            path.parent().map_or(Ok(()), |parent| folder(parent, 0o755)).and_then(|()| folder(path, 0o700));
        made.map_err(|source| Error::io("create folder", path, source))?;
        Self::open(path)?.ok_or_else(|| Error::io("open folder", path, nix::errno::Errno::ENOENT))
    }

    /// Waits for the lock, and makes its file where there is none.
    pub(crate) fn lock(&self) -> Result<Locked<'_>, Error> {
        self.lock_file(true)
    }

    /// Waits until nobody holds the lock, no longer than that.
    pub(crate) fn await_lock(&self, limit: Duration) -> Result<(), lock::Error> {
        // What else is wrong with it, the next ADD tells.
        let Ok(Some(file)) = self.folder.open_lock(LOCK, false) else { return Ok(()) };
        lock::take_within(&file, &self.path_of(LOCK), lock::Mode::Shared, limit)
    }

    /// Waits for the lock where there is one: to remove what may be there, nothing is made.
    pub(crate) fn lock_existing(&self) -> Result<Locked<'_>, Error> {
        self.lock_file(false)
    }

    fn lock_file(&self, create: bool) -> Result<Locked<'_>, Error> {
        let lock = self.folder.open_lock(LOCK, create)?;
        let is_indexed = match &lock {
            Some(file) => {
                if !lock::try_take(file, lock::Mode::Exclusive)
                    .map_err(|source| Error::io("lock", self.path_of(LOCK), source))?
                {
                    // Also where the holder is somebody who should not be able to: it happens once.
                    self.folder.close_to_others(file, &self.folder.stat()?);
                    lock::take(file, &self.path_of(LOCK), lock::Mode::Exclusive)?;
                }
                let stat = self.folder.stat()?;
                self.folder.close_to_others(file, &stat);
                seal::is_sealed(&self.folder, &stat)
            }
            // Without a lock others may be at the folder right now.
            None => false,
        };
        Ok(Locked { store: self, is_indexed: Cell::new(is_indexed), lock })
    }

    /// The path of a file of the store, for messages.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The content of an address's lease; `None` where there is none, or no regular file in its place.
    pub(crate) fn lease(&self, address: IpAddr) -> Result<Option<String>, Error> {
        self.folder.read(&lease::name(address))
    }

    /// Whether an address is leased to an attachment.
    pub(crate) fn holds(&self, address: IpAddr, attachment: &Attachment) -> Result<bool, Error> {
        let content = self.lease(address)?;
        Ok(content
            .is_some_and(|content| lease::is_of(&content, &attachment.container_id, &attachment.ifname)))
    }

    /// Whether the leases belong to a boot before this one. Where the boot is unknown, or the folder is the
    /// reference's and does not tell it, they count as alive.
    pub(crate) fn is_of_earlier_boot(&self, boot_id: Option<&str>) -> Result<bool, Error> {
        let Some(boot_id) = boot_id else { return Ok(false) };
        Ok(self.folder.read(BOOT_ID)?.is_some_and(|kept| kept != boot_id))
    }

    /// The search through a range set, behind the address that it leased last.
    pub(crate) fn search<'s>(&self, set: &'s RangeSet, index: usize) -> Result<Search<'s>, Error> {
        Ok(Search::new(set, self.last_reserved(index)?))
    }

    /// A free address among those that are looked up one by one: the next few, then those kept in `spare`.
    ///
    /// A lease without content, which the reference leaves when it is killed, counts as free: it writes the content
    /// under the lock, so to the lock's holder an empty lease is a dead one.
    pub(crate) fn find_near<'s>(
        &self,
        set: &'s RangeSet,
        search: &Search<'s>,
    ) -> Result<Option<Free<'s>>, Error> {
        for candidate in search.candidates().take(PROBES) {
            if let Some(free) = self.free(candidate)? {
                return Ok(Some(free));
            }
        }
        for address in self.spare()?.unwrap_or_default().addresses {
            if let Some(range) = set.range_of(address)
                && range.gateway() != address
                && let Some(free) = self.free(Candidate { address, range })?
            {
                return Ok(Some(free));
            }
        }
        Ok(None)
    }

    /// Free addresses in order, found by reading the names of all leases; only where there is none, those whose
    /// leases are empty.
    pub(crate) fn find_far<'s>(
        &self,
        set: &'s RangeSet,
        search: &Search<'s>,
    ) -> Result<Vec<Free<'s>>, Error> {
        let mut taken = Vec::new();
        self.folder.for_each_name(|name| {
            taken.extend(lease::address(name).filter(|address| set.range_of(*address).is_some()).map(number));
        })?;
        let found = search.free(taken, spare::SPARE);
        if !found.is_empty() {
            return Ok(found
                .into_iter()
                .map(|candidate| Free { candidate, has_empty_lease: false })
                .collect());
        }
        // All names are there, so this ends with the leases that the folder holds.
        let mut empty = Vec::new();
        for candidate in search.candidates() {
            empty.extend(self.free(candidate)?);
        }
        Ok(empty)
    }

    fn free<'s>(&self, candidate: Candidate<'s>) -> Result<Option<Free<'s>>, Error> {
        Ok(match self.folder.entry(&lease::name(candidate.address))? {
            Entry::Absent => Some(Free { candidate, has_empty_lease: false }),
            Entry::Empty => Some(Free { candidate, has_empty_lease: true }),
            Entry::Present => None,
        })
    }

    fn last_reserved(&self, index: usize) -> Result<Option<IpAddr>, Error> {
        let content = self.folder.read(&last_reserved_name(index))?;
        // The reference writes this file in place: what a crash left of it is no reason to fail.
        Ok(content.and_then(|content| content.parse().ok()))
    }

    /// Hands name and content of every lease to `visit`. Reads them all: for what has no shorter way.
    pub(crate) fn for_each_lease(&self, mut visit: impl FnMut(&str, &str)) -> Result<(), Error> {
        for name in self.lease_names()? {
            if let Some(content) = self.folder.read(&name)? {
                visit(&name, &content);
            }
        }
        Ok(())
    }

    fn lease_names(&self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        self.folder.for_each_name(|name| {
            if lease::address(name).is_some() {
                names.push(name.to_owned());
            }
        })?;
        Ok(names)
    }
}

impl Locked<'_> {
    fn folder(&self) -> &Folder {
        &self.store.folder
    }

    /// Writes a file whose content changes: readers see the old one or the new one.
    fn replace(&self, name: &str, content: &str) -> Result<(), Error> {
        self.folder().create(WRITING, content)?;
        self.folder().rename(WRITING, name)
    }
}

fn last_reserved_name(index: usize) -> String {
    format!("last_reserved_ip.{index}")
}
