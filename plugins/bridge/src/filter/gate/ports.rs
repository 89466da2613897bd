//! The ports of a bridge that are ours, as the kernel has them: what the packet filter's tables say of them may have been
//! flushed, or be what another boot left.

use netlink::{Link, Socket};

use crate::error::Result;
use crate::filter::owner::comment_from;
use crate::names;

/// A port of an attachment.
#[derive(Debug)]
pub(super) struct Port {
    pub name: String,
    /// What a [`crate::filter::owner::comment`] says of the attachment, without its first word.
    whose: String,
}

impl Port {
    fn new(link: Link) -> Option<Self> {
        let whose = link.alias?.strip_prefix(interface::ALIAS_WORD)?.to_owned();
        let is_plain = !whose.contains(|letter: char| letter == '"' || letter.is_control());
        (names::is_host_interface(&link.name) && is_plain).then_some(Self { name: link.name, whose })
    }

    /// Whether it is of a network, by the label that this has.
    pub(super) fn is_of(&self, label: &str) -> bool {
        self.whose.starts_with(label)
    }

    /// The comment of the port's elements.
    pub(super) fn comment(&self, first: &str) -> String {
        comment_from(first, &self.whose)
    }
}

/// The ports on a bridge, or on the bridge that a VLAN device is on.
pub(super) fn on(host_link: &str) -> Result<Vec<Port>> {
    let mut socket = Socket::open()?;
    let Some(link) = socket.get_link(host_link)? else { return Ok(Vec::new()) };
    let bridge = match link.kind.as_deref() {
        Some("bridge") => link.index,
        _ => link.peer_index.unwrap_or(link.index),
    };
    Ok(socket.ports(bridge)?.into_iter().filter_map(Port::new).collect())
}

/// Whether one of some ports is there.
pub(super) fn has_any(there: &[Port], names: &[String]) -> bool {
    there.iter().any(|port| names.contains(&port.name))
}
