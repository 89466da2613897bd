//! Which leases an attachment has, without reading those of all others: `.owners/<token>.<n>`, counted from 0, each a
//! symbolic link to one lease (`../10.1.0.2`). A link is made and read by one system call and is never half written.
//!
//! It is a hint, never a proof: it is made before its lease and removed after it, so that every lease made here has
//! one whichever process was killed when, and each lease's content is compared before anything follows from it. The reference
//! reads a link as the lease it points to, and so removes both when it releases an attachment; it takes neither for
//! an address, as the name is none. Leases made by the reference have no link until a reading of all leases gives them
//! one (see `index_complete`), where no previous result names them. One thing is missed: an ADD that this program
//! repeats, without DEL, for an attachment that the reference has leased to is not recognised as a repetition.

use std::net::IpAddr;
use std::ops::Range;

use cni::Attachment;
use folder::Folder;

use super::{Locked, Store, lease};
use crate::error::Error;

const OWNERS: &str = ".owners";

fn name(token: &str, index: usize) -> String {
    format!("{token}.{index}")
}

/// What the links of an attachment say.
#[derive(Debug, Default)]
pub(crate) struct Owned {
    /// The addresses they point to.
    pub(crate) addresses: Vec<IpAddr>,
    /// How many links there are.
    pub(crate) links: usize,
}

impl Store {
    /// The addresses that an attachment probably has, in the order in which it got them.
    pub(crate) fn owned_by(&self, attachment: &Attachment) -> Result<Owned, Error> {
        let token = attachment.token();
        let mut owned = Owned::default();
        let Some(folder) = self.owners()? else { return Ok(owned) };
        while let Some(target) = folder.read_link(&name(&token, owned.links))? {
            owned.addresses.extend(target.strip_prefix("../").and_then(lease::address));
            owned.links += 1;
        }
        Ok(owned)
    }

    /// The folder of links, itself no link; opened once.
    fn owners(&self) -> Result<Option<&Folder>, Error> {
        if self.owners.get().is_none()
            && let Some(folder) = self.folder.child(OWNERS)?
        {
            let _ = self.owners.set(folder);
        }
        Ok(self.owners.get())
    }
}

impl Locked<'_> {
    /// Adds a link, whose index must be the number of those that are there.
    pub(super) fn add_owner(
        &self,
        attachment: &Attachment,
        index: usize,
        address: IpAddr,
    ) -> Result<(), Error> {
        let target = format!("../{}", lease::name(address));
        let link = name(&attachment.token(), index);
        let folder = if let Some(folder) = self.store.owners.get() {
            folder
        } else {
            let made = self.folder().child_or_create(OWNERS)?;
            self.store.owners.get_or_init(|| made)
        };
        Ok(folder.symlink(&target, &link)?)
    }

    /// Removes an attachment's last links, the very last one first: a reader stops at the first gap.
    pub(super) fn remove_owner(&self, attachment: &Attachment, links: Range<usize>) -> Result<(), Error> {
        let token = attachment.token();
        if let Some(folder) = self.store.owners()? {
            for index in links.rev() {
                folder.unlink(&name(&token, index))?;
            }
        }
        Ok(())
    }

    /// Removes the links of every attachment whose token a predicate does not want to keep.
    pub(super) fn remove_owners(&self, keep: impl Fn(&str) -> bool) -> Result<(), Error> {
        let Some(folder) = self.store.owners()? else { return Ok(()) };
        let mut names = Vec::new();
        folder.for_each_name(|name| {
            if let Some((token, _)) = name.split_once('.')
                && !token.is_empty()
                && !keep(token)
            {
                names.push(name.to_owned());
            }
        })?;
        Ok(names.iter().try_for_each(|name| folder.unlink(name).map(drop))?)
    }
}
