//! The leases of one network on disk: `<dataDir>/<network>/`, in the reference's format, so that both programs can
//! work on one folder side by side.
//!
//! - `<address>`: a lease (see `lease`), mode 0600.
//! - `last_reserved_ip.<n>`: the address that range set `n` leased last.
//! - `lock`: empty; a process that writes holds `flock(2)` on it. Mode 0600 in a folder of 0700, also where somebody made them
//!   otherwise: a user who can open the file can hold its lock.
//! - `boot_id`: ours; the boot that the leases belong to.
//! - `.owners/<token>.<n>`: ours; the leases of one attachment (see `owners`).
//! - `.free`: ours; what is known of free addresses, once a range was nearly full (see `free_list`).
//! - `.writing`: ours; a file on its way to its name. The lock makes the one name enough, and what a killed process
//!   leaves there is replaced by the next writer.
//!
//! The folder's modification time is a seal (see `index_complete`): it tells whether another program has changed the folder.
//!
//! A lease gets its name only when its content is there, so a killed process leaves none empty. Nothing is flushed to
//! the disk (`fsync(2)`): what a power failure loses belongs to a boot that is over. Reading needs no lock; writing is
//! a matter of [`Locked`], which cannot be had without it.

mod free_list;
mod index_complete;
pub(crate) mod lease;
mod owners;
mod release;
mod reserve;

use std::cell::{Cell, OnceCell};
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use folder::{Folder, PRIVATE};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod};

use crate::allocate::{Candidate, Search};
use crate::error::Error;
use crate::range::{RangeSet, number};
pub(crate) use reserve::Demand;

const LOCK: &str = "lock";
const BOOT_ID: &str = "boot_id";
const WRITING: &str = ".writing";
/// More than any file of the store holds; the rest of a longer one is not read.
const LONGEST: u64 = 4096;

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
    /// Whether every lease has its link (see `index_complete`).
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
        Ok(Self { folder: Folder::at_or_create(path, 0o700)?, owners: OnceCell::new() })
    }

    /// Waits until nobody holds the lock, no longer than that.
    pub(crate) fn await_lock(&self, limit: Duration) -> Result<(), lock::Error> {
        // What else is wrong with it, the next ADD tells.
        let Ok(Some(file)) = self.folder.open_file(LOCK, OFlag::O_RDONLY) else { return Ok(()) };
        lock::take_within(&file, &self.path_of(LOCK), lock::Mode::Shared, limit)
    }

    /// Waits for the lock. Where it has no file, one is made if `create` says so: to remove what may be there, nothing is made.
    pub(crate) fn lock(&self, create: bool) -> Result<Locked<'_>, Error> {
        let create = if create { OFlag::O_CREAT } else { OFlag::empty() };
        let lock = self.folder.open_file(LOCK, create)?;
        let is_indexed = match &lock {
            Some(file) => {
                if !lock::try_take(file, lock::Mode::Exclusive)
                    .map_err(|source| folder::Error::new("lock", self.path_of(LOCK), source))?
                {
                    // Also where the holder is somebody who should not be able to: it happens once.
                    close_to_others(&self.folder, file, &index_complete::stat(&self.folder)?);
                    lock::take(file, &self.path_of(LOCK), lock::Mode::Exclusive)?;
                }
                let stat = index_complete::stat(&self.folder)?;
                close_to_others(&self.folder, file, &stat);
                index_complete::is_complete(&self.folder, &stat)
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
        Ok(read(&self.folder, &lease::name(address))?)
    }

    /// Whether the leases belong to a boot before this one. Where the boot is unknown, or the folder is the
    /// reference's and does not tell it, they count as alive.
    pub(crate) fn is_of_earlier_boot(&self, boot_id: Option<&str>) -> Result<bool, Error> {
        let Some(boot_id) = boot_id else { return Ok(false) };
        Ok(read(&self.folder, BOOT_ID)?.is_some_and(|kept| kept != boot_id))
    }

    /// The search through a range set, behind the address that it leased last.
    pub(crate) fn search<'s>(&self, set: &'s RangeSet, index: usize) -> Result<Search<'s>, Error> {
        Ok(Search::new(set, self.last_reserved(index)?))
    }

    /// A free address among those that are looked up one by one: the next few, then those kept in the list of free addresses.
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
        for address in self.free_list()?.unwrap_or_default().addresses {
            if let Some(range) = set.range_of(address)
                && range.gateway != address
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
        let found = search.free(taken, free_list::KEPT);
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
        Ok(match self.folder.stat(&lease::name(candidate.address))? {
            None => Some(Free { candidate, has_empty_lease: false }),
            Some(stat) => is_empty_file(&stat).then_some(Free { candidate, has_empty_lease: true }),
        })
    }

    fn last_reserved(&self, index: usize) -> Result<Option<IpAddr>, Error> {
        let content = read(&self.folder, &last_reserved_name(index))?;
        // The reference writes this file in place: what a crash left of it is no reason to fail.
        Ok(content.and_then(|content| content.parse().ok()))
    }

    /// Hands name and content of every lease to `visit`. Reads them all: for what has no shorter way.
    pub(crate) fn for_each_lease(&self, mut visit: impl FnMut(&str, &str)) -> Result<(), Error> {
        for name in self.lease_names()? {
            if let Some(content) = read(&self.folder, &name)? {
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
        Ok(self.folder().replace_by(WRITING, name, content.as_bytes(), PRIVATE)?)
    }
}

fn last_reserved_name(index: usize) -> String {
    format!("last_reserved_ip.{index}")
}

/// The content of a regular file, trimmed; `None` where there is none, or something else in its place.
fn read(folder: &Folder, name: &str) -> Result<Option<String>, folder::Error> {
    let file = match folder.open_file(name, OFlag::O_RDONLY) {
        Err(error) if matches!(error.errno(), Some(Errno::ELOOP | Errno::ENXIO)) => return Ok(None),
        file => file?,
    };
    let Some(file) = file else { return Ok(None) };
    let failed = |source| folder::Error::new("read", folder.path().join(name), source);
    // One read for a lease: `Read::read_to_end` would ask for the size first and for the end afterwards.
    let mut buffer = [0; 512];
    let mut content = match (&file).read(&mut buffer) {
        Ok(length) => buffer[..length].to_vec(),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    // A FIFO without a writer reads as if it were empty.
    if content.is_empty() && !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Ok(None);
    }
    if content.len() == buffer.len() {
        file.take(LONGEST).read_to_end(&mut content).map_err(failed)?;
    }
    Ok(Some(String::from_utf8_lossy(&content).trim().to_owned()))
}

/// Whether it is a lease without content.
fn is_empty_file(stat: &FileStat) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits() && stat.st_size == 0
}

/// Sees to it that nobody but root can open the lock of a folder with that stat: the reference, or a person, may have made it
/// with other rights. Where we may not change them, they stay.
fn close_to_others(folder: &Folder, lock: &File, stat: &FileStat) {
    const OTHERS: u32 = 0o077;
    if stat.st_mode & OTHERS != 0 {
        let _ = fchmod(lock, Mode::S_IRUSR | Mode::S_IWUSR);
        let _ = fchmod(folder.file(), Mode::from_bits_truncate(stat.st_mode & 0o7700));
    }
}
