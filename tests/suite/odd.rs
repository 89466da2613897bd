//! Odd input of DEL and GC: previous results of other versions or from truncated caches, configurations that were changed
//! after the ADD, and environments that other plugins use. In each case nothing of the attachment is left, and its neighbour
//! keeps everything.

mod calls;

use sandbox::{Call, Host, Namespaced, Snapshot, isolated};
use serde_json::{Value, json};

use crate::shared::programs::{CLEAT, HOST_LOCAL, LOOPBACK, folder, program};

/// The network's plugins. The name of the endpoint and the host port are those of the container.
fn chain(id: &str) -> [Value; 3] {
    let port = if id == "neighbour" { 8081 } else { 8080 };
    [
        json!({
            "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0", "isGateway": true, "ipMasq": true,
            "macspoofchk": true, "ingress": "published", "forward": "accept", "dns": {"nameservers": ["10.1.0.1"]},
            "ipam": {
                "type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
            }
        }),
        json!({
            "cniVersion": "1.1.0", "name": "net", "type": "host-port",
            "runtimeConfig": {"portMappings": [{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]}
        }),
        json!({
            "cniVersion": "1.1.0", "name": "net", "type": "link-env", "cdiDir": "/run/cdi", "endpoint": {"name": id}
        }),
    ]
}

fn with(conf: &Value, keys: &Value) -> Value {
    let mut conf = conf.clone();
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    conf
}

/// A copy with one value replaced.
fn set(value: &Value, pointer: &str, new: impl Into<Value>) -> Value {
    let mut value = value.clone();
    *value.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = new.into();
    value
}

fn call(verb: &str, conf: &Value, id: &str, netns: &Namespaced) -> Call {
    Call::new(program(conf["type"].as_str().unwrap()), verb, conf).of(id, netns, "eth0")
}

/// Attaches a container, and returns its result.
fn add(id: &str, netns: &Namespaced) -> Value {
    chain(id).iter().fold(Value::Null, |previous, conf| {
        call("ADD", &with(conf, &json!({"prevResult": previous})), id, netns).run().result()
    })
}

/// What DEL or GC may get instead of the result.
fn results(result: &Value) -> Vec<(&'static str, Value)> {
    let many: Vec<Value> =
        (0..20_000).map(|n| json!({"dst": format!("10.{}.{}.0/24", n / 256, n % 256)})).collect();
    let address = "/ips/0/address";
    let index = "/ips/0/interface";
    vec![
        ("the result", result.clone()),
        ("null", Value::Null),
        ("an empty object", json!({})),
        ("a list", json!([result])),
        ("a text", json!("10.1.0.2/24")),
        ("a number", json!(-1)),
        ("true", json!(true)),
        ("an index out of range", set(result, index, 7)),
        ("an index of -1", set(result, index, -1)),
        ("an index beyond numbers", set(result, index, u64::MAX)),
        ("an index with a fraction", set(result, index, 0.5)),
        ("an index as text", set(result, index, "2")),
        ("an address without length", set(result, address, "10.1.0.2")),
        ("an address that is none", set(result, address, "10.1.0.2/99")),
        ("an address as number", set(result, address, 42)),
        ("an address of the neighbour", set(result, address, "10.1.0.2/24")),
        ("a gateway that is none", set(result, "/ips/0/gateway", "gateway")),
        ("a route without length", set(result, "/routes/0/dst", "0.0.0.0")),
        ("a route as text", set(result, "/routes/0", "default")),
        ("routes as object", set(result, "/routes", json!({"dst": "0.0.0.0/0"}))),
        ("a route with a mtu as text", set(result, "/routes/0", json!({"dst": "0.0.0.0/0", "mtu": "1400"}))),
        ("a later version", set(result, "/cniVersion", "2.0.0")),
        ("a version that is none", set(result, "/cniVersion", "latest")),
        ("a version as number", set(result, "/cniVersion", 1)),
        ("an older version", set(result, "/cniVersion", "0.2.0")),
        ("name servers as text", set(result, "/dns/nameservers", "10.1.0.1")),
        ("dns as list", set(result, "/dns", json!(["10.1.0.1"]))),
        ("interfaces as object", set(result, "/interfaces", json!({"name": "eth0"}))),
        ("an interface that is null", set(result, "/interfaces/2", Value::Null)),
        ("an interface of numbers", set(result, "/interfaces/2", json!({"name": 0, "mac": 1, "sandbox": 2}))),
        ("no interfaces", set(result, "/interfaces", json!([]))),
        ("ips that are null", set(result, "/ips", Value::Null)),
        ("ips as object", set(result, "/ips", json!({"address": "10.1.0.3/24"}))),
        (
            "the shape of 0.2.0",
            json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.3/24"}, "ip6": {"ip": "fd00:1::3"}}),
        ),
        ("more routes than a configuration may have", set(result, "/routes", many)),
        (
            "more text than a configuration may have",
            set(result, "/dns", json!({"domain": "x".repeat(3 << 20)})),
        ),
    ]
}

/// Odd keys, each with the type of the plugin that gets them: with "", every plugin.
fn configurations() -> Vec<(&'static str, Value)> {
    let ipam = |keys: Value| json!({"ipam": with(&json!({"type": "host-local"}), &keys)});
    vec![
        ("", json!({"cniVersion": "9.0.0"})),
        ("", json!({"cniVersion": 7})),
        ("", json!({"runtimeConfig": "x", "args": 7, "capabilities": []})),
        (
            "",
            json!({"args": {"cni": {"ips": ["nowhere"], "mac": "x", "link-env": 7}}, "runtimeConfig": {"ips": 7, "mac": []}}),
        ),
        ("bridge", ipam(json!({"ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.2.0.1"}]]}))),
        ("bridge", ipam(json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.1.0.0/16"}]]}))),
        ("bridge", ipam(json!({"ranges": "10.1.0.0/24", "routes": {}, "resolvConf": 7}))),
        ("bridge", ipam(json!({"subnet": "10.1.0.7/24", "gateway": "x", "routes": [{"dst": "0.0.0.0"}]}))),
        ("bridge", ipam(json!({"dataDir": 7}))),
        ("bridge", json!({"ipam": "host-local"})),
        ("bridge", json!({"ipam": {"type": ["host-local"]}})),
        (
            "bridge",
            json!({"mtu": "large", "isGateway": "yes", "vlan": "x", "vlanTrunk": 7, "dns": "x", "mac": 7}),
        ),
        ("bridge", json!({"hairpinMode": true, "promiscMode": true, "mtu": 1})),
        ("bridge", json!({"ipMasqBackend": "ipfw", "ingress": "some", "forward": 7, "icc": "no"})),
        ("bridge", json!({"bridge": 7})),
        ("bridge", json!({"bridge": "a name that is too long"})),
        ("host-port", json!({"backend": "ipfw", "freePorts": "x", "markMasqBit": 99, "conditionsV4": 7})),
        ("host-port", json!({"runtimeConfig": {"portMappings": "8080:80"}})),
        (
            "host-port",
            json!({"runtimeConfig": {"portMappings": [{"hostPort": "8080", "containerPort": -1}]}}),
        ),
        ("link-env", json!({"names": "all", "endpoint": {"name": "a b", "link": 7}, "waitForLinks": "yes"})),
        ("link-env", json!({"stateDir": 7, "netnsDir": {}, "cdiDir": []})),
        ("link-env", json!({"stateDir": "run", "netnsDir": "etc", "cdiDir": "cdi"})),
        ("link-env", json!({"runtimeConfig": {"aliases": 7, "portMappings": [{"containerPort": 70000}]}})),
    ]
}

/// Variables of the environment that DEL may be called with.
fn environments() -> Vec<(&'static str, String)> {
    let args =
        ["none", "IP", "IP:10.1.0.9", "IP=nowhere", "MAC=x", "=;=", "LINK_LINKS", "K8S_POD_NAME=a b;;"];
    let paths = ["", "/dev/null", "/some/container/netns", "/proc/self/ns/net", "netns", "/etc/passwd"];
    let mut environments: Vec<_> = args.map(|args| ("CNI_ARGS", args.to_owned())).into();
    environments.push(("CNI_ARGS", "a=b;".repeat(5000)));
    environments.extend(paths.map(|path| ("CNI_NETNS", path.to_owned())));
    environments.extend(["", "/nowhere"].map(|path| ("CNI_PATH", path.to_owned())));
    environments
}

/// A container and its neighbour on one network. `remove` attaches the container and removes it by odd calls, which are made
/// from a plugin's configuration and the result. Only the neighbour may be left.
struct Place {
    netns: Namespaced,
    _neighbour: Namespaced,
    before: Snapshot,
    inside: Snapshot,
}

impl Place {
    fn new() -> Self {
        let netns = Namespaced::new("c");
        let neighbour = Namespaced::new("n");
        assert!(add("neighbour", &neighbour).is_object());
        Self { _neighbour: neighbour, before: Snapshot::take(), inside: netns.enter(Snapshot::take), netns }
    }

    fn remove(&self, what: &str, calls: impl Fn(&Value, &Value) -> Call) {
        let result = add("c1", &self.netns);
        assert!(!self.before.differences().is_empty());
        for conf in chain("c1").iter().rev() {
            let answer = calls(conf, &result).run();
            let output = answer.output();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.is_empty(), "{} with {what}: {said}", conf["type"]);
        }
        let left = self.before.differences();
        assert!(left.is_empty(), "{what}: left behind (+) or missing (-): {left:#?}");
        assert_eq!(self.inside, self.netns.enter(Snapshot::take), "{what}");
    }
}

#[test]
fn del_removes_whatever_the_previous_result_is() {
    isolated(|| {
        let _host = Host::new();
        let place = Place::new();
        let known = add("c1", &place.netns);
        place.remove_again(&known);
        for (what, _) in results(&known) {
            place.remove(what, |conf, result| {
                let odd = results(result).into_iter().find(|(known, _)| *known == what).unwrap().1;
                call("DEL", &with(conf, &json!({"prevResult": odd})), "c1", &place.netns)
            });
        }
    });
}

impl Place {
    /// Removes the container by ordinary DELs.
    fn remove_again(&self, result: &Value) {
        for conf in chain("c1").iter().rev() {
            call("DEL", &with(conf, &json!({"prevResult": result})), "c1", &self.netns).run().silent();
        }
    }
}

#[test]
fn del_removes_whatever_the_configuration_has_become() {
    isolated(|| {
        let _host = Host::new();
        let place = Place::new();
        for (plugin, keys) in configurations() {
            place.remove(&keys.to_string(), |conf, result| {
                let is_meant = plugin.is_empty() || conf["type"] == plugin;
                let conf = if is_meant { with(conf, &keys) } else { conf.clone() };
                call("DEL", &with(&conf, &json!({"prevResult": result})), "c1", &place.netns)
            });
        }
    });
}

#[test]
fn del_removes_whatever_the_environment_says() {
    isolated(|| {
        let _host = Host::new();
        let place = Place::new();
        for (name, value) in environments() {
            let shown: String = value.chars().take(30).collect();
            place.remove(&format!("{name}={shown}"), |conf, _| {
                call("DEL", conf, "c1", &place.netns).env(name, &value)
            });
        }
    });
}

/// Runtimes usually send GC no previous result. GC needs only the valid attachments and the bridge's name.
#[test]
fn gc_removes_whatever_else_it_is_told() {
    isolated(|| {
        let _host = Host::new();
        let place = Place::new();
        let valid = json!({"cni.dev/valid-attachments": [{"containerID": "neighbour", "ifname": "eth0"}]});
        let gc = |conf: &Value| call("GC", &with(conf, &valid), "", &place.netns);
        let known = add("c1", &place.netns);
        place.remove_again(&known);
        for (what, _) in results(&known) {
            place.remove(what, |conf, result| {
                let odd = results(result).into_iter().find(|(known, _)| *known == what).unwrap().1;
                gc(&with(conf, &json!({"prevResult": odd})))
            });
        }
        for (plugin, keys) in configurations() {
            if keys.get("bridge").is_none() {
                place.remove(&keys.to_string(), |conf, _| {
                    let is_meant = plugin.is_empty() || conf["type"] == plugin;
                    gc(&if is_meant { with(conf, &keys) } else { conf.clone() })
                });
            }
        }
        let nameless = with(&chain("c1")[0], &json!({"bridge": 7}));
        let (code, said) = gc(&nameless).run().error();
        assert!(code == 7 && said.contains("bridge is 7"), "{said}");
    });
}

/// host-local as the delegate of another vendor's plugin, and loopback: each is called alone.
#[test]
fn delegates_and_loopback_are_as_tolerant() {
    isolated(|| {
        let _host = Host::new();
        let netns = Namespaced::new("c");
        let before = Snapshot::take();
        let conf = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "silk",
            "ipam": {"type": "host-local", "subnet": "10.1.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}
        });
        let lo = json!({"cniVersion": "1.0.0", "name": "lo", "type": "loopback"});
        let leased = |verb: &str, conf: &Value| Call::new(HOST_LOCAL, verb, conf).of("c1", &netns, "eth0");
        let looped = |verb: &str, conf: &Value| Call::new(LOOPBACK, verb, conf).of("c1", &netns, "lo");
        let down = || assert_eq!(looped("CHECK", &lo).run().error().0, 101);
        let full = json!({
            "cniVersion": "1.0.0", "interfaces": [{"name": "a"}, {"name": "b"}, {"name": "eth0"}], "dns": {"nameservers": [], "domain": ""},
            "ips": [{"address": "10.1.0.2/24", "interface": 0, "gateway": ""}], "routes": [{"dst": "0.0.0.0/0"}]
        });
        for (what, odd) in results(&full) {
            assert!(leased("ADD", &conf).run().result().is_object());
            leased("DEL", &with(&conf, &json!({"prevResult": odd}))).run().silent();
            let left = before.differences();
            assert!(left.is_empty(), "{what}: {left:#?}");
            assert!(looped("ADD", &lo).run().result().is_object());
            looped("DEL", &with(&lo, &json!({"prevResult": odd}))).run().silent();
            down();
        }
        for (plugin, keys) in configurations() {
            if plugin.is_empty() || keys.get("ipam").is_some() {
                assert!(leased("ADD", &conf).run().result().is_object());
                leased("DEL", &with(&conf, &keys)).run().silent();
                before.assert_unchanged();
            }
        }
        for (name, value) in environments() {
            assert!(leased("ADD", &conf).run().result().is_object());
            leased("DEL", &conf).env(name, &value).run().silent();
            before.assert_unchanged();
            if name != "CNI_NETNS" {
                assert!(looped("ADD", &lo).run().result().is_object());
                looped("DEL", &lo).env(name, &value).run().silent();
                down();
            }
        }
    });
}

/// The kernel refuses `::` as a next hop, and so does the reference's ADD; both take `0.0.0.0` for no next hop. Ours takes
/// both so: the destination is on the link.
#[test]
fn an_unspecified_next_hop_of_either_family_is_the_link() {
    isolated(|| {
        let _host = Host::new();
        let netns = Namespaced::new("c");
        let [mut conf, ..] = chain("c1");
        conf["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0", "gw": "0.0.0.0"}, {"dst": "::/0", "gw": "::"}]);
        let result = call("ADD", &conf, "c1", &netns).run().result();
        assert_eq!(result["routes"], conf["ipam"]["routes"]);
        for (family, address) in [("-4", "192.0.2.2"), ("-6", "2001:db8::2")] {
            let way = netns.enter(|| {
                let mut command = std::process::Command::new("ip");
                command.args([family, "-o", "route", "get", address]).output().unwrap()
            });
            let way = String::from_utf8(way.stdout).unwrap();
            assert!(way.contains("dev eth0") && !way.contains("via"), "{way}");
        }
        let checked = with(&conf, &json!({"prevResult": result}));
        call("CHECK", &checked, "c1", &netns).run().silent();
        call("DEL", &checked, "c1", &netns).run().silent();
    });
}

/// The result that `cleat` or libcni cached can no longer be read: `del` and `gc` remove the attachment all the same.
#[test]
fn the_tool_removes_what_a_broken_cache_tells() {
    isolated(|| {
        let _host = Host::new();
        let lists = "/etc/cni/net.d";
        std::fs::create_dir_all(lists).unwrap();
        let mut list = json!({"cniVersion": "1.0.0", "name": "net", "plugins": chain("c1")});
        for plugin in list["plugins"].as_array_mut().unwrap() {
            plugin
                .as_object_mut()
                .unwrap()
                .retain(|key, _| !["cniVersion", "name", "runtimeConfig"].contains(&key.as_str()));
        }
        std::fs::write(format!("{lists}/10-net.conflist"), list.to_string()).unwrap();
        let cleat = |args: &[&str]| {
            let mut command = std::process::Command::new(CLEAT);
            let output = command.args(args).env("CNI_PATH", folder()).output().unwrap();
            assert!(output.status.success(), "cleat {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let before = Snapshot::take();
        let file = || {
            let mut files = std::fs::read_dir("/var/lib/cni/results").unwrap();
            files.next().unwrap().unwrap().path()
        };
        let result = json!({
            "cniVersion": "1.0.0", "interfaces": [{"name": "a"}, {"name": "b"}, {"name": "eth0"}], "dns": {"nameservers": []},
            "ips": [{"address": "10.1.0.2/24", "interface": 2, "gateway": ""}], "routes": [{"dst": "0.0.0.0/0"}]
        });
        for (what, odd) in results(&result) {
            // No plugin can answer with a result of this size, so no cache has one.
            if odd.to_string().len() > 1 << 19 {
                continue;
            }
            for verb in ["del", "gc"] {
                let netns = Namespaced::new("c");
                let path = netns.path().to_str().unwrap().to_owned();
                cleat(&["add", "net", &path]);
                let kept: Value = serde_json::from_slice(&std::fs::read(file()).unwrap()).unwrap();
                std::fs::write(file(), set(&kept, "/result", odd.clone()).to_string()).unwrap();
                if verb == "del" {
                    cleat(&["del", "net", &path]);
                } else {
                    drop(netns);
                    cleat(&["gc", "net"]);
                }
                let left = before.differences();
                let left: Vec<&String> = left.iter().filter(|line| !line.contains(&path)).collect();
                assert!(left.is_empty(), "{verb} with {what}: {left:#?}");
            }
        }
        // Where no result of the attachment is cached, `del` succeeds although `CNI_ARGS` cannot be parsed.
        let mut command = std::process::Command::new(CLEAT);
        let command = command.args(["del", "net", "/run/netns/gone"]).envs([("CNI_ARGS", "none")]);
        let output = command.env("CNI_PATH", folder()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
}
