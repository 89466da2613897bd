//! docs/operations.md: its files with their modes, its JSON and its error codes are those of the programs.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sandbox::{Host, Namespaced, isolated};
use serde_json::Value;

use crate::shared::cleat::{NETWORKS, cleat, install_networks, json_of, ok, succeed};
use crate::shared::shell::shell;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of a section's tables, as cells.
fn table(heading: &str) -> Vec<Vec<String>> {
    let page = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let (_, rest) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let lines = rest.split("\n## ").next().unwrap().lines().filter_map(|line| line.strip_prefix("| "));
    lines
        .map(|line| line.trim_end_matches(" |").split(" | ").map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// What is between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Whether a path is of a pattern. `ID` and so on stand for one name or a part of it, `…` for that, and at the end of the
/// pattern for names below as well.
fn is_of(path: &str, pattern: &str) -> bool {
    let (pattern, reaches_below) = match pattern.strip_suffix("/…") {
        Some(folder) if folder.ends_with("registry") => (folder, true),
        _ => (pattern, false),
    };
    let is_name = |(name, pattern): (&str, &str)| {
        let mut pattern = pattern.to_owned();
        for word in ["BRIDGE", "NETWORK", "NAME", "ID"] {
            pattern = pattern.replace(word, "…");
        }
        match pattern.split_once('…') {
            None => name == pattern,
            Some((before, after)) => {
                name.len() > before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
            }
        }
    };
    let (names, patterns): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), pattern.split('/').collect());
    let is_as_deep = if reaches_below { names.len() > patterns.len() } else { names.len() == patterns.len() };
    is_as_deep && names.into_iter().zip(patterns).all(is_name)
}

/// The paths below a folder, links not followed.
fn below(folder: &Path, paths: &mut Vec<PathBuf>) {
    paths.push(folder.to_owned());
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            below(&path, paths);
        } else {
            paths.push(path);
        }
    }
}

#[test]
fn every_file_is_listed_with_its_mode() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let links = format!("{NETWORKS}/30-cleat-links.conflist");
        let with_cdi =
            fs::read_to_string(&links).unwrap().replace("\"names\"", "\"cdiDir\": \"/run/cdi\", \"names\"");
        fs::write(&links, with_cdi).unwrap();
        let _containers = (Namespaced::new("web"), Namespaced::new("db"));
        succeed(&mut cleat(&["add", "cleat-dual-stack", "/run/netns/web", "--id", "web"]));
        succeed(&mut cleat(&["add", "cleat-links", "/run/netns/db", "--id", "db"]));
        ok(&["run", "-d", "--network", "cleat", "--name", "background", "--", "sleep", "60"]);
        ok(&["network", "connect", "cleat-dual-stack", "background"]);
        let rows = table("Files and folders");
        let mut paths = Vec::new();
        for folder in ["/run/cleat", "/run/cdi", "/var/lib/cni", "/var/log/cleat", "/etc/netns/web"] {
            below(Path::new(folder), &mut paths);
        }
        paths.extend(["/run/cleat.cleat0.lock", "/run/cleat.cleat2.lock"].map(PathBuf::from));
        assert!(paths.len() > 50, "{paths:?}");
        for path in paths {
            let name = path.to_str().unwrap();
            let of = |row: &&Vec<String>| quoted(&row[0]).iter().any(|pattern| is_of(name, pattern));
            // The one that says most about it.
            let row = rows.iter().filter(of).max_by_key(|row| row[0].replace('…', "").len());
            let row = row.unwrap_or_else(|| panic!("docs/operations.md does not list {name}"));
            let found = fs::symlink_metadata(&path).unwrap();
            let mode = if found.is_symlink() {
                "link".to_owned()
            } else {
                format!("{:04o}", found.permissions().mode() & 0o7777)
            };
            let (folders, files) = row[1].split_once(", files ").unwrap_or((&row[1], &row[1]));
            assert_eq!(mode, if found.is_dir() { folders } else { files }, "{name}: {row:?}");
        }
        ok(&["stop", "background"]);
    });
}

#[test]
fn json_has_the_keys_that_are_listed() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let (web, gone) = (Namespaced::new("web"), Namespaced::new("gone"));
        succeed(&mut cleat(&["add", "cleat", "/run/netns/web", "--id", "web"]));
        succeed(&mut cleat(&["add", "cleat", "/run/netns/gone", "--id", "gone"]));
        drop(gone);
        let mistaken = fs::read_to_string(format!("{NETWORKS}/10-cleat.conflist")).unwrap();
        fs::write(format!("{NETWORKS}/10-cleat.conflist"), mistaken.replace("hairpinMode", "hairpinMod"))
            .unwrap();
        // For `cleat repair`.
        shell("nft flush ruleset");
        let mut compared = 0;
        for row in table("JSON").iter().filter(|row| row[0].starts_with('`')) {
            let command = quoted(&row[0])[0].replace("NETWORK", "cleat").replace("NAME", "web");
            let words: Vec<&str> = command.split(' ').skip(1).collect();
            let printed = json_of(&words);
            let first = printed[0].as_object().unwrap_or_else(|| panic!("{command}: {printed}"));
            let found: BTreeSet<&str> = first.keys().map(String::as_str).collect();
            assert_eq!(quoted(&row[1]).into_iter().collect::<BTreeSet<&str>>(), found, "{command}");
            compared += 1;
        }
        assert!(compared >= 9, "{compared}");
        let port: Value = json_of(&["port", "web"]);
        assert!(port.is_object(), "{port}");
        drop(web);
    });
}

/// lib/cni has a number at the head of each code's comment.
#[test]
fn every_error_code_is_listed() {
    let source = fs::read_to_string(root().join("lib/cni/src/spec/error.rs")).unwrap();
    let comments = source.lines().filter_map(|line| line.trim().strip_prefix("/// "));
    let codes = comments.filter_map(|comment| comment.split_once(": ")?.0.parse().ok());
    let codes: BTreeSet<u32> = codes.collect();
    assert!(codes.len() > 10, "{codes:?}");
    let rows = table("Exit codes and error codes");
    let listed: BTreeSet<u32> = rows.iter().filter_map(|row| row[0].parse().ok()).collect();
    assert_eq!(listed, codes);
}
