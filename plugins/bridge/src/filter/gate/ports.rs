//! The ports of a bridge that are ours, as the kernel has them: what the packet filter's tables say of them may have been
//! flushed, or be what another boot left.

use netlink::Link;
use nftables::Socket;

use super::removal::forget;
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
        let whose = link.alias?.strip_prefix(names::ALIAS_WORD)?.to_owned();
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
    let mut socket = netlink::Socket::open()?;
    let Some(link) = socket.get_link(host_link)? else { return Ok(Vec::new()) };
    let bridge = match link.kind.as_deref() {
        Some("bridge") => link.index,
        _ => link.peer_index.unwrap_or(link.index),
    };
    Ok(socket.ports(bridge)?.into_iter().filter_map(Port::new).collect())
}

/// Ports that were taken for members because they were on the bridge. One may have been on its way out: its DEL takes it off the
/// gate while the link goes.
#[derive(Debug, Default)]
pub(super) struct Taken(Vec<String>);

impl Taken {
    pub(super) fn new(ports: &[&Port]) -> Self {
        Self(ports.iter().map(|port| port.name.clone()).collect())
    }

    /// Takes those off the gate again that have gone, once the transaction is through. What goes later is looked for by its own
    /// DEL when its link has gone ([`forget`]), so one of both sees it.
    pub(super) fn forget_gone(&mut self, socket: &mut Socket, host_link: &str) -> Result<()> {
        let taken = std::mem::take(&mut self.0);
        if taken.is_empty() {
            return Ok(());
        }
        let living = on(host_link)?;
        taken
            .iter()
            .filter(|port| living.iter().all(|there| there.name != **port))
            .try_for_each(|port| forget(socket, port))
    }
}

/// Whether one of some ports is there.
pub(super) fn has_any(there: &[Port], names: &[String]) -> bool {
    there.iter().any(|port| names.contains(&port.name))
}
