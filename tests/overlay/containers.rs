//! Containers by real calls of the plugins.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Answer, Call, Namespaced};
use serde_json::{Value, json};

use crate::cluster::{Families, NET, at};
use crate::host::Host;
use crate::ping::{Ping, echo};
use crate::programs::program;

/// A container on a host. It serves TCP on port 80, which is published, and sends datagrams to port 7 back.
pub(crate) struct Container {
    pub(crate) host: Arc<Host>,
    pub(crate) netns: Namespaced,
    conf: [Value; 2],
    pub(crate) result: Value,
    /// The port of the host that is its own.
    pub(crate) published: u16,
}

/// The configuration of the bridge plugin.
pub(crate) fn bridge(families: Families) -> Value {
    let all = ["0.0.0.0/0", "::/0"];
    let routes: Vec<Value> = families.iter().map(|family| json!({"dst": all[*family]})).collect();
    json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0", "overlay": NET,
        "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": {"type": "host-local", "routes": routes}
    })
}

/// A call of a plugin on a host.
fn call(host: &Host, verb: &str, conf: &Value, netns: &Namespaced) -> Answer {
    call_by(&[], host, verb, conf, netns)
}

/// The same by a command that ends with the program.
fn call_by(by: &[&str], host: &Host, verb: &str, conf: &Value, netns: &Namespaced) -> Answer {
    let words = host.words();
    let call = Call::new(&program(conf["type"].as_str().unwrap()), verb, conf);
    let call = call.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").by(by.iter().copied());
    let call = call.by(words.iter().map(String::as_str));
    host.netns.enter(|| call.of(netns.name(), netns, "eth0").run())
}

/// The sockets that a container's coming and going opens, by strace(1).
pub(crate) fn sockets(host: &Host, families: Families) -> String {
    const FILE: &str = "/run/trace";
    let (netns, mut conf) = (Namespaced::new("traced"), bridge(families));
    let strace = ["strace", "-f", "-A", "-e", "trace=socket,connect", "-o", FILE, "--"];
    for verb in ["ADD", "CHECK", "DEL"] {
        let answer = call_by(&strace, host, verb, &conf, &netns);
        if verb == "ADD" {
            conf["prevResult"] = answer.result();
        } else {
            answer.silent();
        }
    }
    std::fs::read_to_string(FILE).unwrap()
}

/// The error of an ADD.
pub(crate) fn refused(host: &Host, families: Families) -> (u64, String) {
    let netns = Namespaced::new("refused");
    call(host, "ADD", &bridge(families), &netns).error()
}

impl Container {
    pub(crate) fn add(host: &Arc<Host>, families: Families, name: &str) -> Self {
        let (netns, published) = (Namespaced::new(name), host.next.fetch_add(1, Ordering::Relaxed));
        let mut conf = [
            bridge(families),
            json!({"cniVersion": "1.1.0", "name": "net", "type": "host-port",
                "runtimeConfig": {"portMappings": [{"hostPort": published, "containerPort": 80}]}}),
        ];
        // host-local is found by the bridge, and is not old either.
        program("host-local");
        let mut result = Value::Null;
        for place in 0..conf.len() {
            let answer = call(host, "ADD", &conf[place], &netns).result();
            if place == 0 {
                result = answer;
            }
            for conf in &mut conf {
                conf["prevResult"] = result.clone();
            }
        }
        serve_tcp(Some(&netns), name, "[::]:80");
        echo(&netns, 7);
        Self { host: Arc::clone(host), netns, conf, result, published }
    }

    /// Its addresses.
    pub(crate) fn ips(&self) -> Vec<String> {
        let ips = self.result["ips"].as_array().unwrap().iter();
        ips.map(|ip| ip["address"].as_str().unwrap().split('/').next().unwrap().to_owned()).collect()
    }

    /// `address:port` of each family.
    pub(crate) fn at(&self, port: u16) -> Vec<String> {
        self.ips().iter().map(|ip| at(ip, port)).collect()
    }

    /// Fails unless it reaches another container, which sees its own address.
    pub(crate) fn reaches(&self, other: &Container) {
        for (own, to) in self.ips().iter().zip(other.at(80)) {
            let seen = ask_tcp(Some(&self.netns), &to).unwrap_or_else(|error| {
                panic!("{} to {to}: {error}\n{}", self.netns.name(), self.host.log())
            });
            assert_eq!(seen, format!("{} sees {own}", other.netns.name()), "to {to}");
        }
    }

    /// Sends packets to another one, of the first family, until the answer is dropped.
    pub(crate) fn pings(&self, other: &Container) -> Ping {
        Ping::start(&self.netns, &other.at(7)[0])
    }

    pub(crate) fn check(&self) {
        call(&self.host, "CHECK", &self.conf[0], &self.netns).silent();
    }

    pub(crate) fn del(&self) {
        for conf in self.conf.iter().rev() {
            call(&self.host, "DEL", conf, &self.netns).silent();
        }
    }
}
