//! kubelet's hosts file, whose entries a container is to keep: the pod's own name, and the pod's `hostAliases`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use registry::ExtraHost;
use rustix::fs::{Mode, OFlags};

/// How kubelet begins the file.
const KUBELETS: &str = "# Kubernetes-managed hosts file";

/// No hosts file that kubelet wrote is longer, in bytes.
const LONGEST: u64 = 1 << 20;

/// The entries of a file, where kubelet wrote it. It may be anything else that a pod's author mounts: a FIFO, a device, a
/// file without end.
pub(crate) fn read(path: &Path) -> Option<Vec<ExtraHost>> {
    let read = || -> io::Result<String> {
        let mut text = String::new();
        if fs::symlink_metadata(path)?.is_file() {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
            file.take(LONGEST).read_to_string(&mut text)?;
        }
        Ok(text)
    };
    entries(&read().ok()?)
}

/// The entries of a hosts file that kubelet wrote, less those that every hosts file has; `None` where somebody else
/// wrote it.
fn entries(text: &str) -> Option<Vec<ExtraHost>> {
    if !text.starts_with(KUBELETS) {
        return None;
    }
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let address = words.next()?.parse().ok()?;
        Some(words.map(move |name| ExtraHost { name: name.to_owned(), address }))
    });
    let entries =
        lines.flatten().filter(|entry| entry.name != "localhost" && !entry.name.starts_with("ip6-"));
    Some(entries.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                        fe00::0\tip6-localnet\nfe00::1\tip6-allnodes\n10.1.0.2\tweb.sub.default.svc.cluster.local\tweb\n\n\
                        # Entries added by HostAliases.\n192.0.2.9\tprinter\tscanner # upstairs\nnonsense\n";

    #[test]
    fn the_pods_names_and_aliases_are_kept() {
        let entries = entries(TEXT).unwrap();
        let entries: Vec<String> =
            entries.iter().map(|entry| format!("{} {}", entry.address, entry.name)).collect();
        assert_eq!(
            entries,
            [
                "10.1.0.2 web.sub.default.svc.cluster.local",
                "10.1.0.2 web",
                "192.0.2.9 printer",
                "192.0.2.9 scanner",
            ]
        );
    }

    #[test]
    fn the_file_of_somebody_else_is_not_read() {
        assert_eq!(entries("127.0.0.1\tlocalhost\n192.0.2.9\tprinter\n"), None);
        assert_eq!(entries(""), None);
    }

    #[test]
    fn what_is_no_file_does_not_hang() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RUSR).unwrap();
        for path in [&fifo, folder.path(), Path::new("/dev/zero"), Path::new("/nonexistent")] {
            assert_eq!(read(path), None, "{}", path.display());
        }
        let file = folder.path().join("etc-hosts");
        fs::write(&file, TEXT).unwrap();
        assert_eq!(read(&file), entries(TEXT));
    }
}
