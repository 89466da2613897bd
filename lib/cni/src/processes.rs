//! Which network namespaces have processes. Walks over all processes: for GC and `cleat`, never for ADD or DEL.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The namespaces of all processes but those of the caller's own, as they are when it is made.
#[derive(Debug, Default)]
pub struct NamespacesWithProcesses(BTreeSet<(u64, u64)>);

impl NamespacesWithProcesses {
    /// Looks at every process that may be looked at.
    #[must_use]
    pub fn read() -> Self {
        Self::of_those(|_| true)
    }

    /// Looks at the processes that `counts`, by their folders in /proc.
    #[must_use]
    pub fn of_those(counts: impl Fn(&Path) -> bool) -> Self {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten().map(|process| process.path());
        let processes = processes.filter(|process| counts(process));
        let mut all: BTreeSet<_> =
            processes.filter_map(|process| identity(&process.join("ns/net"))).collect();
        if let Some(own) = identity(Path::new("/proc/thread-self/ns/net")) {
            all.remove(&own);
        }
        Self(all)
    }

    /// Whether a process is in the namespace at a path.
    #[must_use]
    pub fn has(&self, netns: &Path) -> bool {
        identity(netns).is_some_and(|identity| self.0.contains(&identity))
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_namespace_counts_as_nobodys_and_no_file_as_a_namespace() {
        let found = NamespacesWithProcesses::read();
        assert!(!found.has(Path::new("/proc/self/ns/net")));
        assert!(!found.has(Path::new("/nowhere")));
    }
}
