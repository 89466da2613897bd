//! Which keys a call is about.

use std::fmt;

/// One key, all that begin with a prefix, or all between two keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    start: Vec<u8>,
    extent: Extent,
}

/// How far a span reaches from its start.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Extent {
    Key,
    Prefix,
    Until(Vec<u8>),
}

impl Span {
    /// One key.
    #[must_use]
    pub fn key(key: impl Into<Vec<u8>>) -> Self {
        Self { start: key.into(), extent: Extent::Key }
    }

    /// All keys with a prefix, which ought to end in a slash: `/a/b` is the prefix of `/a/bc` as well. etcd refuses an empty
    /// one.
    #[must_use]
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        Self { start: prefix.into(), extent: Extent::Prefix }
    }

    /// All keys from `start` on, and before `end`. If no key can be between them, etcd finds none.
    #[must_use]
    pub fn range(start: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> Self {
        Self { start: start.into(), extent: Extent::Until(end.into()) }
    }

    pub(crate) fn start(&self) -> Vec<u8> {
        self.start.clone()
    }

    /// `range_end` of etcd's requests: the first key after the span.
    pub(crate) fn end(&self) -> Vec<u8> {
        match &self.extent {
            Extent::Until(end) => return end.clone(),
            Extent::Key => return Vec::new(),
            Extent::Prefix if self.start.is_empty() => return Vec::new(),
            Extent::Prefix => {}
        }
        let mut end = self.start.clone();
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                return end;
            }
        }
        // Nothing comes after 0xff: "all keys from here on" is a single zero.
        vec![0]
    }

    /// The command that gives a role the right to these keys.
    pub(crate) fn grant(&self, right: &str) -> String {
        let start = printable(&self.start);
        let keys = match &self.extent {
            Extent::Key => start,
            Extent::Prefix => format!("--prefix {start}"),
            Extent::Until(end) => format!("{start} {}", printable(end)),
        };
        format!("etcdctl role grant-permission ROLE {right} {keys}")
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = printable(&self.start);
        match &self.extent {
            Extent::Key => formatter.write_str(&start),
            Extent::Prefix => write!(formatter, "{start}*"),
            Extent::Until(end) => write!(formatter, "{start} up to {}", printable(end)),
        }
    }
}

/// A key as text: what is not printable ASCII is escaped, so that it cannot end a line of a log.
pub(crate) fn printable(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::Span;

    #[test]
    fn a_prefix_ends_before_the_next_key_that_lacks_it() {
        assert_eq!(Span::prefix("/a/").end(), b"/a0");
        assert_eq!(Span::prefix(vec![b'a', 0xff]).end(), b"b");
        assert_eq!(Span::prefix(vec![0xff, 0xff]).end(), [0]);
        assert_eq!(Span::prefix("").end(), b"");
        assert_eq!(Span::key("/a/").end(), b"");
    }

    #[test]
    fn a_range_is_named_by_both_of_its_ends() {
        let range = Span::range("/a/b", "/a/n0");
        assert_eq!((range.start(), range.end()), (b"/a/b".to_vec(), b"/a/n0".to_vec()));
        assert_eq!(range.to_string(), "/a/b up to /a/n0");
        assert_eq!(range.grant("read"), "etcdctl role grant-permission ROLE read /a/b /a/n0");
    }
}
