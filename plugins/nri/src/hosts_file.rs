//! kubelet's hosts file, whose entries a container is to keep: the pod's own name, and the pod's `hostAliases`. The pod's
//! containers may write to it: nothing in it is trusted.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::path::Path;

use registry::ExtraHost;
use rustix::fs::{Mode, OFlags};

/// How kubelet begins the file.
const KUBELETS: &str = "# Kubernetes-managed hosts file";

/// How much of the file is read, in bytes, and how many names are taken from it. What kubelet writes has a dozen.
const LONGEST: usize = 64 << 10;
const MOST: usize = 1024;
/// The longest name that DNS has.
const LONGEST_NAME: usize = 253;

/// The entries of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Entries {
    pub(crate) hosts: Vec<ExtraHost>,
    /// Whether entries were left out.
    pub(crate) is_cut: bool,
}

/// The entries of a file, where kubelet wrote it; none where there is no such file, or it is no regular file.
pub(crate) fn read(path: &Path) -> Entries {
    start(path).map(|text| entries(&text)).unwrap_or_default()
}

/// The beginning of a regular file. No FIFO or device is opened, even where one takes the file's place in between, and a
/// lease on the file is not waited for.
fn start(path: &Path) -> io::Result<String> {
    let found = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let found = File::from(found);
    if !found.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let again = format!("/proc/self/fd/{}", found.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(again, flags, Mode::empty())?);
    let mut bytes = Vec::new();
    // One byte more shows that the file is longer.
    file.take(LONGEST as u64 + 1).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The entries of a hosts file that kubelet wrote, each once, without those that every hosts file has; none of any other
/// file.
fn entries(text: &str) -> Entries {
    let mut entries = Entries::default();
    if !text.starts_with(KUBELETS) {
        return entries;
    }
    let mut lines = text;
    if text.len() > LONGEST {
        // The last word may be cut.
        lines = &text[..text.rfind([' ', '\t', '\n']).unwrap_or_default()];
        entries.is_cut = true;
    }
    let mut room = LONGEST;
    let mut known = std::collections::HashSet::new();
    for line in lines.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(first) = words.next() else { continue };
        let Ok(address) = first.parse() else { continue };
        for name in words {
            if name == "localhost" || name.starts_with("ip6-") || name.len() > LONGEST_NAME {
                continue;
            }
            if !known.insert((address, name)) {
                continue;
            }
            // link-env writes each as a line of its own.
            let left = room.checked_sub(first.len() + name.len() + 2);
            let Some(left) = left.filter(|_| entries.hosts.len() < MOST) else {
                entries.is_cut = true;
                return entries;
            };
            room = left;
            entries.hosts.push(ExtraHost { name: name.to_owned(), address });
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const TEXT: &str = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                        fe00::0\tip6-localnet\nfe00::1\tip6-allnodes\n10.1.0.2\tweb.sub.default.svc.cluster.local\tweb\n\n\
                        # Entries added by HostAliases.\n192.0.2.9\tprinter\tscanner printer # upstairs\nnonsense\n";

    fn shown(entries: &Entries) -> Vec<String> {
        entries.hosts.iter().map(|entry| format!("{} {}", entry.address, entry.name)).collect()
    }

    #[test]
    fn the_pods_names_and_aliases_are_kept() {
        let entries = entries(TEXT);
        assert_eq!(
            shown(&entries),
            [
                "10.1.0.2 web.sub.default.svc.cluster.local",
                "10.1.0.2 web",
                "192.0.2.9 printer",
                "192.0.2.9 scanner",
            ]
        );
        assert!(!entries.is_cut);
    }

    #[test]
    fn the_file_of_somebody_else_is_not_read() {
        assert_eq!(entries("127.0.0.1\tlocalhost\n192.0.2.9\tprinter\n"), Entries::default());
        assert_eq!(entries(""), Entries::default());
    }

    #[test]
    fn neither_long_files_nor_many_names_are_taken_whole() {
        let names: Vec<String> = (0..=MOST).map(|number| format!("n{number}")).collect();
        let cut = entries(&format!("{TEXT}2001:db8::1 {}\n", names.join(" ")));
        assert_eq!((cut.hosts.len(), cut.is_cut), (MOST, true));
        // Many bytes on few lines, and a file that ends within a name.
        let long = format!("2001:db8:1111:2222:3333:4444:5555:6666 {}\n", "x".repeat(LONGEST_NAME));
        let lines: Vec<String> =
            (0..300).map(|number| long.replacen("1111", &number.to_string(), 1)).collect();
        let cut = entries(&format!("{TEXT}{}", lines.concat()));
        assert!(cut.is_cut && (200..300).contains(&cut.hosts.len()), "{}", cut.hosts.len());
        assert!(cut.hosts.iter().skip(4).all(|entry| entry.name.len() == LONGEST_NAME));
        let nothing = entries(&format!("{TEXT}{}", "#".repeat(LONGEST)));
        assert_eq!((shown(&nothing), nothing.is_cut), (shown(&entries(TEXT)), true));
    }

    #[test]
    fn what_is_no_file_does_not_hang() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RUSR).unwrap();
        let (file, link) = (folder.path().join("etc-hosts"), folder.path().join("link"));
        fs::write(&file, TEXT).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&fifo, folder.path(), &link, Path::new("/dev/zero"), Path::new("/nonexistent")] {
            assert_eq!(read(path), Entries::default(), "{}", path.display());
        }
        assert_eq!(read(&file), entries(TEXT));
        // A sparse file of any length.
        File::options().write(true).open(&file).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(shown(&read(&file)), shown(&entries(TEXT)));
    }
}
