//! What is tested: each plugin by itself, and a whole chain with `cleat`.

use std::fs;
use std::path::Path;

use sandbox::tracer::Job;
use serde_json::{Value, json};

use crate::trial::CONTAINER;

/// Debian's reference plugins.
const REFERENCE: &str = "/usr/lib/cni";
/// The folder of the chain's network configuration.
const NETWORKS: &str = "/run/faults";

/// A ruleset that drops forwarded packets, as other firewalls have by default.
const DROPPING: &str =
    "table inet firewall { chain forward { type filter hook forward priority 0; policy drop; }; }";

/// A verb of CNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Add,
    Del,
    Gc,
}

impl Verb {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Gc => "GC",
        }
    }
}

/// A plugin with a configuration, or a chain.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) is_reference: bool,
    /// A foreign ruleset on the host, in the syntax of nft(8).
    pub(crate) firewall: &'static str,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Plugin { program: String, conf: Value },
    Chain,
}

fn plugin(name: &'static str, program: &str, conf: Value) -> Subject {
    let kind = Kind::Plugin { program: program.to_owned(), conf };
    Subject { name, is_reference: false, firewall: "", kind }
}

fn reference(name: &'static str, conf: Value) -> Subject {
    let program = format!("{REFERENCE}/{name}");
    assert!(
        Path::new(&program).exists(),
        "{program} is missing: apt-get install containernetworking-plugins"
    );
    Subject { is_reference: true, ..plugin(name, &program, conf) }
}

fn host_local(subnet: &str) -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": subnet}], [{"subnet": "fd00:70::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}]})
}

/// The `prevResult` for a plugin that comes after another one in a chain.
fn previous() -> Value {
    json!({"interfaces": [{"name": "eth0", "sandbox": "/run/netns/c"}],
        "ips": [{"address": "10.71.0.5/16", "interface": 0}], "routes": [], "dns": {}})
}

fn published() -> Value {
    json!({"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
        {"hostPort": 5353, "containerPort": 53, "protocol": "udp"}]})
}

/// The subjects of this suite.
pub(crate) const OURS: [&str; 9] = [
    "loopback",
    "host-local",
    "bridge",
    "bridge-shut",
    "macvlan",
    "host-port",
    "host-port-iptables",
    "link-env",
    "chain",
];

/// The reference's plugins that the suite replaces.
pub(crate) const REFERENCES: [&str; 5] = [
    "reference-loopback",
    "reference-host-local",
    "reference-bridge",
    "reference-macvlan",
    "reference-portmap",
];

fn our_bridge() -> Value {
    json!({"bridge": "faults0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
        "macspoofchk": true, "ingress": "published", "ipam": host_local("10.70.0.0/16")})
}

fn chain() -> Subject {
    fs::create_dir_all(NETWORKS).unwrap();
    let chain = json!({"cniVersion": "1.1.0", "name": "chain", "plugins": [
        with(&our_bridge(), &json!({"type": "bridge"})),
        {"type": "host-port", "capabilities": {"portMappings": true}},
        {"type": "link-env", "capabilities": {"portMappings": true}},
    ]});
    fs::write(format!("{NETWORKS}/chain.conflist"), chain.to_string()).unwrap();
    Subject { name: "chain", is_reference: false, firewall: "", kind: Kind::Chain }
}

fn with(object: &Value, further: &Value) -> Value {
    let mut all = object.clone();
    all.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    all
}

impl Subject {
    /// The subject with a name of [`OURS`] or [`REFERENCES`].
    pub(crate) fn new(name: &str) -> Self {
        let shut = json!({"icc": false, "forward": "accept", "ipMasqBackend": "iptables"});
        let host_port = json!({"prevResult": previous(), "runtimeConfig": published()});
        let iptables = json!({"backend": "iptables"});
        let link_env = json!({"prevResult": previous(), "runtimeConfig": published(),
            "endpoint": {"expose": ["80"], "env": {"A": "b"}}});
        let leases = |subnet: &str| json!({"ipam": host_local(subnet)});
        let on_uplink =
            |subnet: &str| json!({"master": "uplink", "hostAccess": true, "ipam": host_local(subnet)});
        let their_bridge =
            json!({"bridge": "reference0", "isGateway": true, "ipMasq": true, "hairpinMode": true});
        match name {
            "loopback" => plugin("loopback", env!("CARGO_BIN_EXE_loopback"), json!({})),
            "host-local" => plugin("host-local", env!("CARGO_BIN_EXE_host-local"), leases("10.70.0.0/16")),
            "bridge" => plugin("bridge", env!("CARGO_BIN_EXE_bridge"), our_bridge()),
            "bridge-shut" => Self {
                firewall: DROPPING,
                ..plugin("bridge-shut", env!("CARGO_BIN_EXE_bridge"), with(&our_bridge(), &shut))
            },
            "macvlan" => plugin("macvlan", env!("CARGO_BIN_EXE_macvlan"), on_uplink("10.70.0.0/16")),
            "host-port" => plugin("host-port", env!("CARGO_BIN_EXE_host-port"), host_port),
            "host-port-iptables" => {
                plugin("host-port-iptables", env!("CARGO_BIN_EXE_host-port"), with(&host_port, &iptables))
            }
            "link-env" => plugin("link-env", env!("CARGO_BIN_EXE_link-env"), link_env),
            "chain" => chain(),
            "reference-loopback" => reference("loopback", json!({})),
            "reference-host-local" => reference("host-local", leases("10.72.0.0/16")),
            "reference-bridge" => reference("bridge", with(&their_bridge, &leases("10.72.0.0/16"))),
            "reference-macvlan" => reference("macvlan", on_uplink("10.72.0.0/16")),
            "reference-portmap" => reference("portmap", host_port),
            other => panic!("no subject {other}"),
        }
    }

    /// Whether it has a verb: the reference plugins have no GC.
    pub(crate) fn has(&self, verb: Verb) -> bool {
        !(self.is_reference && verb == Verb::Gc)
    }

    /// A call for a container, with the result of its ADD if there is one.
    pub(crate) fn job(&self, verb: Verb, id: &str, result: Option<&Value>) -> Job {
        let path = format!("/run/netns/{CONTAINER}");
        let env = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            let all = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")];
            all.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        match &self.kind {
            Kind::Plugin { program, conf } => {
                let folder = Path::new(program).parent().unwrap().display().to_string();
                let kind = Path::new(program).file_name().unwrap().to_string_lossy();
                let version = if self.is_reference { "1.0.0" } else { "1.1.0" };
                let common = json!({"cniVersion": version, "name": "faults", "type": kind});
                let mut conf = with(conf, &common);
                if let Some(result) = result {
                    conf["prevResult"] = result.clone();
                }
                let mut all = env(&[("CNI_COMMAND", verb.name()), ("CNI_PATH", &folder)]);
                if verb == Verb::Gc {
                    conf["cni.dev/valid-attachments"] = json!([]);
                } else {
                    all.extend(env(&[("CNI_CONTAINERID", id), ("CNI_IFNAME", "eth0"), ("CNI_NETNS", &path)]));
                }
                Job { program: program.clone(), args: vec![], env: all, input: conf.to_string().into_bytes() }
            }
            Kind::Chain => {
                let args: Vec<&str> = match verb {
                    Verb::Add => vec!["add", "chain", &path, "--id", id],
                    Verb::Del => vec!["del", "chain", &path, "--id", id],
                    Verb::Gc => vec!["gc", "chain"],
                };
                let program = env!("CARGO_BIN_EXE_cleat").to_owned();
                let folder = Path::new(&program).parent().unwrap().display().to_string();
                let capabilities = published().to_string();
                let env =
                    env(&[("CNI_PATH", &folder), ("NETCONFPATH", NETWORKS), ("CAP_ARGS", &capabilities)]);
                Job { program, args: args.into_iter().map(str::to_owned).collect(), env, input: vec![] }
            }
        }
    }

    /// Whether later calls need the result of ADD in the configuration. `cleat` caches it itself.
    pub(crate) fn takes_result(&self) -> bool {
        matches!(self.kind, Kind::Plugin { .. })
    }

    /// Whether it prints an error as a JSON object on standard output, as CNI wants of plugins.
    pub(crate) fn is_plugin(&self) -> bool {
        matches!(self.kind, Kind::Plugin { .. })
    }
}
