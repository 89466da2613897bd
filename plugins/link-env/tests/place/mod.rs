//! A place of its own for a test: a state folder, namespaces that are plain files, and the plugin called as a runtime
//! calls it. Nothing of the kernel is needed.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cni::Boundary;
use link_env::LinkEnv;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) struct Place {
    folder: TempDir,
    /// Keys of the plugin's configuration.
    pub(crate) conf: Value,
}

/// What a call answered: its document, and whether it succeeded.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) ok: bool,
    pub(crate) document: Value,
}

impl Answer {
    /// The message and details of a failure, after its code.
    pub(crate) fn error(&self) -> (u64, String) {
        assert!(!self.ok, "{self:?}");
        let text = |key: &str| self.document[key].as_str().unwrap_or_default().to_owned();
        (self.document["code"].as_u64().unwrap(), format!("{} ({})", text("msg"), text("details")))
    }
}

impl Place {
    pub(crate) fn new(conf: Value) -> Self {
        // A tmpfs, as /run is.
        Self { folder: tempfile::tempdir_in("/dev/shm").unwrap(), conf }
    }

    /// Calls for one network at this place.
    pub(crate) fn on<'a>(&'a self, network: &str) -> View<'a> {
        View { place: self, network: network.to_owned(), args: String::new() }
    }

    pub(crate) fn shop(&self) -> View<'_> {
        self.on("shop")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self, container: &str, name: &str) -> PathBuf {
        self.state().join("containers").join(container).join(name)
    }

    pub(crate) fn netns(&self, container: &str) -> PathBuf {
        self.folder.path().join(format!("netns-{container}"))
    }

    /// A container's hosts lines without those that every file has, and without comments.
    pub(crate) fn hosts(&self, container: &str) -> Vec<String> {
        let text = fs::read_to_string(self.file(container, "hosts")).unwrap();
        let lines = text.lines().map(|line| line.replace('\t', " ").trim_end().to_owned());
        let is_own =
            |line: &String| !line.starts_with('#') && !line.contains("localhost") && !line.contains(" ip6-");
        lines.filter(is_own).collect()
    }

    pub(crate) fn env(&self, container: &str) -> BTreeMap<String, String> {
        serde_json::from_slice(&fs::read(self.file(container, "env.json")).unwrap()).unwrap()
    }

    pub(crate) fn assert_nothing_is_left(&self) {
        assert!(!self.state().exists(), "{:?}", fs::read_dir(self.state()).map(Iterator::count));
    }
}

/// One network at a place.
pub(crate) struct View<'a> {
    place: &'a Place,
    network: String,
    args: String,
}

impl View<'_> {
    /// The same with `CNI_ARGS`.
    pub(crate) fn with_args(self, args: &str) -> Self {
        let args = args.to_owned();
        Self { args, ..self }
    }

    /// Adds a container with an endpoint in `args.cni`; the ADD must succeed.
    pub(crate) fn add(&self, container: &str, addresses: &[&str], endpoint: &Value) {
        let answer = self.try_add(container, addresses, endpoint);
        assert!(answer.ok, "{answer:?}");
    }

    /// Makes the file that takes the place of a container's network namespace.
    pub(crate) fn prepare(&self, container: &str) {
        fs::write(self.place.netns(container), "").unwrap();
    }

    pub(crate) fn try_add(&self, container: &str, addresses: &[&str], endpoint: &Value) -> Answer {
        self.prepare(container);
        self.call("ADD", container, &self.attached(container, addresses, endpoint))
    }

    pub(crate) fn check(&self, container: &str, addresses: &[&str]) -> Answer {
        self.call("CHECK", container, &self.attached(container, addresses, &json!({})))
    }

    /// Removes a container in the worst case that runtimes cause: without a namespace and without a previous result.
    pub(crate) fn del(&self, container: &str) {
        let _ = fs::remove_file(self.place.netns(container));
        let answer = self.call("DEL", container, &json!({}));
        assert!(answer.ok, "{answer:?}");
    }

    fn attached(&self, container: &str, addresses: &[&str], endpoint: &Value) -> Value {
        let sandbox = self.place.netns(container);
        let ips: Vec<Value> =
            addresses.iter().map(|address| json!({"interface": 0, "address": address})).collect();
        json!({
            "args": {"cni": {"link-env": endpoint}},
            "prevResult": {"cniVersion": "1.1.0", "ips": ips,
                "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": sandbox}]},
        })
    }

    /// Calls the plugin with these keys, the network's and the place's.
    pub(crate) fn call(&self, command: &str, container: &str, keys: &Value) -> Answer {
        let mut conf = json!({
            "cniVersion": "1.1.0", "name": self.network, "type": "link-env",
            "stateDir": self.place.state(),
        });
        for more in [&self.place.conf, keys] {
            conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        }
        let netns = self.place.netns(container);
        let env = |name: &str| {
            let value = match name {
                "CNI_COMMAND" => command,
                "CNI_CONTAINERID" => container,
                "CNI_IFNAME" => "eth0",
                "CNI_ARGS" => &self.args,
                "CNI_NETNS" => netns.to_str().unwrap(),
                _ => return None,
            };
            Some(Ok(value.to_owned()))
        };
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let code = cni::dispatch::<LinkEnv>(&mut Boundary {
            env: &env,
            stdin: &mut conf.to_string().as_bytes(),
            stdout: &mut stdout,
            stderr: &mut stderr,
        });
        Answer {
            ok: code == ExitCode::SUCCESS,
            document: serde_json::from_slice(&stdout).unwrap_or(Value::Null),
        }
    }
}
