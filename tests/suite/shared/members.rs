//! Members of networks, as a runtime attaches them with `bridge`, `host-port` and `link-env`, and which of them reach each other.

use std::fs;
use std::process::Command;
use std::thread;

use sandbox::traffic::{ask_tcp, ask_udp, serve_tcp, serve_udp};
use sandbox::{Answer, Call, Host, Namespaced};
use serde_json::{Value, json};

use crate::shared::programs::{BRIDGE, HOST_PORT, LINK_ENV};

/// The host. Bridged packets pass the IP packet filter only on bridges that set `nf_call_iptables` themselves.
pub(crate) fn host() -> Host {
    for name in ["iptables", "ip6tables"] {
        fs::write(format!("/proc/sys/net/bridge/bridge-nf-call-{name}"), "0").unwrap();
    }
    Host::new()
}

/// A network of both families.
pub(crate) struct Network {
    pub(crate) name: &'static str,
    pub(crate) subnet: u8,
    /// Further keys of the bridge plugin.
    pub(crate) keys: Value,
}

impl Network {
    pub(crate) fn bridge(&self) -> Value {
        let subnet = self.subnet;
        let mut conf = json!({
            "cniVersion": "1.1.0", "name": self.name, "type": "bridge", "bridge": format!("br-{}", self.name),
            "isGateway": true, "ipMasq": true, "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": format!("10.{subnet}.0.0/24")}], [{"subnet": format!("fd00:{subnet}::/64")}]],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
            }
        });
        extend(&mut conf, &self.keys);
        conf
    }

    /// Attaches a container; `endpoint` is what link-env gets as `args.cni.link-env`.
    pub(crate) fn add<'a>(&self, netns: &'a Namespaced, endpoint: &Value) -> Member<'a> {
        self.publish(netns, endpoint, &json!([]))
    }

    /// Attaches a container with published ports.
    pub(crate) fn publish<'a>(&self, netns: &'a Namespaced, endpoint: &Value, ports: &Value) -> Member<'a> {
        let common =
            json!({"cniVersion": "1.1.0", "name": self.name, "runtimeConfig": {"portMappings": ports}});
        let mut conf = [self.bridge(), common.clone(), common];
        extend(&mut conf[1], &json!({"type": "host-port"}));
        let link_env =
            json!({"type": "link-env", "waitForLinks": true, "args": {"cni": {"link-env": endpoint}}});
        extend(&mut conf[2], &link_env);
        let mut member = Member { netns, ifname: format!("eth{}", self.subnet), conf };
        let mut result = Value::Null;
        for place in 0..PROGRAMS.len() {
            let answer = member.call(place, "ADD").run().result();
            if place == 0 {
                result = answer;
            }
            // libcni passes the result to the next plugin's ADD, and to CHECK and DEL.
            for conf in &mut member.conf {
                conf["prevResult"] = result.clone();
            }
        }
        member
    }
}

const PROGRAMS: [&str; 3] = [BRIDGE, HOST_PORT, LINK_ENV];

/// A container's interface on a network.
pub(crate) struct Member<'a> {
    pub(crate) netns: &'a Namespaced,
    ifname: String,
    /// The configuration of each program.
    pub(crate) conf: [Value; 3],
}

impl Member<'_> {
    pub(crate) fn call(&self, place: usize, command: &str) -> Call {
        Call::new(PROGRAMS[place], command, &self.conf[place]).of(self.netns.name(), self.netns, &self.ifname)
    }

    pub(crate) fn check(&self, program: &str) -> Answer {
        self.call(PROGRAMS.iter().position(|known| *known == program).unwrap(), "CHECK").run()
    }

    /// Calls DEL in a runtime's order, twice for each plugin.
    pub(crate) fn del(&self) {
        for place in [2, 1, 0] {
            self.call(place, "DEL").run().silent();
            self.call(place, "DEL").run().silent();
        }
    }

    /// `address:port` of both families.
    pub(crate) fn at(&self, port: u16) -> [String; 2] {
        let ip = |place: usize| self.conf[0]["prevResult"]["ips"][place]["address"].as_str().unwrap();
        let bare = |place: usize| ip(place).split('/').next().unwrap();
        [format!("{}:{port}", bare(0)), format!("[{}]:{port}", bare(1))]
    }

    /// Serves TCP and UDP on a port.
    pub(crate) fn serve(&self, port: u16) {
        serve(self.netns, port);
    }

    /// The output of a shell line in the container, with its hosts file and the variables of its links.
    pub(crate) fn says(&self, line: &str) -> String {
        let own = format!("/run/cleat/containers/{}", self.netns.name());
        let line =
            format!("mount --bind {own}/hosts /etc/hosts && set -a && . {own}/env && set +a && {line}");
        let output = self
            .netns
            .enter(|| Command::new("unshare").args(["--mount", "sh", "-c", &line]).output())
            .unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn extend(conf: &mut Value, keys: &Value) {
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
}

/// Serves TCP and UDP on a port of a container.
pub(crate) fn serve(netns: &Namespaced, port: u16) {
    serve_tcp(Some(netns), netns.name(), &format!("[::]:{port}"));
    serve_udp(Some(netns), netns.name(), &format!("[::]:{port}"));
}

/// A way to a server: from a place, by a protocol, to an address.
pub(crate) type Way<'a> = (Option<&'a Namespaced>, &'static str, String);

/// The ways from a place to addresses by both protocols.
pub(crate) fn ways<'a>(from: Option<&'a Namespaced>, addresses: &[String]) -> Vec<Way<'a>> {
    let by = |protocol: &'static str| addresses.iter().map(move |to| (from, protocol, to.clone()));
    by("tcp").chain(by("udp")).collect()
}

/// The ways on which a server answers. All are tried at the same time, as each without an answer takes seconds.
pub(crate) fn open<'a>(ways: &[Way<'a>]) -> Vec<Way<'a>> {
    thread::scope(|scope| {
        let tries: Vec<_> = ways
            .iter()
            .map(|(from, protocol, to)| {
                scope.spawn(move || match *protocol {
                    "tcp" => ask_tcp(*from, to).is_ok(),
                    _ => ask_udp(*from, to).is_ok(),
                })
            })
            .collect();
        let answered = tries.into_iter().map(|attempt| attempt.join().unwrap());
        ways.iter().zip(answered).filter(|(_, answered)| *answered).map(|(way, _)| way.clone()).collect()
    })
}

/// Fails unless a server answers on every way.
pub(crate) fn assert_open(ways: &[Way]) {
    assert_eq!(open(ways).len(), ways.len(), "of {ways:?}");
}

/// Fails where a server answers on any way.
pub(crate) fn assert_closed(ways: &[Way]) {
    let open = open(ways);
    assert!(open.is_empty(), "{open:?}");
}

/// The elements of all sets for links.
pub(crate) fn openings() -> String {
    let output = Command::new("nft").args(["list", "table", "inet", "cleat_gate"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let sets = text.split("\tset links").skip(1).map(|set| set.split("\n\t}").next().unwrap().to_owned());
    sets.collect::<Vec<_>>().join("\n")
}
