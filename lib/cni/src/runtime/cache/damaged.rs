//! A file of the cache that nobody can read any more.

use crate::spec::attachment::{Attachment, ContainerId, IfName, NetworkName};

/// A file of the cache that cannot be read, or is no entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// The file's name.
    pub file: String,
    /// What is wrong with it, with its path.
    pub reason: String,
    /// It is not known what is in it, because reading failed: that may succeed the next time.
    pub is_unread: bool,
}

impl Damaged {
    /// The attachments of a network that the file may be of. Network, container and interface may have hyphens
    /// themselves, so that there may be several. Those with the longest container ID, which are the likeliest, come first.
    #[must_use]
    pub fn candidates(&self, network: &NetworkName) -> Vec<Attachment> {
        let rest = self.file.strip_prefix(network.as_str()).and_then(|rest| rest.strip_prefix('-'));
        let rest = rest.unwrap_or_default();
        let splits = rest.rmatch_indices('-').map(|(at, _)| (&rest[..at], &rest[at + 1..]));
        let attachment = |(container_id, ifname): (&str, &str)| {
            Some(Attachment {
                network: network.clone(),
                container_id: ContainerId::new(container_id).ok()?,
                ifname: IfName::new(ifname).ok()?,
            })
        };
        splits.filter_map(attachment).collect()
    }
}
