//! What a pod says by its annotations, to the whole of link-env over a state folder of its own.

use std::fs;
use std::path::{Path, PathBuf};

use link_env::LinkEnv;
use registry::Registry;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::contract::{Environment, answer};

/// More than three pods and one at its bounds take, in bytes.
const MOST: u64 = 4 << 20;

/// A pod with annotations of link-env's.
pub(crate) struct Pod<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) annotations: &'a [(&'a str, &'a str)],
}

/// One that others may link to.
pub(crate) const DB: Pod<'_> =
    Pod { id: "c2", name: "db", annotations: &[("expose", "5432,53/udp"), ("env", "PG=9\nA=b c")] };

/// A state folder that goes when this is dropped.
pub(crate) struct State {
    path: PathBuf,
    _place: TempDir,
    keys: Value,
}

impl State {
    pub(crate) fn new() -> Self {
        Self::with(json!({}))
    }

    /// With further keys of the configuration.
    pub(crate) fn with(keys: Value) -> Self {
        let place = tempfile::tempdir().unwrap();
        Self { path: place.path().join("state"), _place: place, keys }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn conf(&self, id: &str, annotations: &[(&str, &str)]) -> String {
        // c2 has 10.1.0.2.
        let address = format!("10.1.0.{}/16", id.trim_start_matches('c'));
        let annotations: serde_json::Map<String, Value> = annotations
            .iter()
            .map(|(name, value)| (format!("link-env.cni/{name}"), Value::from(*value)))
            .collect();
        let mut conf = json!({
            "cniVersion": "1.0.0", "name": "pods", "type": "link-env", "netnsDir": "",
            "prevResult": {
                "cniVersion": "1.0.0",
                "interfaces": [{"name": "eth0", "sandbox": "/proc/self/ns/net"}],
                "ips": [{"address": address, "interface": 0}],
            },
            "capabilities": {"io.kubernetes.cri.pod-annotations": true},
            "runtimeConfig": {"io.kubernetes.cri.pod-annotations": annotations},
            "stateDir": self.path,
        });
        let keys = self.keys.as_object().cloned().unwrap_or_default();
        conf.as_object_mut().unwrap().extend(keys);
        conf.to_string()
    }

    /// `None` where it is refused.
    pub(crate) fn add(&self, pod: &Pod<'_>) -> Option<Value> {
        answer::<LinkEnv>(
            &environment(pod.id, pod.name, "ADD"),
            self.conf(pod.id, pod.annotations).as_bytes(),
        )
    }

    pub(crate) fn del(&self, id: &str) {
        let gone = answer::<LinkEnv>(&environment(id, "x", "DEL"), self.conf(id, &[]).as_bytes());
        assert!(gone.is_some(), "DEL of {id} succeeds");
    }

    /// What is written can be read, and is not much.
    pub(crate) fn assert_bounded(&self) {
        Registry::at(&self.path).networks().expect("what was written can be read");
        let size = size(&self.path);
        assert!(size < MOST, "{size} bytes");
    }
}

pub(crate) fn environment(id: &str, name: &str, verb: &str) -> Environment {
    let args =
        format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={name};K8S_POD_INFRA_CONTAINER_ID={id}");
    Environment::of(id, verb).with("CNI_ARGS", args)
}

fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// ADD of a pod whose annotations the bytes are, names and values with a zero behind each; the first byte chooses keys of the
/// configuration. It is refused or added; others come and go beside it, and nothing is left when all have gone.
pub fn link_env_calls(bytes: &[u8]) {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let names = if choice & 1 == 0 { "network" } else { "links" };
    let state = State::with(json!({"names": names, "waitForLinks": choice & 2 != 0}));
    let text = String::from_utf8_lossy(bytes);
    let words: Vec<&str> = text.split('\0').take(100).collect();
    let annotations: Vec<(&str, &str)> = words.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    state.add(&DB).expect("a pod like any other is added");
    let is_added = state.add(&Pod { id: "c1", name: "web", annotations: &annotations }).is_some();
    state.assert_bounded();
    let member = || {
        let network = Registry::at(&state.path).network("pods").unwrap();
        network.is_some_and(|network| network.members_of("c1").next().is_some())
    };
    assert_eq!(member(), is_added, "a pod that was refused is no member");
    let other = Pod { id: "c9", name: "other", annotations: &[("links", "db")] };
    state.add(&other).expect("another pod is added");
    if is_added {
        let conf = state.conf("c1", &annotations);
        let checked = answer::<LinkEnv>(&environment("c1", "web", "CHECK"), conf.as_bytes());
        assert!(checked.is_some(), "what was added is as it was added");
    }
    for id in ["c2", "c1", "c9", "c1"] {
        state.del(id);
        state.assert_bounded();
    }
    assert!(!state.path.exists(), "nothing is left");
}
