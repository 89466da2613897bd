//! docs/configuration.md: it is made from the schemas, and says the truth of the reference, of the first release, and of `CNI_ARGS`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::shared::programs::{CLEAT, folder};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page() -> String {
    fs::read_to_string(root().join("docs/configuration.md")).unwrap()
}

#[test]
fn the_page_is_made_from_the_schemas() {
    let made = tempfile::NamedTempFile::new().unwrap();
    let status = Command::new(CLEAT).args(["generate", "configuration"]).arg(made.path()).status().unwrap();
    assert!(status.success());
    let is_fresh = fs::read_to_string(made.path()).unwrap() == page();
    assert!(is_fresh, "run cargo run -- generate configuration docs/configuration.md");
}

/// A line of a table that has a key.
#[derive(Debug)]
struct Row {
    /// The heading that the table is under.
    section: String,
    /// The plugin that the key is of: the section, or a column.
    plugin: String,
    key: String,
    /// The release that it came with, if not the first one.
    since: Option<String>,
    /// What the column Reference says, where there is one.
    reference: Option<bool>,
}

fn rows() -> Vec<Row> {
    let (mut section, mut heads) = (String::new(), Vec::new());
    let mut rows = Vec::new();
    for line in page().lines() {
        if let Some(heading) =
            line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#'))
        {
            heading.clone_into(&mut section);
        }
        let Some(cells) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else { continue };
        let cells: Vec<String> = cells.split(" | ").map(str::to_owned).collect();
        if ["Key", "Annotation"].contains(&cells[0].as_str()) {
            heads = cells;
            continue;
        }
        if cells[0] == "---" {
            continue;
        }
        let cell = |head: &str| heads.iter().position(|known| known == head).map(|at| cells[at].as_str());
        let (key, since) = match cells[0].split_once(" (since ") {
            Some((key, since)) => (key, Some(since.trim_end_matches(')').to_owned())),
            None => (cells[0].as_str(), None),
        };
        rows.push(Row {
            plugin: cell("Plugin").unwrap_or(&section).to_owned(),
            section: section.clone(),
            key: key.trim_matches('`').to_owned(),
            since,
            reference: cell("Reference").map(|word| word == "yes"),
        });
    }
    assert!(rows.len() > 100, "{rows:?}");
    rows
}

#[test]
fn the_reference_has_the_keys_that_are_said_to_be_its_and_no_others() {
    let reference = folder().join("../../debian-newer/containernetworking-plugins/usr/lib/cni");
    let rows = rows();
    let mut compared = 0;
    for (plugin, program) in [
        ("bridge", "bridge"),
        ("host-local", "host-local"),
        ("host-port", "portmap"),
        ("macvlan", "macvlan"),
        ("ipvlan", "ipvlan"),
    ] {
        let known = decoded_keys(&reference.join(program));
        for row in rows.iter().filter(|row| row.plugin == plugin && row.section != "CNI_ARGS") {
            let name = row.key.rsplit('.').next().unwrap();
            let is_known = known.contains(name);
            assert_eq!(row.reference, Some(is_known), "{plugin} {}: say so with \"x-reference\"", row.key);
            compared += 1;
        }
    }
    assert!(compared > 70, "{compared}");
}

/// The keys that a program in Go decodes: each is in the tag of a field, as `json:"isGateway"` or `json:"mac,omitempty"`.
fn decoded_keys(program: &Path) -> BTreeSet<String> {
    const TAG: &[u8] = b"json:\"";
    let bytes = fs::read(program).unwrap_or_else(|error| {
        panic!("{}: {error}; tests/tools/newer containernetworking-plugins unpacks it", program.display())
    });
    let tags = bytes.windows(TAG.len()).enumerate().filter(|(_, window)| *window == TAG);
    let key = |(at, _)| {
        let rest: &[u8] = &bytes[at + TAG.len()..];
        let length = rest.iter().position(|byte| b"\",".contains(byte)).unwrap();
        String::from_utf8_lossy(&rest[..length]).into_owned()
    };
    tags.map(key).collect()
}

#[test]
fn a_key_that_came_after_the_first_release_says_with_which() {
    let recorded = fs::read_to_string(root().join("tests/data/keys-0.2.0")).unwrap();
    let recorded: BTreeSet<&str> = recorded.lines().filter(|line| !line.starts_with('#')).collect();
    let rows = rows();
    let named = |row: &Row| format!("{}: {} {}", row.section, row.plugin, row.key);
    let old: Vec<String> = rows.iter().filter(|row| row.since.is_none()).map(named).collect();
    let old: BTreeSet<&str> = old.iter().map(String::as_str).collect();
    let added: Vec<_> = old.difference(&recorded).collect();
    assert!(added.is_empty(), "give them \"x-since\", the release that they come with: {added:?}");
    let missing: Vec<_> = recorded.difference(&old).collect();
    assert!(missing.is_empty(), "configurations may have them, so they cannot go: {missing:?}");
}

/// What plugins look for in `CNI_ARGS` has no schema: keys in capitals that their sources ask for.
#[test]
fn every_argument_that_a_plugin_reads_is_listed() {
    let mut sources = String::new();
    for folder in [
        "lib/interface",
        "plugins/bridge",
        "plugins/host-port",
        "plugins/link-env",
        "plugins/loopback",
        "plugins/macvlan",
        "ipam/host-local",
    ] {
        for file in ["lib.rs", "conf.rs", "keys.rs"] {
            sources += &fs::read_to_string(root().join(folder).join("src").join(file)).unwrap_or_default();
        }
    }
    let asked = ["args.get(\"", "args.wanted(\"", "items(\""]
        .into_iter()
        .flat_map(|call| sources.split(call).skip(1));
    let keys = asked.map(|rest| rest.split('"').next().unwrap());
    let is_argument =
        |key: &&str| key.chars().all(|letter| letter.is_ascii_uppercase() || "_0123456789".contains(letter));
    let read: BTreeSet<&str> = keys.filter(is_argument).collect();
    let rows = rows();
    let listed = rows.iter().filter(|row| row.section == "CNI_ARGS").map(|row| row.key.as_str());
    assert_eq!(listed.collect::<BTreeSet<&str>>(), read);
}
