//! Paths of network namespaces, and whether a namespace still exists.

use std::path::{Component, Path, PathBuf};

use netlink::Namespace;

use crate::error::Error;

/// The absolute path without `.` and `..`. Links are not followed, as `cnitool` hashes this text.
pub(crate) fn absolute(given: &Path) -> Result<PathBuf, Error> {
    let base = std::env::current_dir().map_err(|error| Error::io("find the current folder", error))?;
    Ok(clean(&base.join(given)))
}

fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            // The parent of the root is the root.
            cleaned.pop();
        } else {
            cleaned.push(component);
        }
    }
    cleaned
}

/// Opens the namespace at an absolute path; `given` is what the user typed, for the error's cure.
pub(crate) fn open(netns: &Path, given: &Path) -> Result<Namespace, Error> {
    Namespace::open(netns).map_err(|source| Error::Netns { given: given.to_owned(), source })
}

/// Whether a container's namespace still exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It does.
    Alive,
    /// It certainly does not.
    Gone,
    /// It cannot be opened now, for this reason, but perhaps later. It counts as alive, as otherwise everything of its
    /// attachment would be removed.
    Unreadable(String),
    /// Its path is not known, for this reason. It counts as alive.
    Unknown(String),
}

impl Life {
    /// Why it is not known whether it exists.
    pub(crate) fn why(&self) -> Option<&str> {
        match self {
            Self::Unreadable(reason) | Self::Unknown(reason) => Some(reason),
            Self::Alive | Self::Gone => None,
        }
    }

    /// That of the namespace at a path.
    pub(crate) fn of(netns: &Path) -> Self {
        match Namespace::open(netns) {
            // The process has ended, and its number is that of a process on the host now.
            Ok(namespace) if netns.starts_with("/proc") => match namespace.is_current() {
                Ok(true) => Self::Gone,
                Ok(false) => Self::Alive,
                Err(error) => Self::Unreadable(error.to_string()),
            },
            Ok(_) => Self::Alive,
            // Below /run/netns, an ordinary file is left when the namespace is unmounted.
            Err(error) if leads_nowhere(&error) => Self::Gone,
            Err(error) => Self::Unreadable(error.to_string()),
        }
    }
}

/// Whether there certainly is no namespace at a path.
pub(crate) fn leads_nowhere(error: &netlink::Error) -> bool {
    error.is_not_found() || matches!(error, netlink::Error::NotNamespace { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_by_their_text() {
        for (path, wanted) in [
            ("/run/netns/a", "/run/netns/a"),
            ("/run//netns/./a/", "/run/netns/a"),
            ("/run/../../a", "/a"),
            ("/", "/"),
        ] {
            assert_eq!(clean(Path::new(path)), Path::new(wanted), "{path}");
        }
        assert!(absolute(Path::new("a")).unwrap().is_absolute());
    }

    #[test]
    fn only_what_is_known_to_be_gone_is_gone() {
        for gone in ["/nowhere/at/all", "/proc/self/status", "/proc/4194305/ns/net", "/proc/self/ns/net"] {
            assert_eq!(Life::of(Path::new(gone)), Life::Gone, "{gone}");
        }
    }
}
