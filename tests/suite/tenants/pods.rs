//! Pods as a container runtime of Kubernetes adds them, and the files that they get.

use std::collections::BTreeMap;
use std::fs;

use sandbox::{Answer, Call, Namespaced};
use serde_json::{Value, json};

use crate::shared::programs::{BRIDGE, LINK_ENV};

pub(super) const ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";

/// A network of link-env alone, after a plugin that gave each pod an address.
pub(super) struct Pods {
    name: &'static str,
    /// Keys of the configuration.
    keys: Value,
    netns: Namespaced,
}

impl Pods {
    pub(super) fn new(name: &'static str, keys: Value) -> Self {
        Self { name, keys, netns: Namespaced::new(&format!("of-{name}")) }
    }

    pub(super) fn call(
        &self,
        command: &str,
        id: &str,
        address: &str,
        args: &str,
        annotations: &[(&str, &str)],
    ) -> Call {
        let netns = self.netns.path();
        let mut conf = json!({
            "cniVersion": "1.0.0", "name": self.name, "type": "link-env", "netnsDir": "",
            "prevResult": {"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": netns}],
                "ips": [{"address": format!("{address}/16"), "interface": 0}]},
            "runtimeConfig": {ANNOTATIONS: annotated(annotations)},
        });
        conf.as_object_mut().unwrap().extend(self.keys.as_object().unwrap().clone());
        Call::new(LINK_ENV, command, &conf).of(id, &self.netns, "eth0").env("CNI_ARGS", args)
    }

    /// Adds a pod `namespace/name`, whose container has the name and the namespace as its ID.
    pub(super) fn pod(&self, pod: &str, address: &str, annotations: &[(&str, &str)]) -> Answer {
        self.call("ADD", &id_of(pod), address, &args_of(pod), annotations).run()
    }

    /// Adds a pod; ADD must succeed.
    pub(super) fn add(&self, pod: &str, address: &str, annotations: &[(&str, &str)]) {
        let _ = self.pod(pod, address, annotations).result();
    }

    /// Adds a container of a runtime that passes no namespace.
    pub(super) fn root(&self, id: &str, address: &str, args: &str) -> Answer {
        self.call("ADD", id, address, args, &[]).run()
    }

    /// DEL with the least that a runtime may pass: without arguments, result and namespace; twice.
    pub(super) fn del(&self, id: &str) {
        let conf = json!({"cniVersion": "1.0.0", "name": self.name, "type": "link-env", "netnsDir": ""});
        for _ in 0..2 {
            Call::new(LINK_ENV, "DEL", &conf).of(id, &self.netns, "eth0").env("CNI_NETNS", "").run().silent();
        }
    }

    pub(super) fn check(&self, id: &str, address: &str) {
        self.call("CHECK", id, address, "", &[]).run().silent();
    }
}

fn annotated(annotations: &[(&str, &str)]) -> Value {
    annotations.iter().map(|(key, text)| (format!("link-env.cni/{key}"), json!(text))).collect()
}

pub(super) fn id_of(pod: &str) -> String {
    let (namespace, name) = pod.split_once('/').unwrap();
    format!("{name}-of-{namespace}").replace('.', "-")
}

pub(super) fn args_of(pod: &str) -> String {
    let (namespace, name) = pod.split_once('/').unwrap();
    format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_INFRA_CONTAINER_ID=x")
}

/// The names that a container's hosts file has for each address, in their order.
pub(super) fn hosts(id: &str) -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(format!("/run/cleat/containers/{id}/hosts")).unwrap();
    let mut hosts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace().map(str::to_owned);
        let address = words.next().unwrap();
        if address.starts_with("10.") {
            let names = hosts.entry(address).or_default();
            for word in words {
                if !names.contains(&word) {
                    names.push(word);
                }
            }
        }
    }
    hosts
}

pub(super) fn env(id: &str) -> String {
    fs::read_to_string(format!("/run/cleat/containers/{id}/env")).unwrap()
}

pub(super) fn notes(id: &str) -> String {
    fs::read_to_string(format!("/run/cleat/containers/{id}/notes")).unwrap_or_default()
}

pub(super) fn addresses(id: &str) -> Vec<String> {
    hosts(id).into_keys().collect()
}

/// A network whose bridge keeps its members apart except for links.
pub(super) struct Apart;

/// A pod on it.
pub(super) struct Attached<'a> {
    pub(super) netns: &'a Namespaced,
    pub(super) address: String,
    bridge: Value,
    link_env: Value,
    args: String,
}

impl Apart {
    pub(super) fn add<'a>(netns: &'a Namespaced, pod: &str, annotations: &[(&str, &str)]) -> Attached<'a> {
        let bridge = json!({
            "cniVersion": "1.0.0", "name": "apart", "type": "bridge", "bridge": "br-apart", "isGateway": true,
            "icc": false, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.7.0.0/24"}]]},
        });
        let mut attached = Attached {
            netns,
            address: String::new(),
            bridge,
            link_env: json!({"cniVersion": "1.0.0", "name": "apart", "type": "link-env", "netnsDir": "",
                "names": "links", "waitForLinks": true}),
            args: args_of(pod),
        };
        let result = attached.call(BRIDGE, "ADD").run().result();
        let address = result["ips"][0]["address"].as_str().unwrap();
        address.split('/').next().unwrap().clone_into(&mut attached.address);
        attached.bridge["prevResult"] = result.clone();
        attached.link_env["prevResult"] = result;
        attached.says(annotations);
        attached
    }
}

impl Attached<'_> {
    pub(super) fn call(&self, program: &str, command: &str) -> Call {
        let conf = if program == BRIDGE { &self.bridge } else { &self.link_env };
        Call::new(program, command, conf)
            .of(self.netns.name(), self.netns, "eth0")
            .env("CNI_ARGS", &self.args)
    }

    /// Calls link-env's ADD with these annotations, for the first time or again.
    pub(super) fn says(&mut self, annotations: &[(&str, &str)]) {
        self.link_env["runtimeConfig"] = json!({ANNOTATIONS: annotated(annotations)});
        let _ = self.call(LINK_ENV, "ADD").run().result();
    }
}
