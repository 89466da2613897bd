//! link-env alone, and the hosts files that it makes.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use sandbox::{Answer, Call, Namespaced};
use serde_json::{Value, json};

use crate::shared::programs::LINK_ENV;

/// link-env as a runtime calls it, after a plugin that gave the container an address.
pub(super) struct Pods {
    pub(super) netns: Namespaced,
    network: String,
    keys: Value,
}

impl Pods {
    pub(super) fn new(keys: Value) -> Self {
        Self::on("pods", keys)
    }

    pub(super) fn on(network: &str, keys: Value) -> Self {
        // Several may exist at once.
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self { netns: Namespaced::new(&format!("pods{number}")), network: network.to_owned(), keys }
    }

    pub(super) fn conf(&self, address: &str, runtime: &Value) -> Value {
        let mut conf = json!({
            "cniVersion": "1.1.0", "name": self.network, "type": "link-env", "netnsDir": "",
            "runtimeConfig": runtime,
            "prevResult": {"cniVersion": "1.1.0", "ips": [{"interface": 0, "address": format!("{address}/16")}],
                "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": self.netns.path()}]},
        });
        conf.as_object_mut().unwrap().extend(self.keys.as_object().unwrap().clone());
        conf
    }

    pub(super) fn call(&self, verb: &str, id: &str, address: &str, runtime: &Value) -> Answer {
        Call::new(LINK_ENV, verb, &self.conf(address, runtime)).of(id, &self.netns, "eth0").run()
    }

    pub(super) fn annotated(&self, id: &str, address: &str, annotations: &[(&str, &str)]) -> Answer {
        let annotations: serde_json::Map<String, Value> =
            annotations.iter().map(|(key, text)| (format!("link-env.cni/{key}"), (*text).into())).collect();
        self.call("ADD", id, address, &json!({"io.kubernetes.cri.pod-annotations": annotations}))
    }

    pub(super) fn add(&self, id: &str, address: &str) {
        let _ = self.call("ADD", id, address, &json!({})).result();
    }

    pub(super) fn check(&self, id: &str, address: &str) {
        self.call("CHECK", id, address, &json!({})).silent();
    }

    pub(super) fn del(&self, id: &str) {
        self.call("DEL", id, "10.1.0.1", &json!({})).silent();
    }
}

pub(super) fn hosts_file(id: &str) -> PathBuf {
    format!("/run/cleat/containers/{id}/hosts").into()
}

pub(super) fn hosts(id: &str) -> String {
    fs::read_to_string(hosts_file(id)).unwrap()
}

/// Whether a container's file has a line for another one, with its name both with and without the network's.
pub(super) fn sees(id: &str, name: &str) -> bool {
    let names = format!("\t{name}.pods {name}");
    hosts(id).lines().any(|line| !line.starts_with('#') && line.contains(&names))
}
