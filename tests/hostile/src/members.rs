//! The annotations of a pod, as input of the whole plugin link-env with a new state folder.

use std::fs;
use std::path::{Path, PathBuf};

use link_env::LinkEnv;
use registry::Registry;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::contract::{Environment, answer};

/// The size that the state folder may not reach, in bytes: more than three pods and one at all its limits take.
const MOST: u64 = 4 << 20;

/// A pod with annotations for link-env.
pub(crate) struct Pod<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) annotations: &'a [(&'a str, &'a str)],
}

/// A pod that others link to.
pub(crate) const DB: Pod<'_> =
    Pod { id: "c2", name: "db", annotations: &[("expose", "5432,53/udp"), ("env", "PG=9\nA=b c")] };

/// A state folder, which is removed on drop.
pub(crate) struct State {
    path: PathBuf,
    _place: TempDir,
    keys: Value,
}

impl State {
    pub(crate) fn new() -> Self {
        Self::with(json!({}))
    }

    /// With more keys in the configuration.
    pub(crate) fn with(keys: Value) -> Self {
        let place = tempfile::tempdir().unwrap();
        Self { path: place.path().join("state"), _place: place, keys }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn conf(&self, id: &str, annotations: &[(&str, &str)]) -> String {
        // For example, c2 has 10.1.0.2.
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

    /// The result of an ADD, or `None` if the pod is refused.
    pub(crate) fn add(&self, pod: &Pod<'_>) -> Option<Value> {
        answer::<LinkEnv>(
            &environment(pod.id, pod.name, "ADD"),
            self.conf(pod.id, pod.annotations).as_bytes(),
        )
    }

    pub(crate) fn del(&self, id: &str) {
        let gone = answer::<LinkEnv>(&environment(id, "x", "DEL"), self.conf(id, &[]).as_bytes());
        assert!(gone.is_some(), "DEL of {id} fails");
    }

    /// Asserts that the state can be read, and that its size is bounded.
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

/// ADD of a pod with any annotations. The first byte chooses keys of the configuration; the rest are the names and values of
/// the annotations, separated by zero bytes. The pod may be added or refused. Other pods are added and removed as always, and
/// nothing is left after the last DEL.
pub fn link_env_calls(bytes: &[u8]) {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let names = if choice & 1 == 0 { "network" } else { "links" };
    let state = State::with(json!({"names": names, "waitForLinks": choice & 2 != 0}));
    let text = String::from_utf8_lossy(bytes);
    let words: Vec<&str> = text.split('\0').take(100).collect();
    let annotations: Vec<(&str, &str)> = words.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    state.add(&DB).expect("an ordinary pod is added");
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
        assert!(checked.is_some(), "a CHECK after a successful ADD fails");
    }
    for id in ["c2", "c1", "c9", "c1"] {
        state.del(id);
        state.assert_bounded();
    }
    assert!(!state.path.exists(), "nothing is left");
}
