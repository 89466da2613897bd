//! Which keys a call is about.

use std::fmt;

/// One key, or all that begin with a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    start: Vec<u8>,
    is_prefix: bool,
}

impl Span {
    /// One key.
    #[must_use]
    pub fn key(key: impl Into<Vec<u8>>) -> Self {
        Self { start: key.into(), is_prefix: false }
    }

    /// All keys with a prefix, which ought to end in a slash: `/a/b` is the prefix of `/a/bc` as well. etcd refuses an empty
    /// one.
    #[must_use]
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        Self { start: prefix.into(), is_prefix: true }
    }

    pub(crate) fn start(&self) -> Vec<u8> {
        self.start.clone()
    }

    /// `range_end` of etcd's requests: the first key after the span.
    pub(crate) fn end(&self) -> Vec<u8> {
        if !self.is_prefix || self.start.is_empty() {
            return Vec::new();
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
        let prefix = if self.is_prefix { "--prefix " } else { "" };
        format!("etcdctl role grant-permission ROLE {right} {prefix}{}", printable(&self.start))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", printable(&self.start), if self.is_prefix { "*" } else { "" })
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
}
