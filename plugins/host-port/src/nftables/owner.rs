//! The attachment that an element belongs to, named by the element's comment.
//!
//! `<owner> via=<host interface> <interface> <network> <container ID>`, where the owner alone identifies; what comes
//! last is cut where the kernel has no room. `published` shows it, a refused ADD names it, DEL and GC go by the owner.

use std::fmt;

use cni::host_ports::DIGITS;
use cni::{Attachment, ContainerId};
use nftables::ledger::COMMENT_MAX;
use nftables::{Field, Ifname};

use crate::error::Error;

/// What identifies an attachment in this table: the first 56 bits of its [`Attachment::token`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner(String);

impl Owner {
    pub(crate) fn of(attachment: &Attachment) -> Self {
        Self(attachment.token()[..DIGITS].to_owned())
    }

    /// Reads the key of an element of `owners`.
    pub(crate) fn from_key(key: &[u8]) -> Option<Self> {
        let digits = key.get(1..=DIGITS)?;
        let digits = str::from_utf8(digits).ok()?;
        Some(Self(digits.to_owned()))
    }

    /// Reads the beginning of a comment.
    pub(crate) fn from_comment(comment: &str) -> Option<Self> {
        comment.get(..DIGITS).map(|digits| Self(digits.to_owned()))
    }

    /// Reads the digits alone.
    pub(crate) fn from_digits(text: &str) -> Option<Self> {
        let is_digits = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digits.then(|| Self(text.to_owned()))
    }

    /// The digits alone.
    pub(crate) fn digits(&self) -> &str {
        &self.0
    }

    /// The key in `owners`.
    pub(crate) fn key(&self) -> Result<Field, Error> {
        Ok(Field::Ifname(Ifname::new(&format!("p{}", self.0))?))
    }

    /// Whether an element with this comment is this owner's.
    pub(crate) fn has(&self, comment: Option<&str>) -> bool {
        comment.is_some_and(|comment| comment.starts_with(&self.0))
    }
}

/// What the comment of an element says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub owner: String,
    /// The interface of the host that goes when the container goes.
    pub interface: String,
    pub ifname: String,
    pub network: String,
    pub container_id: String,
}

impl Holder {
    pub(crate) fn new(attachment: &Attachment, interface: &str) -> Self {
        Self {
            owner: attachment.token(),
            interface: interface.to_owned(),
            ifname: attachment.ifname.as_str().to_owned(),
            network: attachment.network.as_str().to_owned(),
            container_id: attachment.container_id.as_str().to_owned(),
        }
    }

    /// The comment, cut to what there is room for.
    pub(crate) fn comment(&self) -> String {
        let Self { owner, interface, ifname, network, container_id } = self;
        let mut text = format!("{owner} via={interface} {ifname} {network} {container_id}");
        text.truncate(text.floor_char_boundary(COMMENT_MAX));
        text
    }

    /// Whether a comment is that of another attachment of the same container: podman asks for a container's ports on
    /// each of its networks. False where the comment had no room for enough of the container's ID.
    pub(crate) fn is_of(comment: &str, container_id: &ContainerId) -> bool {
        const ENOUGH: usize = 12;
        let id = container_id.as_str();
        Self::read(comment).is_some_and(|holder| {
            let is_named = holder.container_id.len() >= ENOUGH.min(id.len());
            is_named && Self { container_id: id.to_owned(), ..holder }.comment() == comment
        })
    }

    /// Reads a comment; `None` where this plugin did not write it.
    pub(crate) fn read(comment: &str) -> Option<Self> {
        let mut words = comment.split(' ').map(str::to_owned);
        Some(Self {
            owner: words.next()?,
            interface: words.next()?.strip_prefix("via=")?.to_owned(),
            ifname: words.next()?,
            network: words.next()?,
            container_id: words.next().unwrap_or_default(),
        })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "container {} on network {}", self.container_id, self.network)
    }
}

#[cfg(test)]
mod tests {
    use cni::{ContainerId, IfName, NetworkName};

    use super::*;

    fn attachment(network: &str, id: &str) -> Attachment {
        Attachment {
            network: NetworkName::new(network).unwrap(),
            container_id: ContainerId::new(id).unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        }
    }

    #[test]
    fn comments_come_back() {
        let holder = Holder::new(&attachment("net", &"f".repeat(64)), "veth0123456789a");
        assert_eq!(Holder::read(&holder.comment()), Some(holder.clone()));
        assert!(Owner::of(&attachment("net", &"f".repeat(64))).has(Some(&holder.comment())));
    }

    #[test]
    fn what_is_too_long_is_cut_behind_what_counts() {
        let holder = Holder::new(&attachment(&"n".repeat(200), "web"), "veth0123456789a");
        let comment = holder.comment();
        assert_eq!(comment.len(), COMMENT_MAX);
        let read = Holder::read(&comment).unwrap();
        assert_eq!((read.owner, read.interface), (holder.owner, holder.interface));
    }

    #[test]
    fn keys_and_comments_name_the_same_owner() {
        let attachment = attachment("net", "web");
        let owner = Owner::of(&attachment);
        let key = nftables::key::encode(&[owner.key().unwrap()]);
        assert_eq!(Owner::from_key(&key), Some(owner.clone()));
        let comment = Holder::new(&attachment, "veth0").comment();
        assert_eq!(Owner::from_comment(&comment), Some(owner));
    }

    #[test]
    fn a_containers_other_attachments_are_known() {
        let is_of = |network: &str, id: &str, other: &str| {
            let comment = Holder::new(&attachment(network, id), "veth0123456789a").comment();
            Holder::is_of(&comment, &ContainerId::new(other).unwrap())
        };
        let id = "0123456789".repeat(6);
        assert!(is_of("front", "web", "web"));
        assert!(is_of(&"n".repeat(60), &id, &id), "cut");
        assert!(!is_of(&"n".repeat(200), &id, &id), "cut away");
        assert!(!is_of("front", "web", "webs"));
        assert!(!is_of("front", "webs", "web"));
    }

    #[test]
    fn comments_of_others_are_not_read() {
        for comment in ["", "web", "web eth0 net id", "0123456789abcdef"] {
            assert_eq!(Holder::read(comment), None, "{comment:?}");
        }
    }
}
