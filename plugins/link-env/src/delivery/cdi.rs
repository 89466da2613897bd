//! A specification of the Container Device Interface, by which a runtime gives a container its hosts file and the variables
//! of its links: `--device link-env.cni/pod=NAME`.

use std::path::{Path, PathBuf};

use cni::{file, token};
use registry::{Folder, Registry};
use serde_json::{Value, json};

use crate::env::Environment;
use crate::error::Error;
use crate::files;

/// Variables may be secret.
pub(super) const MODE: u32 = 0o600;
const PREFIX: &str = "link-env_";
const SUFFIX: &str = ".json";

/// `NAME_MAX` (linux/limits.h), in bytes.
const LONGEST_NAME: usize = 255;
/// Characters that are kept of a container ID that is too long for a file name.
const START: usize = 200;

/// The specification's file, by container ID: names are unique on one network only. In one that would be too long, a hash
/// replaces the rest, after a character that no ID has.
pub(super) fn file_name(container_id: &str) -> String {
    let name = format!("{PREFIX}{container_id}{SUFFIX}");
    if name.len() <= LONGEST_NAME {
        return name;
    }
    let start: String = container_id.chars().take(START).collect();
    format!("{PREFIX}{start}~{}{SUFFIX}", token(&[container_id]))
}

/// The text of the specification.
pub(super) fn spec(devices: &[String], hosts: &Path, environment: &Environment, is_writable: bool) -> String {
    let env: Vec<String> = environment.lines().collect();
    let options = ["bind", if is_writable { "rw" } else { "ro" }];
    let edits = json!({
        "env": env,
        "mounts": [{"hostPath": hosts, "containerPath": "/etc/hosts", "options": options}],
    });
    let devices = devices.iter().filter(|name| is_valid(name));
    let mut devices: Vec<_> =
        devices.map(|name| json!({"name": name, "containerEdits": edits.clone()})).collect();
    loop {
        let text = json!({"cdiVersion": "0.5.0", "kind": "link-env.cni/pod", "devices": devices}).to_string();
        // Each device repeats all variables. The first (the name) and the last (the ID) matter most.
        if text.len() < file::LONGEST || devices.len() <= 1 {
            return text + "\n";
        }
        devices.remove(devices.len() / 2);
    }
}

/// The rule for names of devices (`ValidateDeviceName` in the CDI library), less characters that no name here has.
fn is_valid(name: &str) -> bool {
    let is_alphanumeric = |end: char| end.is_ascii_alphanumeric();
    name.starts_with(is_alphanumeric) && name.ends_with(is_alphanumeric)
}

/// All specifications of containers of this registry, with their containers' IDs.
pub(super) fn specs(dir: &Path, registry: &Registry) -> Result<Vec<(PathBuf, String)>, Error> {
    let mut specs = Vec::new();
    let Some(folder) = Folder::open(dir)? else {
        return Ok(specs);
    };
    for file in folder.entries()? {
        let Some(named) = file.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX)) else {
            continue;
        };
        // An unreadable file is not ours.
        let text = folder.read(&file).ok().flatten().unwrap_or_default();
        let id = if named.contains('~') { id_in(&text).unwrap_or_default() } else { named.to_owned() };
        // Other registries may share the folder.
        let hosts = registry.container_dir(&id).join(files::HOSTS);
        if file_name(&id) == file && String::from_utf8_lossy(&text).contains(&json!(hosts).to_string()) {
            specs.push((dir.join(&file), id));
        }
    }
    Ok(specs)
}

/// The container of a specification, by the folder of its hosts file.
fn id_in(text: &[u8]) -> Option<String> {
    let spec: Value = serde_json::from_slice(text).ok()?;
    let hosts = spec.pointer("/devices/0/containerEdits/mounts/0/hostPath")?.as_str()?;
    Path::new(hosts).parent()?.file_name()?.to_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_has_each_name_as_a_device() {
        let names = ["web", "web.shop", "_x"].map(str::to_owned);
        let text = spec(&names, Path::new("/run/cleat/containers/c1/hosts"), &Environment::default(), false);
        let spec: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(spec["kind"], "link-env.cni/pod");
        let devices: Vec<_> =
            spec["devices"].as_array().unwrap().iter().map(|device| &device["name"]).collect();
        assert_eq!(devices, ["web", "web.shop"]);
        assert_eq!(
            spec["devices"][1]["containerEdits"]["mounts"][0]["hostPath"],
            "/run/cleat/containers/c1/hosts"
        );
    }
}
