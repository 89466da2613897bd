//! `cleat` with the conflists of conf/, as an administrator runs it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::shared::programs::{CLEAT, folder};
use crate::shared::shell::said;

pub(crate) const NETWORKS: &str = "/run/net.d";
pub(crate) const NETWORK: &str = "cleat";
pub(crate) const DUAL: &str = "cleat-dual-stack";

/// Puts the shipped conflists where NETCONFPATH points.
pub(crate) fn install_networks() {
    fs::create_dir_all(NETWORKS).unwrap();
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let mut found = 0;
    for entry in fs::read_dir(conf).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "conflist") {
            fs::copy(&file, Path::new(NETWORKS).join(file.file_name().unwrap())).unwrap();
            found += 1;
        }
    }
    assert!(found >= 2);
}

/// `cleat` with cnitool's environment.
pub(crate) fn cleat(args: &[&str]) -> Command {
    let mut command = Command::new(CLEAT);
    command.args(args).env("CNI_PATH", folder()).env("NETCONFPATH", NETWORKS);
    command
}

pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a verb; returns its exit code and its output.
pub(crate) fn call(args: &[&str]) -> (Option<i32>, String) {
    let output = cleat(args).output().unwrap();
    (output.status.code(), said(&output))
}

pub(crate) fn ok(args: &[&str]) -> String {
    let (code, text) = call(args);
    assert_eq!(code, Some(0), "cleat {args:?}: {text}");
    text
}

pub(crate) fn json_of(args: &[&str]) -> Value {
    let output = cleat(args).arg("--json").output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{args:?}: {error}: {}", said(&output)))
}

pub(crate) fn states(args: &[&str]) -> Vec<String> {
    let all = json_of(args);
    all.as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap().to_owned()).collect()
}
