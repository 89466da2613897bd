//! The state of a host as lines that can be compared: links, addresses, routes, rules, files.
//!
//! The lists come from ip(8) and nft(8), which share no code with the suite.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::host::Namespaced;

/// The state of a host at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    lines: BTreeSet<String>,
    folders: Vec<PathBuf>,
}

/// Files that belong to a network, not to an attachment, and so stay. host-local goes on after the address that it leased
/// last, as the reference does, and shares its lock file with the reference.
const KEPT: [&str; 4] = ["lock", "boot_id", ".free", "last_reserved_ip."];

impl Snapshot {
    /// The state of the current network namespace and of the suite's folders.
    #[must_use]
    pub fn take() -> Self {
        Self::with_files_of(&["/run", "/var/lib", "/etc/netns"])
    }

    /// The state of the current network namespace and of these folders, for tests where other programs write to the rest.
    #[must_use]
    pub fn with_files_of<P: AsRef<Path>>(folders: &[P]) -> Self {
        let folders: Vec<PathBuf> = folders.iter().map(|folder| folder.as_ref().to_owned()).collect();
        let mut lines = BTreeSet::new();
        for link in json(&["-d", "link"]) {
            let field = |name: &str| link[name].to_string();
            lines.insert(format!(
                "link {} kind {} master {} address {} mtu {} {}",
                field("ifname"),
                link["linkinfo"]["info_kind"],
                field("master"),
                field("address"),
                field("mtu"),
                if link["flags"].to_string().contains("\"UP\"") { "up" } else { "down" },
            ));
        }
        for link in json(&["addr"]) {
            for address in link["addr_info"].as_array().into_iter().flatten() {
                if is_the_kernels(&address["local"]) {
                    continue;
                }
                lines.insert(format!(
                    "address {} {}/{}",
                    link["ifname"], address["local"], address["prefixlen"]
                ));
            }
        }
        for family in ["-4", "-6"] {
            for route in json(&[family, "route", "show", "table", "all"]) {
                // The kernel makes anycast routes when forwarding is switched on. An ADD switches it on, and a DEL leaves it
                // on, because other programs may rely on it by then.
                if route["type"] == "anycast" || is_the_kernels(&route["dst"]) {
                    continue;
                }
                lines.insert(format!(
                    "route {} {} via {} dev {} table {}",
                    route["type"], route["dst"], route["gateway"], route["dev"], route["table"]
                ));
            }
        }
        let rules = output(Command::new("nft").args(["--stateless", "list", "ruleset"]));
        lines.extend(rules.lines().map(|line| format!("nft {line}")));
        for folder in &folders {
            files(folder, &mut lines);
        }
        Self { lines, folders }
    }

    /// Panics with a list of the differences if anything has changed since.
    pub fn assert_unchanged(&self) {
        let changes = self.differences();
        assert!(changes.is_empty(), "left behind (+) or missing (-): {changes:#?}");
    }

    /// What was added (`+`) and removed (`-`) since, a line each.
    #[must_use]
    pub fn differences(&self) -> Vec<String> {
        let now = Self::with_files_of(&self.folders);
        let came = now.lines.difference(&self.lines).map(|line| format!("+ {line}"));
        let went = self.lines.difference(&now.lines).map(|line| format!("- {line}"));
        came.chain(went).collect()
    }

    /// As [`Snapshot::assert_unchanged`], but ignores the file of a namespace that was made since.
    pub fn assert_unchanged_but_for(&self, netns: &Namespaced) {
        let mut expected = self.clone();
        let now = Self::with_files_of(&self.folders).lines;
        let of_netns = format!("{} ", netns.path().display());
        expected.lines.extend(now.into_iter().filter(|line| line.contains(&of_netns)));
        expected.assert_unchanged();
    }

    /// The lines themselves, sorted.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

/// Whether it is a link-local address, or a route for these or for multicast. The kernel adds them to a link in the
/// background, sometimes a second later. They disappear with their link.
fn is_the_kernels(destination: &Value) -> bool {
    destination.as_str().is_some_and(|text| text.starts_with("fe80:") || text == "ff00::/8")
}

fn json(args: &[&str]) -> Vec<Value> {
    let text = output(Command::new("ip").arg("-j").args(args));
    if text.trim().is_empty() {
        return Vec::new();
    }
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("ip -j {args:?}: {error}: {text}"))
}

fn output(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}: install iproute2 and nftables"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn files(folder: &Path, lines: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if KEPT.iter().any(|kept| name == *kept || (kept.ends_with('.') && name.starts_with(kept))) {
            continue;
        }
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            // Folders have no line of their own: a network may leave an empty one.
            files(&path, lines);
        } else {
            let content = if meta.is_file() { fs::read(&path).unwrap_or_default() } else { Vec::new() };
            let mode = meta.permissions().mode();
            lines.insert(format!("file {} {mode:o} {:?}", path.display(), String::from_utf8_lossy(&content)));
        }
    }
}
