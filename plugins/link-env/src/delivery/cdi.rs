//! A specification of the Container Device Interface, by which runtimes give a container its hosts file and the
//! environment of its links: `--device link-env.cni/pod=NAME`.

use std::path::{Path, PathBuf};

use registry::{Folder, Registry};
use serde_json::json;

use crate::env::Environment;
use crate::error::Error;

/// What the source offers may be secret.
pub(super) const MODE: u32 = 0o600;
const PREFIX: &str = "link-env_";
const SUFFIX: &str = ".json";

/// The specification's file: container IDs are unique, names are so on one network only.
pub(super) fn file_name(container_id: &str) -> String {
    format!("{PREFIX}{container_id}{SUFFIX}")
}

/// The text of the specification.
pub(super) fn spec(devices: &[String], hosts: &Path, environment: &Environment) -> String {
    let env: Vec<String> = environment.lines().collect();
    let edits = json!({
        "env": env,
        "mounts": [{"hostPath": hosts, "containerPath": "/etc/hosts", "options": ["bind", "rw"]}],
    });
    let devices = devices.iter().filter(|name| is_valid(name));
    let devices: Vec<_> =
        devices.map(|name| json!({"name": name, "containerEdits": edits.clone()})).collect();
    format!("{}\n", json!({"cdiVersion": "0.5.0", "kind": "link-env.cni/pod", "devices": devices}))
}

/// The rule for names of devices (`ValidateDeviceName` in the CDI library), less characters that no name here has.
fn is_valid(name: &str) -> bool {
    let bytes = name.as_bytes();
    let alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    alphanumeric(bytes.first()) && alphanumeric(bytes.last())
}

/// All specifications of containers of this registry, with their containers' IDs.
pub(super) fn specs(dir: &Path, registry: &Registry) -> Result<Vec<(PathBuf, String)>, Error> {
    let mut specs = Vec::new();
    let Some(folder) = Folder::open(dir)? else {
        return Ok(specs);
    };
    for file in folder.entries()? {
        let Some(id) = file.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX)) else {
            continue;
        };
        // Other registries may share the folder.
        let hosts = registry.container_dir(id).join("hosts");
        // What cannot be read is none of ours.
        let text = folder.read(&file).ok().flatten().unwrap_or_default();
        if String::from_utf8_lossy(&text).contains(&json!(hosts).to_string()) {
            specs.push((dir.join(&file), id.to_owned()));
        }
    }
    Ok(specs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_has_each_name_as_a_device() {
        let names = ["web", "web.shop", "_x"].map(str::to_owned);
        let text = spec(&names, Path::new("/run/cleat/containers/c1/hosts"), &Environment::default());
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
