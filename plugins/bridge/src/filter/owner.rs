//! Whose an element in the packet filter is: by its comment. The one grammar of all tables of this plugin.
//!
//! ```text
//! FIRST NETWORK HASH IFNAME CONTAINER-ID        # "cni0 net 1a2b3c4d eth0 c1"
//! ```
//!
//! `FIRST` is the table's own: a bridge, a port, a hardware address. `NETWORK HASH` is [`names::network_label`]. What there
//! is no room for is cut off, which is the end of a container's ID.

use cni::{Attachment, NetworkName};
use nftables::ledger::COMMENT_MAX;
use nftables::{Batch, Element, Field, Ifname, Set, Socket};

use crate::error::Result;
use crate::names;

/// The comment of an attachment's element.
pub(super) fn comment(first: impl std::fmt::Display, attachment: &Attachment) -> String {
    let Attachment { network, container_id, ifname } = attachment;
    let label = names::network_label(network);
    comment_from(first, &format!("{label} {ifname} {container_id}"))
}

/// The same from an attachment as the alias of its link names it.
pub(super) fn comment_from(first: impl std::fmt::Display, attachment: &str) -> String {
    let mut text = format!("{first} {attachment}");
    text.truncate(text.floor_char_boundary(COMMENT_MAX));
    text
}

/// What a [`comment`] begins with.
pub(super) fn first_word(element: &Element) -> Option<&str> {
    element.comment.as_deref()?.split(' ').next()
}

/// The ports of a network among the keys of a set whose elements have a [`comment`].
pub(super) fn ports_of(socket: &mut Socket, set: &Set<'_>, network: &NetworkName) -> Result<Vec<String>> {
    let label = names::network_label(network);
    let of_network = |element: &&Element| {
        let rest = element.comment.as_deref().and_then(|comment| comment.split_once(' '));
        rest.is_some_and(|(_, rest)| rest.starts_with(&label))
    };
    Ok(socket.elements(set)?.iter().filter(of_network).filter_map(key_of).collect())
}

/// The interface that is an element's key (`IFNAMSIZ` bytes, filled up with NUL).
pub(super) fn key_of(element: &Element) -> Option<String> {
    name_of(&element.key)
}

/// The name of an interface in the kernel's bytes.
pub(super) fn name_of(bytes: &[u8]) -> Option<String> {
    let name = bytes.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// An interface as the key of an element.
pub(super) fn interface(name: &str) -> Result<Field> {
    Ok(Field::Ifname(Ifname::new(name)?))
}

/// The element with that key. None also where the set has other types, because another program made it.
pub(super) fn element(socket: &mut Socket, set: &Set, key: &[Field]) -> Result<Option<Element>> {
    match socket.get_element(set, key) {
        Err(_) if socket.is_as_set(set)? != Some(true) => Ok(None),
        found => Ok(found?),
    }
}

/// Adds to a transaction the removal of an element that another program may have removed. Says whether it is there.
pub(super) fn del_if_present(
    socket: &mut Socket,
    batch: &mut Batch,
    set: &Set,
    key: &[Field],
) -> Result<bool> {
    let is_there = element(socket, set, key)?.is_some();
    if is_there {
        batch.del_element(set, key);
    }
    Ok(is_there)
}

#[cfg(test)]
mod tests {
    use cni::{ContainerId, IfName};

    use super::*;

    #[test]
    fn comments_are_cut_between_characters() {
        // Container IDs are ASCII, and stand last; interface names need not be.
        for length in 1..150 {
            let attachment = Attachment {
                network: NetworkName::new("n".repeat(length)).unwrap(),
                container_id: ContainerId::new("c".repeat(200)).unwrap(),
                ifname: IfName::new("ééééééé").unwrap(),
            };
            let text = comment("veth0123456789a", &attachment);
            assert!(text.len() <= COMMENT_MAX && text.contains(" ééééééé c"), "{text}");
            assert!(interface::alias(&attachment).contains(" ééééééé c"));
        }
    }
}
