//! Three hosts on one wire, etcd on a fourth, and a host outside.

use std::sync::Arc;

use sandbox::etcd::Server;
use sandbox::traffic::serve_tcp;
use sandbox::{Namespaced, plug, wire};
use serde_json::{Value, json};

use crate::containers::Container;
use crate::host::{Host, until};
use crate::ping::reaches;

/// The name of the network.
pub(crate) const NET: &str = "wide";
/// The address of the host outside, by family.
pub(crate) const OUTSIDE: [&str; 2] = ["198.51.100.9", "2001:db8:51::9"];
/// The network's prefixes, by family.
pub(crate) const PREFIXES: [&str; 2] = ["10.201.0.0/16", "fd00:201::/48"];
/// The engine's address.
pub(crate) const ENGINE: &str = "198.51.100.10";

/// Which families there are inside, by their place in [`PREFIXES`].
pub(crate) type Families = &'static [usize];
pub(crate) const V4: Families = &[0];
pub(crate) const V6: Families = &[1];
pub(crate) const BOTH: Families = &[0, 1];

/// The hosts, and the network.
pub(crate) struct Cluster {
    pub(crate) hosts: [Arc<Host>; 3],
    pub(crate) engine: Server,
    pub(crate) engine_host: Namespaced,
    pub(crate) outside: Namespaced,
    /// The network's record.
    pub(crate) network: Value,
    pub(crate) families: Families,
}

impl Cluster {
    /// Hosts without agents, an engine, and no network.
    pub(crate) fn bare() -> Self {
        wire();
        let (outside, engine_host) = (Namespaced::new("outside"), Namespaced::new("engine"));
        plug(&outside, 9);
        plug(&engine_host, 10);
        serve_tcp(Some(&outside), "outside", "[::]:80");
        let engine = Server::start_in(&engine_host, ENGINE, &[]);
        let hosts = [1, 2, 3].map(|number| Arc::new(Host::new(number)));
        Self { hosts, engine, engine_host, outside, network: Value::Null, families: V4 }
    }

    /// The same with a network, whose agents are still to be started.
    pub(crate) fn created(families: Families) -> Self {
        Self::created_with(families, &json!({}))
    }

    /// The same with a network that has more than its prefixes, or others.
    pub(crate) fn created_with(families: Families, more: &Value) -> Self {
        let mut cluster = Self { families, ..Self::bare() };
        cluster.create(more);
        cluster
    }

    /// All hosts are in the network, and know each other.
    pub(crate) fn new(families: Families) -> Self {
        Self::new_with(families, &json!({}))
    }

    /// The same of a network that has more than its prefixes, or others.
    pub(crate) fn new_with(families: Families, more: &Value) -> Self {
        let cluster = Self::created_with(families, more);
        for host in &cluster.hosts {
            host.configure(&cluster.conf());
            host.start();
        }
        for host in &cluster.hosts {
            host.is("watching");
            host.has_peers(2);
        }
        cluster
    }

    /// Starts the agents of the first two hosts; the third is still to join.
    pub(crate) fn start_two(&self) {
        for host in &self.hosts[..2] {
            host.configure(&self.conf());
            host.start();
            host.is("watching");
        }
    }

    /// Creates the network, with more than its prefixes.
    pub(crate) fn create(&mut self, more: &Value) {
        let prefixes: Vec<&str> = self.families.iter().map(|family| PREFIXES[*family]).collect();
        let mut wanted = json!({"conf": self.conf(), "prefixes": prefixes});
        merge(&mut wanted, more);
        let created = self.hosts[0].overlay(&["create", NET], &wanted.to_string());
        self.network = serde_json::from_str(&created).unwrap();
    }

    /// The configuration of every host's agent.
    pub(crate) fn conf(&self) -> Value {
        let mut conf = json!({"engine": {"type": "etcd", "endpoints": [self.engine.url()]}});
        if let Some(id) = self.network["id"].as_str() {
            conf["id"] = id.into();
        }
        conf
    }

    /// A container on each host, of the same network, which reach each other.
    pub(crate) fn containers(&self) -> [Container; 3] {
        let names = ["one", "two", "three"];
        let containers =
            [0, 1, 2].map(|place| Container::add(&self.hosts[place], self.families, names[place]));
        for one in &containers {
            for other in &containers {
                one.reaches(other);
            }
        }
        containers
    }

    /// A value of the engine by its key below the network's.
    pub(crate) fn get(&self, key: &str) -> Option<Value> {
        let text = self.engine.etcdctl(&["get", "--print-value-only", &format!("/cleat/v1/{NET}/{key}")]);
        (!text.trim().is_empty()).then(|| serde_json::from_str(&text).unwrap())
    }

    /// The keys of the network.
    pub(crate) fn keys(&self) -> Vec<String> {
        let prefix = format!("/cleat/v1/{NET}/");
        let text = self.engine.etcdctl(&["get", "--prefix", "--keys-only", &prefix]);
        text.split_whitespace().map(|key| key[prefix.len()..].to_owned()).collect()
    }

    pub(crate) fn put(&self, key: &str, value: &Value) {
        self.engine.etcdctl(&["put", &format!("/cleat/v1/{NET}/{key}"), &value.to_string()]);
    }

    pub(crate) fn delete(&self, key: &str) {
        self.engine.etcdctl(&["del", &format!("/cleat/v1/{NET}/{key}")]);
    }

    /// The block of a host, of the first family.
    pub(crate) fn block(&self, host: usize) -> String {
        let health = self.hosts[host].health();
        health["blocks"][0].as_str().unwrap_or_else(|| panic!("{health:#}")).to_owned()
    }
}

/// Adds the keys of one object to another.
pub(crate) fn merge(into: &mut Value, more: &Value) {
    into.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
}

/// `address:port`, of either family.
pub(crate) fn at(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// Waits until a datagram gets from one container to another's address.
pub(crate) fn until_reached(from: &Container, to: &Container) -> std::time::Duration {
    until(&format!("{} reaches {}", from.netns.name(), to.netns.name()), || {
        to.at(7).iter().all(|to| reaches(&from.netns, to))
    })
}
