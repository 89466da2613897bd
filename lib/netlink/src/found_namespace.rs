//! Finds the network namespaces that exist: those that a process is in, and those that are mounted. That walks all of `/proc`:
//! GC and reports can afford it, nothing that adds or removes a container does it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::Error;
use crate::link::Link;
use crate::namespace::Namespace;
use crate::socket::Socket;

/// A namespace other than the caller's own, and a path that leads to it.
#[derive(Debug)]
pub struct FoundNamespace {
    /// Of the first process found in it, or of its mount.
    pub path: PathBuf,
    /// The open namespace.
    pub namespace: Namespace,
    /// A process is in it.
    pub has_process: bool,
}

impl FoundNamespace {
    /// The namespaces of all processes that may be looked at.
    ///
    /// # Errors
    /// `/proc` or the own namespace cannot be read.
    pub fn of_processes() -> Result<Vec<Self>, Error> {
        let failed = |source| Error::io(format_args!("look for namespaces in /proc"), source);
        let mut paths = Vec::new();
        for entry in fs::read_dir("/proc").map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
                paths.push(entry.path().join("ns/net"));
            }
        }
        distinct(paths, true)
    }

    /// These, and those that are mounted where the caller sees the mount: in `/run/netns`, or in a folder of a runtime's.
    ///
    /// # Errors
    /// `/proc` or the own namespace cannot be read.
    pub fn all() -> Result<Vec<Self>, Error> {
        let failed = |source| Error::io(format_args!("look for mounted namespaces"), source);
        let mounts = fs::read("/proc/self/mountinfo").map_err(failed)?;
        let mounted = String::from_utf8_lossy(&mounts).lines().filter_map(mounted).collect();
        let mut all = Self::of_processes()?;
        let known: BTreeSet<_> = all.iter().filter_map(|found| found.namespace.identity().ok()).collect();
        let is_new = |found: &Self| found.namespace.identity().is_ok_and(|id| !known.contains(&id));
        all.extend(distinct(mounted, false)?.into_iter().filter(is_new));
        Ok(all)
    }
}

/// Opens each namespace once. What is gone by now, and what may not be opened, is skipped; a lack of descriptors or memory is an
/// error, as there may be something.
fn distinct(paths: Vec<PathBuf>, has_process: bool) -> Result<Vec<FoundNamespace>, Error> {
    const LACKS: [Errno; 4] = [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::EIO];
    let mut known = BTreeSet::from([Namespace::current()?.identity()?]);
    let mut all = Vec::new();
    for path in paths {
        let identity = fs::metadata(&path).map(|found| std::os::unix::fs::MetadataExt::ino(&found));
        // Most processes are where others are: those are not opened.
        if identity.is_ok_and(|inode| known.iter().any(|(_, other)| *other == inode)) {
            continue;
        }
        let namespace = match Namespace::open(&path) {
            Err(error) if LACKS.iter().any(|&errno| error.is(errno)) => return Err(error),
            Err(_) => continue,
            Ok(namespace) => namespace,
        };
        if known.insert(namespace.identity()?) {
            all.push(FoundNamespace { path, namespace, has_process });
        }
    }
    Ok(all)
}

/// Where a network namespace is mounted, by a line of `/proc/self/mountinfo` (proc(5)): the fourth field is the root within
/// the file system, the fifth the mount point.
fn mounted(line: &str) -> Option<PathBuf> {
    let mut fields = line.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    root.starts_with("net:[").then(|| Path::new(&unescaped(point)).to_owned())
}

/// White space is written as a backslash and three octal digits.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(text.to_owned(), |text, (code, character)| text.replace(code, character))
}

/// The namespaces that processes are in, as IDs in this namespace (`nsid`, ip-netns(8)).
#[derive(Debug, Default)]
pub struct NsidsWithProcesses(BTreeSet<i32>);

impl NsidsWithProcesses {
    /// Asks for the number of each. No link of this namespace leads to one without a number.
    ///
    /// # Errors
    /// As [`FoundNamespace::of_processes`]; and what the kernel says.
    pub fn read(socket: &mut Socket) -> Result<Self, Error> {
        let mut numbers = BTreeSet::new();
        for found in FoundNamespace::of_processes()? {
            numbers.extend(socket.number_of(&found.namespace)?);
        }
        Ok(Self(numbers))
    }

    /// Whether a link's other end is in a namespace that a process is in.
    #[must_use]
    pub fn is_behind(&self, link: &Link) -> bool {
        link.peer_netns.is_some_and(|number| self.0.contains(&number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_network_namespaces_are_found_among_others() {
        let line = "79 35 0:4 net:[4026532266] /run/netns/a\\040b rw shared:12 - nsfs nsfs rw";
        assert_eq!(mounted(line), Some("/run/netns/a b".into()));
        assert_eq!(mounted("80 35 0:4 mnt:[4026532267] /run/ns/b rw - nsfs nsfs rw"), None);
        assert_eq!(mounted("25 1 0:23 / /run rw,nosuid - tmpfs tmpfs rw"), None);
        assert_eq!(mounted(""), None);
    }
}
