//! The alias of an attachment's link: people read it in `ip link`, GC finds a network's links by it.

use cni::Attachment;
use cni::links::alias_prefix;

/// What the aliases of all attachments' links begin with.
pub const ALIAS_WORD: &str = "cleat ";

/// `IFALIASZ` (linux/if.h) less the closing NUL.
pub const ALIAS_MAX: usize = 255;

/// What a link of this suite carries as its alias.
#[must_use]
pub fn alias(attachment: &Attachment) -> String {
    let Attachment { network, container_id, ifname } = attachment;
    let mut text = format!("{} {ifname} {container_id}", alias_prefix(network));
    text.truncate(ALIAS_MAX);
    text
}
