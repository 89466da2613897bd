//! What the packet filter tables of this plugin have in common: keys, comments, and how a change that others come in
//! between is tried again.

use cni::{Attachment, NetworkName};
use nftables::{Element, Field, Ifname, Set, Socket, Table};

use crate::error::Error;
use crate::names;

/// How often a transaction is tried again when another process changed something in between.
pub(crate) const TRIES: usize = 50;

/// The longest comment that `nft` reads back, in bytes (`NFTNL_UDATA_COMMENT_MAXLEN` less the NUL).
pub(crate) const COMMENT_MAX: usize = 127;

/// The failure of all tries: nothing is wrong, and another time it may well succeed.
pub(crate) fn contended(table: &Table<'_>) -> Error {
    Error::Passing(format!("table {table} kept changing while it was to be changed"))
}

/// Passes over that something was gone, or was taken up again, before it could be removed.
pub(crate) fn ignore_change(outcome: nftables::Result<()>) -> Result<(), Error> {
    match outcome {
        Err(error) if !(error.is_busy() || error.is_not_found()) => Err(error.into()),
        _ => Ok(()),
    }
}

/// What tells this boot of the host from others: the first part of the kernel's own ID of it.
pub(crate) fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.chars().take_while(char::is_ascii_hexdigit).collect()
}

/// An interface as the key of an element.
pub(crate) fn interface(name: &str) -> Result<Field, Error> {
    Ok(Field::Ifname(Ifname::new(name)?))
}

/// The element with that key; none also where the set is of other types, which somebody else made.
pub(crate) fn element(socket: &mut Socket, set: &Set, key: &[Field]) -> Result<Option<Element>, Error> {
    match socket.get_element(set, key) {
        Err(_) if socket.is_as_set(set)? != Some(true) => Ok(None),
        found => Ok(found?),
    }
}

/// What an element of an attachment's port tells people: something of its own first, then whose it is.
pub(crate) fn comment(first: impl std::fmt::Display, attachment: &Attachment) -> String {
    let Attachment { network, container_id, ifname } = attachment;
    let mut text = format!("{first} {} {ifname} {container_id}", names::network_label(network));
    text.truncate(COMMENT_MAX);
    text
}

/// What a [`comment`] begins with.
pub(crate) fn first_word(element: &Element) -> Option<&str> {
    element.comment.as_deref()?.split(' ').next()
}

/// The ports of a network among the keys of a set whose elements have a [`comment`].
pub(crate) fn ports_of(
    socket: &mut Socket,
    set: &Set<'_>,
    network: &NetworkName,
) -> Result<Vec<String>, Error> {
    let label = names::network_label(network);
    let of_network = |element: &&Element| {
        let rest = element.comment.as_deref().and_then(|comment| comment.split_once(' '));
        rest.is_some_and(|(_, rest)| rest.starts_with(&label))
    };
    Ok(socket.elements(set)?.iter().filter(of_network).filter_map(key_of).collect())
}

/// The interface that is an element's key (`IFNAMSIZ` bytes, filled up with NUL).
pub(crate) fn key_of(element: &Element) -> Option<String> {
    let name = element.key.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use cni::{ContainerId, IfName};

    use super::*;

    #[test]
    fn a_contended_table_is_for_another_time() {
        let error = cni::Error::from(contended(&Table::new(nftables::Family::Inet, "cleat_bridge")));
        assert_eq!(error.code(), cni::Code::TryAgain.number());
    }

    #[test]
    fn comments_are_cut_where_every_character_is_one_byte() {
        // Container IDs are ASCII, and stand last; interface names need not be.
        for length in 1..150 {
            let attachment = Attachment {
                network: NetworkName::new("n".repeat(length)).unwrap(),
                container_id: ContainerId::new("c".repeat(200)).unwrap(),
                ifname: IfName::new("ééééééé").unwrap(),
            };
            let text = comment("veth0123456789a", &attachment);
            assert!(text.len() <= COMMENT_MAX && text.contains(" ééééééé c"), "{text}");
            assert!(names::alias(&attachment).contains(" ééééééé c"));
        }
    }
}
