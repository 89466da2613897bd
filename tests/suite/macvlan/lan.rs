//! Containers on the network of the sandbox's uplink, where the outside host is.

use std::thread;

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Answer, Call, Namespaced};
use serde_json::{Value, json};

use crate::shared::programs::MACVLAN;

/// A network on the uplink: addresses of the uplink's own subnets.
pub(super) fn conf(keys: &Value) -> Value {
    let mut conf = json!({
        "cniVersion": "1.1.0", "name": "lan", "type": "macvlan", "master": "uplink",
        "ipam": {
            "type": "host-local",
            "ranges": [
                [{"subnet": "192.0.2.0/24", "rangeStart": "192.0.2.64", "gateway": "192.0.2.2"}],
                [{"subnet": "2001:db8::/64", "rangeStart": "2001:db8::64", "gateway": "2001:db8::2"}]
            ],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
        }
    });
    for (key, value) in keys.as_object().unwrap() {
        if value.is_null() {
            conf.as_object_mut().unwrap().remove(key);
        } else {
            conf[key] = value.clone();
        }
    }
    conf
}

pub(super) fn call(verb: &str, conf: &Value, netns: &Namespaced) -> Call {
    Call::new(MACVLAN, verb, conf).of(netns.name(), netns, "eth0")
}

/// How many of some servers are reached from a place. They are asked at the same time, as each may take its time to stay silent.
pub(super) fn reached<S: AsRef<str> + Sync>(place: Option<&Namespaced>, servers: &[S]) -> usize {
    thread::scope(|scope| {
        let ask = |server: &S| ask_tcp(place, server.as_ref()).is_ok();
        let asked: Vec<_> = servers.iter().map(|server| scope.spawn(move || ask(server))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).filter(|is| *is).count()
    })
}

/// A container with a server on port 80.
pub(super) struct Container {
    pub(super) netns: Namespaced,
    pub(super) conf: Value,
    pub(super) result: Value,
}

impl Container {
    pub(super) fn start(name: &str, conf: Value) -> Self {
        let netns = Namespaced::new(name);
        let result = call("ADD", &conf, &netns).run().result();
        serve_tcp(Some(&netns), name, "[::]:80");
        let container = Self { netns, conf, result };
        container.check().silent();
        container
    }

    /// A call with the result of ADD.
    pub(super) fn call(&self, verb: &str) -> Call {
        let mut conf = self.conf.clone();
        conf["prevResult"] = self.result.clone();
        call(verb, &conf, &self.netns)
    }

    pub(super) fn check(&self) -> Answer {
        self.call("CHECK").run()
    }

    /// The addresses of its server, of both families.
    pub(super) fn servers(&self) -> Vec<String> {
        let ips = self.result["ips"].as_array().unwrap();
        let address = |ip: &Value| ip["address"].as_str().unwrap().split('/').next().unwrap().to_owned();
        let server = |address: String| {
            if address.contains(':') { format!("[{address}]:80") } else { format!("{address}:80") }
        };
        ips.iter().map(address).map(server).collect()
    }

    /// Whether it is reached from a place, by all of its addresses or by none.
    pub(super) fn is_reached_from(&self, place: Option<&Namespaced>) -> bool {
        let servers = self.servers();
        let reached = reached(place, &servers);
        assert!([0, servers.len()].contains(&reached), "{reached} of {servers:?}");
        reached > 0
    }

    pub(super) fn stop(self) {
        self.call("DEL").run().silent();
        call("DEL", &self.conf, &self.netns).run().silent();
    }
}
