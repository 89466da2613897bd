//! What tests beside the reference compare.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

/// What a program prints as JSON; iproute2 prints nothing for an empty list.
pub(crate) fn json_of(program: &str, args: &[&str]) -> Value {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    if text.trim().is_empty() { json!([]) } else { serde_json::from_str(&text).unwrap() }
}

/// The files of a network's leases with their content, without our own additions.
pub(crate) fn leases(network: &str) -> Value {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(format!("/var/lib/cni/networks/{network}")).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // The ID of the boot that the leases belong to, and the index by owner.
        if !matches!(name.as_str(), "boot_id" | ".owners") {
            files.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
    json!(files)
}
