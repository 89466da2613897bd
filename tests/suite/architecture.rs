//! Every path in docs/architecture.md exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The most files that the document may name below one heading of "If you see X".
const MOST: usize = 4;

/// The paths in a text, from the root of the repository.
fn paths(text: &str) -> BTreeSet<&str> {
    let is_separator = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.'));
    let words = text.split(is_separator).map(|word| word.trim_end_matches('.'));
    let folders = ["cli/", "conf/", "docs/", "fuzz/", "ipam/", "lib/", "plugins/", "tests/"];
    words.filter(|word| folders.iter().any(|folder| word.starts_with(folder))).collect()
}

#[test]
fn every_path_is_there_and_every_symptom_leads_to_few_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let named = paths(&text);
    assert!(named.len() > 40, "{named:?}");
    let missing: Vec<&&str> = named.iter().filter(|path| !root.join(path).exists()).collect();
    assert!(missing.is_empty(), "docs/architecture.md names paths that do not exist: {missing:?}");

    let symptoms = text.split("\n## ").find(|section| section.starts_with("If you see")).unwrap();
    let symptoms: Vec<&str> = symptoms.split("\n### ").skip(1).collect();
    assert!(symptoms.len() >= 8, "{} symptoms", symptoms.len());
    for symptom in symptoms {
        let files = paths(symptom);
        assert!((1..=MOST).contains(&files.len()), "{symptom}\nnames {} files", files.len());
    }
}
