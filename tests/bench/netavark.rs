//! netavark, podman's network tool: one program that does the work of bridge and portmap. Its times are without IPAM,
//! because podman leases the addresses and passes them in. It has no CHECK.

use std::process::Command;
use std::time::{Duration, Instant};

use sandbox::Namespaced;
use serde_json::{Value, json};

use crate::suites::{NAMESPACE_MAX, PATH, Times, quiet};

/// Where Debian's package installs it.
pub(crate) const NETAVARK: &str = "/usr/lib/podman/netavark";

/// A host whose containers netavark attaches.
#[derive(Debug)]
pub(crate) struct Netavark {
    name: String,
    netns: Namespaced,
    /// The namespaces of the containers that exist throughout.
    crowd: Vec<Namespaced>,
    /// How many there are.
    count: usize,
}

impl Netavark {
    /// A host without containers.
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("{name}-netavark");
        Self { netns: Namespaced::new(&name), name, crowd: Vec::new(), count: 0 }
    }

    /// Sets containers up until there are as many as asked for.
    pub(crate) fn fill(&mut self, count: usize) {
        for number in self.count..count {
            if number % NAMESPACE_MAX == 0 {
                self.crowd.push(quiet(&format!("{}-{number}", self.name)));
            }
            self.call("setup", number, number % NAMESPACE_MAX, self.crowd.last().unwrap());
        }
        self.count = count;
    }

    /// One container's life: setup is counted as the first step, teardown as the last.
    pub(crate) fn round(&self, number: usize) -> Times {
        let netns = Namespaced::new(&format!("{}-c{number}", self.name));
        let mut times = Times::default();
        times[0] = self.call("setup", number, 0, &netns);
        times[5] = self.call("teardown", number, 0, &netns);
        times
    }

    /// The arguments and the environment of a call for a container.
    pub(crate) fn command(&self, verb: &str, netns: &Namespaced) -> (Vec<String>, Vec<(String, String)>) {
        let config = format!("/run/{}", self.name);
        let args = ["--config", &config, verb, &netns.path().display().to_string()].map(str::to_owned);
        (args.to_vec(), vec![("PATH".to_owned(), PATH.to_owned())])
    }

    /// What podman writes to its standard input for a container. `interface` numbers the interfaces of a namespace.
    pub(crate) fn options(&self, number: usize, interface: usize) -> Value {
        let id = format!("{number:064x}");
        let address = format!("10.0.{}.{}", (number + 2) / 256, (number + 2) % 256);
        json!({
            "container_id": id, "container_name": format!("c{number}"),
            "networks": {&self.name: {"static_ips": [address], "interface_name": format!("eth{interface}")}},
            "network_info": {&self.name: {
                "name": self.name, "id": "0".repeat(64), "driver": "bridge", "network_interface": "br0",
                "subnets": [{"subnet": "10.0.0.0/16", "gateway": "10.0.0.1"}],
                "ipv6_enabled": false, "internal": false, "dns_enabled": false, "ipam_options": {"driver": "host-local"},
                // The default routes of one namespace must differ in something.
                "options": {"metric": (interface + 1).to_string()}
            }},
            "port_mappings": [{"host_ip": "", "host_port": 10_000 + number, "container_port": 80, "range": 1,
                "protocol": "tcp"}]
        })
    }

    /// Runs a function on this host.
    pub(crate) fn enter<T: Send>(&self, function: impl FnOnce() -> T + Send) -> T {
        self.netns.enter(function)
    }

    fn call(&self, verb: &str, number: usize, interface: usize, netns: &Namespaced) -> Duration {
        let (args, env) = self.command(verb, netns);
        let options = self.options(number, interface).to_string();
        let (output, took) = self.netns.enter(|| {
            let start = Instant::now();
            let mut command = Command::new(NETAVARK);
            command.args(args).env_clear().envs(env);
            (sandbox::run(&mut command, options.as_bytes()), start.elapsed())
        });
        assert!(output.status.success(), "netavark {verb}: {output:?}");
        took
    }
}

/// What `netavark --version` prints.
pub(crate) fn version() -> String {
    let output = Command::new(NETAVARK).arg("--version").output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
