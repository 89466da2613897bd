//! Whether every lease of the folder has its link in `.owners`, known without reading one.
//!
//! The folder's own modification time says so. A process that holds the lock and knows it sets that time to a value that the
//! kernel never gives, the seal. The kernel replaces it as soon as a name is made or removed: by the reference, by a person, or
//! by this program where it is killed half-way. So a seal that is still there proves that only whole verbs of this program have
//! changed the folder. It costs one system call to read and one to set, however many leases there are.
//!
//! By it a DEL knows that an attachment without links has no lease, and an ADD that a range found full is still full (see
//! `free_list`). Without it both read all leases, once, give each its link, and seal the folder again. Leases of the reference
//! before 0.8 name no interface and can have no link; while there are any, there is no seal.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use cni::{Attachment, ContainerId, IfName, NetworkName};
use folder::Folder;
use nix::sys::stat::{FileStat, fstat, futimens};
use nix::sys::time::TimeSpec;

use super::{Locked, Store, free_list, lease};
use crate::error::Error;

impl Store {
    /// Whether nobody else has changed the folder since all its leases had their links.
    pub(crate) fn is_index_complete(&self) -> Result<bool, Error> {
        Ok(is_complete(&self.folder, &stat(&self.folder)?))
    }

    fn seal(&self) -> Result<(), Error> {
        let Some(nanoseconds) = mark(&self.folder, &stat(&self.folder)?) else { return Ok(()) };
        // A second ago, so that people see a time that means something, but never that of the change itself.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let seconds = i64::try_from(now.saturating_sub(1)).unwrap_or_default();
        let time = TimeSpec::new(seconds, nanoseconds);
        futimens(self.folder.file(), &TimeSpec::UTIME_OMIT, &time)
            .map_err(|errno| folder::Error::new("set the time of", self.folder.path(), errno).into())
    }
}

/// What the kernel says of the folder itself.
pub(super) fn stat(folder: &Folder) -> Result<FileStat, folder::Error> {
    fstat(folder.file()).map_err(|errno| folder::Error::new("look at", folder.path(), errno))
}

/// Whether a folder with that stat is sealed.
pub(super) fn is_complete(folder: &Folder, stat: &FileStat) -> bool {
    // What the kernel sets, it sets to the same time as the change of the inode.
    let is_set = (stat.st_mtime, stat.st_mtime_nsec) != (stat.st_ctime, stat.st_ctime_nsec);
    is_set && Some(stat.st_mtime_nsec) == mark(folder, stat)
}

/// The nanoseconds of a sealed folder's time. They depend on the inode and the name, so that no copy of the folder is
/// sealed, nor one that got the name of another network. Never 0, which file systems give that count in seconds.
fn mark(folder: &Folder, stat: &FileStat) -> Option<i64> {
    let name = folder.path().file_name()?.to_str()?;
    let token = cni::token(&[name, &stat.st_ino.to_string()]);
    i64::try_from(u64::from_str_radix(&token, 16).ok()? % 999_999_999 + 1).ok()
}

impl Locked<'_> {
    /// Gives every lease its link where some may lack it. Reads them all.
    pub(super) fn index(&self, network: &NetworkName) -> Result<(), Error> {
        // Without a lock others may be at the folder right now.
        if self.is_indexed.get() || self.lock.is_none() {
            return Ok(());
        }
        let mut leases: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        self.store.for_each_lease(|name, content| {
            if let Some(address) = lease::address(name) {
                leases.entry(content.to_owned()).or_default().push(address);
            }
        })?;
        // Nobody can ask for a lease without content.
        leases.remove("");
        if leases.keys().any(|content| lease::parts(content).1.is_none()) {
            return Ok(());
        }
        for (content, addresses) in leases {
            let (id, Some(ifname)) = lease::parts(&content) else { continue };
            // Nor for one of a name that is none.
            let (Ok(container_id), Ok(ifname)) = (ContainerId::new(id), IfName::new(ifname)) else {
                continue;
            };
            let attachment = Attachment { network: network.clone(), container_id, ifname };
            let owned = self.store.owned_by(&attachment)?;
            let linked: BTreeSet<IpAddr> = owned.addresses.into_iter().collect();
            let missing = addresses.into_iter().filter(|address| !linked.contains(address));
            for (index, address) in missing.enumerate() {
                self.add_owner(&attachment, owned.links + index, address)?;
            }
        }
        self.begin_index()
    }

    /// From here on every lease has its link. What was known of full ranges may have changed while that was not so.
    pub(super) fn begin_index(&self) -> Result<(), Error> {
        self.folder().unlink(free_list::FREE)?;
        self.is_indexed.set(true);
        Ok(())
    }
}

impl Drop for Locked<'_> {
    /// Before the lock is given up. Without the seal the next verbs are slower, and nothing else.
    fn drop(&mut self) {
        if self.is_indexed.get() {
            let _ = self.store.seal();
        }
    }
}
