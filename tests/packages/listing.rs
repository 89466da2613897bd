//! Every file of the machine, before and after.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What is not compared: the kernel's and this repository's folders, and what dpkg knows and says.
const NOT: [&str; 8] =
    ["/proc", "/sys", "/dev", "/target", "/source", "/var/lib/dpkg", "/var/log/dpkg.log", "/run/lock"];

/// Every path with its kind, mode, owner, and content or target.
#[derive(Debug, PartialEq)]
pub(crate) struct Listing(BTreeMap<String, String>);

impl Listing {
    /// Of the whole machine.
    pub(crate) fn take() -> Self {
        Self::of("/")
    }

    /// Of a folder.
    pub(crate) fn of(folder: &str) -> Self {
        let mut found = BTreeMap::new();
        walk(Path::new(folder), &mut found);
        Self(found)
    }

    /// Whether the path is there.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// How the other one differs, a line each; empty for equal ones.
    pub(crate) fn changes(&self, after: &Self) -> Vec<String> {
        let gone =
            self.0.iter().filter(|(path, what)| after.0.get(*path) != Some(what)).map(|line| ('-', line));
        let come =
            after.0.iter().filter(|(path, what)| self.0.get(*path) != Some(what)).map(|line| ('+', line));
        gone.chain(come).map(|(sign, (path, what))| format!("{sign} {path} {what}")).collect()
    }

    /// Fails unless all is as it was.
    pub(crate) fn assert_unchanged(&self) {
        let changes = self.changes(&Self::take());
        assert!(changes.is_empty(), "{changes:#?}");
    }
}

fn walk(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        let name = path.display().to_string();
        if NOT.contains(&name.as_str()) {
            continue;
        }
        let meta = fs::symlink_metadata(&path).unwrap();
        let who = format!("{:o} {}:{}", meta.mode(), meta.uid(), meta.gid());
        let what = if meta.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap().display())
        } else if meta.is_file() && is_compared(&name) {
            format!("{who} {}", sum(&fs::read(&path).unwrap()))
        } else if meta.is_file() {
            format!("{who} {} bytes, {}", meta.len(), meta.mtime())
        } else {
            who
        };
        found.insert(name, what);
        if meta.is_dir() {
            walk(&path, found);
        }
    }
}

/// Whether the file's bytes are compared, and not only its length and time.
fn is_compared(path: &str) -> bool {
    ["/opt/", "/usr/lib/cni/", "/etc/", "/root/"].iter().any(|folder| path.starts_with(folder))
}

/// A sum of some bytes (FNV-1a), which are too many to print.
fn sum(bytes: &[u8]) -> String {
    let sum = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{} bytes, {sum:016x}", bytes.len())
}
