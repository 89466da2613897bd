//! The verbs on a real folder.

mod foreign;
mod limits;
mod verbs;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cni::{Args, Attachment, Command, ContainerId, IfName, NetworkName};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

const BOOT: Option<&str> = Some("boot-1");

/// A network with a data folder of its own.
struct Network {
    root: TempDir,
    ipam: Value,
}

impl Network {
    fn new(ipam: Value) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut ipam = ipam;
        ipam["dataDir"] = root.path().join("networks").to_str().unwrap().into();
        Self { root, ipam }
    }

    fn single(subnet: &str) -> Self {
        Self::new(json!({"subnet": subnet}))
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("networks/net")
    }

    fn request(&self, extra: &Value) -> Request {
        let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "bridge", "ipam": self.ipam});
        conf.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let conf = cni::Conf::from_slice(conf.to_string().as_bytes()).unwrap();
        Request { command: Command::Add, conf, path: vec![] }
    }

    fn add(&self, id: &str, ip: &str) -> Result<Vec<String>, cni::Error> {
        let mut target = target(id);
        target.args = Args::parse(&format!("IP={ip}")).unwrap();
        let result = add(&self.request(&json!({})), &target, BOOT)?;
        Ok(result.ips.iter().map(|ip| ip.address.ip().to_string()).collect())
    }

    /// DEL with a previous result of these addresses; without a previous result where there are none.
    fn del(&self, id: &str, previous: &[&str]) {
        let extra = if previous.is_empty() { json!({}) } else { previous_result(previous) };
        del(&self.request(&extra), &target(id)).unwrap();
    }

    /// The names in the folder, links of owners included.
    fn names(&self) -> BTreeSet<String> {
        let list = |folder: &Path| -> Vec<String> {
            let Ok(entries) = fs::read_dir(folder) else { return vec![] };
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        let owners = list(&self.folder().join(".owners"));
        list(&self.folder())
            .into_iter()
            .chain(owners.into_iter().map(|name| format!(".owners/{name}")))
            .collect()
    }

    fn leases(&self) -> Vec<String> {
        self.names().into_iter().filter(|name| name.parse::<IpAddr>().is_ok()).collect()
    }

    fn put(&self, name: &str, content: &str) {
        fs::create_dir_all(self.folder()).unwrap();
        fs::write(self.folder().join(name), content).unwrap();
    }

    /// Only the files of the network itself are left.
    fn assert_empty(&self) {
        let left: Vec<String> =
            self.names().into_iter().filter(|name| !name.starts_with("last_reserved_ip.")).collect();
        assert_eq!(left, [".owners", "boot_id", "lock"]);
    }
}

fn previous_result(addresses: &[&str]) -> Value {
    let ips: Vec<Value> = addresses.iter().map(|address| json!({"address": address})).collect();
    json!({"prevResult": {"cniVersion": "1.1.0", "ips": ips}})
}

fn target(id: &str) -> Target {
    Target {
        attachment: Attachment {
            network: NetworkName::new("net").unwrap(),
            container_id: ContainerId::new(id).unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        },
        netns: None,
        args: Args::default(),
        raw_args: String::new(),
    }
}
