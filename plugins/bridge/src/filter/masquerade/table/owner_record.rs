//! The record of an owner, the comment of its element: `cni0 net 1a2b3c4d 10.1.0.5 fd00::5 !4_5e6f7a8b +veth0123456789a`. The
//! network's interface, the network in two, the addresses, the exceptions (see `except`), and the owner's heirs: others who have one of these addresses too and
//! live, whose elements these become when the owner goes. What there was no room for is marked by an end of `...`.

use std::net::IpAddr;

use nftables::ledger::COMMENT_MAX;

/// Ends a record that had no room for everything.
const MORE: &str = " ...";
/// Begins an exception.
const EXCEPT: char = '!';
/// Begins the name of an heir.
const HEIR: char = '+';

/// The record of an owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record(String);

impl Record {
    /// That of an owner without heirs.
    pub(super) fn new(
        home: &str,
        label: &str,
        addresses: &[IpAddr],
        exceptions: impl Iterator<Item = String>,
    ) -> Self {
        let start = Self(format!("{home} {label}"));
        let record = addresses.iter().fold(start, |record, address| record.with(&address.to_string()));
        exceptions.fold(record, |record, exception| record.with(&format!("{EXCEPT}{exception}")))
    }

    /// As an element has it.
    pub(super) fn of(comment: Option<String>) -> Self {
        Self(comment.unwrap_or_default())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it had no room for everything.
    pub(super) fn is_cut(&self) -> bool {
        self.0.ends_with(MORE)
    }

    /// Whether the host's interface and the network are there, without which the rest means nothing.
    pub(super) fn is_readable(&self) -> bool {
        self.0.split(' ').count() > 2
    }

    /// The host's interface that the network is behind.
    pub(super) fn home(&self) -> &str {
        self.0.split(' ').next().unwrap_or_default()
    }

    /// The network as [`crate::names::network_label`] has it.
    pub(super) fn label(&self) -> String {
        self.0.split(' ').skip(1).take(2).collect::<Vec<_>>().join(" ")
    }

    /// The owner's addresses.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.0.split(' ').skip(3).filter_map(|word| word.parse().ok())
    }

    /// The exceptions from its masquerading.
    pub(super) fn exceptions(&self) -> impl Iterator<Item = &str> + '_ {
        self.0.split(' ').skip(3).filter_map(|word| word.strip_prefix(EXCEPT))
    }

    /// The same with one exception more.
    pub(super) fn with_exception(self, word: &str) -> Self {
        self.with(&format!("{EXCEPT}{word}"))
    }

    /// The names of its heirs.
    pub(super) fn heirs(&self) -> impl Iterator<Item = &str> + '_ {
        self.0.split(' ').skip(3).filter_map(|word| word.strip_prefix(HEIR))
    }

    /// The same with these heirs and no others.
    pub(super) fn with_heirs<'h>(&self, heirs: impl IntoIterator<Item = &'h str>) -> Self {
        let words = self.0.split(' ').enumerate();
        let others = words.filter(|(place, word)| *place < 3 || !word.starts_with(HEIR));
        let others = Self(others.map(|(_, word)| word).collect::<Vec<_>>().join(" "));
        heirs.into_iter().fold(others, |record, heir| record.with(&format!("{HEIR}{heir}")))
    }

    fn with(self, word: &str) -> Self {
        if self.is_cut() {
            return self;
        }
        let next = format!("{} {word}", self.0);
        if next.len() > COMMENT_MAX - MORE.len() { Self(self.0 + MORE) } else { Self(next) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn everything_comes_back() {
        let ours = addresses(&["10.1.0.5", "fd00::5"]);
        let exceptions = ["4_5e6f7a8b".to_owned()].into_iter();
        let record = Record::new("cni0", "net 1a2b3c4d", &ours, exceptions).with_heirs(["veth1", "veth2"]);
        assert_eq!(record.as_str(), "cni0 net 1a2b3c4d 10.1.0.5 fd00::5 !4_5e6f7a8b +veth1 +veth2");
        assert_eq!(record.exceptions().collect::<Vec<_>>(), ["4_5e6f7a8b"]);
        assert_eq!((record.home(), record.label().as_str()), ("cni0", "net 1a2b3c4d"));
        assert_eq!(record.addresses().collect::<Vec<_>>(), ours);
        let more = record.clone().with_exception("6_12345678");
        assert_eq!(more.exceptions().collect::<Vec<_>>(), ["4_5e6f7a8b", "6_12345678"]);
        assert_eq!(record.with_heirs(["veth3"]).heirs().collect::<Vec<_>>(), ["veth3"]);
        assert!(record.is_readable() && !record.is_cut() && !Record::of(Some("oops".into())).is_readable());
    }

    #[test]
    fn what_has_no_room_is_marked() {
        let many: Vec<String> = (0..20).map(|n| format!("fd00::{n}:0:0:1")).collect();
        let many = addresses(&many.iter().map(String::as_str).collect::<Vec<_>>());
        let record = Record::new("cni0", "net 1a2b3c4d", &many, std::iter::empty());
        assert!(record.is_cut() && record.as_str().len() <= COMMENT_MAX);
        assert_eq!(record.with_heirs(["veth1"]), record);
        let room =
            Record::new("cni0", &format!("{} 1a2b3c4d", "n".repeat(48)), &many[..1], std::iter::empty());
        let full =
            room.with_heirs(["veth0123456789a", "veth0123456789b", "veth0123456789c", "veth0123456789d"]);
        assert!(!room.is_cut() && full.is_cut() && full.as_str().len() <= COMMENT_MAX);
    }
}
