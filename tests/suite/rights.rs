//! Which capabilities each plugin needs (docs/operations.md). With these and no other it works; where one is missing, it names
//! that one and changes nothing.

use std::process::Command;

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Call, Host, Namespaced, Snapshot, UPLINK_V4, UPLINK_V6, isolated, only};
use serde_json::{Value, json};

use crate::shared::cleat::{cleat, install_networks, succeed};
use crate::shared::iptables::{PATH, choose, saved};
use crate::shared::members::{Network, assert_closed, assert_open, host, ways};
use crate::shared::programs::{CLEAT, program};

const NET: &str = "net_admin";
const SYS: &str = "sys_admin";

/// The capabilities that a verb of a plugin needs.
fn needs(plugin: &str, verb: &str) -> &'static [&'static str] {
    match (plugin, verb) {
        ("bridge" | "loopback", "ADD" | "STATUS") | ("bridge", "CHECK") | ("loopback", "DEL") => &[NET, SYS],
        ("loopback", "CHECK") => &[SYS],
        ("bridge", "DEL" | "GC") | ("host-port", _) => &[NET],
        // The rest needs none: host-local as a process of its own, and link-env where members are not kept apart.
        _ => &[],
    }
}

const CHAIN: [&str; 5] = ["host-local", "loopback", "bridge", "host-port", "link-env"];

/// A container with its namespace, and the previous result for the plugins after bridge.
struct Container<'a> {
    netns: &'a Namespaced,
    result: Value,
    /// The backend, with the PATH on which its programs are.
    backend: Option<(&'static str, String)>,
}

impl Container<'_> {
    fn call(&self, plugin: &str, verb: &str) -> Call {
        let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": plugin});
        match plugin {
            "bridge" => {
                conf["isGateway"] = true.into();
                conf["ipMasq"] = true.into();
                conf["hairpinMode"] = true.into();
                conf["macspoofchk"] = true.into();
                conf["ingress"] = "published".into();
                conf["bridge"] = "br0".into();
                conf["ipam"] = json!({
                    "type": "host-local",
                    "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]],
                    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
                });
            }
            "host-local" => {
                conf["name"] = "other".into();
                conf["ipam"] = json!({"type": "host-local", "ranges": [[{"subnet": "10.2.0.0/24"}]]});
            }
            "host-port" => {
                let mapping = json!({"hostPort": 8080, "containerPort": 80, "protocol": "tcp"});
                conf["runtimeConfig"] = json!({"portMappings": [mapping]});
            }
            _ => {}
        }
        let (key, mut path) = (if plugin == "bridge" { "ipMasqBackend" } else { "backend" }, PATH);
        if let Some((backend, programs)) = &self.backend {
            (conf[key], path) = ((*backend).into(), programs);
        }
        // host-local and loopback are called alone, without a previous result.
        if verb != "STATUS" && matches!(plugin, "bridge" | "host-port" | "link-env") && !self.result.is_null()
        {
            conf["prevResult"] = self.result.clone();
        }
        if verb == "GC" {
            conf["cni.dev/valid-attachments"] = json!([]);
        }
        let call = Call::new(program(plugin), verb, &conf).env("PATH", path);
        if matches!(verb, "GC" | "STATUS") { call } else { call.of("c1", self.netns, "eth0") }
    }

    /// Calls a verb without each of the capabilities that it needs, which must change nothing, and then with all of them.
    fn run(&mut self, plugin: &str, verb: &str, needs: &[&str]) {
        let look = || (Snapshot::take(), self.netns.enter(Snapshot::take));
        let before = look();
        for lacking in needs {
            let rest: Vec<&str> = needs.iter().copied().filter(|name| name != lacking).collect();
            let (code, said) = self.call(plugin, verb).with_only(&rest).run().error();
            let wanted = if verb == "STATUS" { 50 } else { 100 };
            assert_eq!(code, wanted, "{plugin} {verb}: {said}");
            assert!(said.contains(&format!("CAP_{}", lacking.to_uppercase())), "{plugin} {verb}: {said}");
            before.0.assert_unchanged();
            assert_eq!(self.netns.enter(|| before.1.differences()), [""; 0], "{plugin} {verb}");
        }
        let answer = self.call(plugin, verb).with_only(needs).run();
        if verb != "ADD" {
            answer.silent();
        } else if plugin == "bridge" {
            self.result = answer.result();
        } else {
            let _ = answer.result();
        }
    }

    fn reached_from(&self, host: &Host) {
        serve_tcp(Some(self.netns), "web", "[::]:80");
        for address in [UPLINK_V4.to_owned(), format!("[{UPLINK_V6}]")] {
            assert!(
                ask_tcp(Some(&host.outside), &format!("{address}:8080")).unwrap().starts_with("web sees ")
            );
        }
        serve_tcp(Some(&host.outside), "outside", "[::]:90");
        assert_eq!(ask_tcp(Some(self.netns), "192.0.2.2:90").unwrap(), "outside sees 192.0.2.1");
    }
}

#[test]
fn each_plugin_takes_the_documented_capabilities_and_no_other() {
    isolated(|| {
        let host = Host::new();
        let netns = Namespaced::new("web");
        let before = Snapshot::take();
        let mut web = Container { netns: &netns, result: Value::Null, backend: None };
        for verb in ["STATUS", "ADD", "CHECK"] {
            for plugin in CHAIN.into_iter().filter(|plugin| verb != "CHECK" || *plugin != "host-local") {
                web.run(plugin, verb, needs(plugin, verb));
            }
        }
        web.reached_from(&host);
        for plugin in CHAIN.into_iter().rev() {
            web.run(plugin, "DEL", needs(plugin, "DEL"));
        }
        before.assert_unchanged();
        // A second attachment, which GC removes. loopback has none: it ends with its namespace.
        web.result = Value::Null;
        for verb in ["ADD", "GC"] {
            for plugin in CHAIN.into_iter().filter(|plugin| *plugin != "loopback") {
                web.run(plugin, verb, needs(plugin, verb));
            }
        }
        before.assert_unchanged();
    });
}

/// For links between members that are kept apart, link-env itself writes elements of the packet filter.
#[test]
fn link_env_takes_a_capability_where_members_are_kept_apart() {
    isolated(|| {
        let _host = host();
        let [one, two] = ["db", "web"].map(Namespaced::new);
        let before = Snapshot::take();
        let shop = Network { name: "shop", subnet: 7, keys: json!({"icc": false}) };
        let db = shop.add(&one, &json!({"name": "db", "expose": ["5432"]}));
        let web = shop.add(&two, &json!({"name": "web"}));
        db.serve(5432);
        let during = Snapshot::take();
        let mut conf = web.conf[2].clone();
        conf["args"]["cni"]["link-env"]["links"] = json!(["db:db"]);
        let linked = |verb: &str| web.call(2, verb).stdin(conf.to_string().as_bytes());
        refused(&linked("ADD"));
        during.assert_unchanged();
        let _ = linked("ADD").with_only(&[NET]).run().result();
        assert_open(&ways(Some(&two), &db.at(5432)[..1])[..1]);
        refused(&linked("CHECK"));
        linked("CHECK").with_only(&[NET]).run().silent();
        // A DEL removes what it can, and remembers what it could not.
        for _ in 0..2 {
            refused(&linked("DEL"));
            assert_open(&ways(Some(&two), &db.at(5432)[..1])[..1]);
        }
        linked("DEL").with_only(&[NET]).run().silent();
        assert_closed(&ways(Some(&two), &db.at(5432)));
        web.del();
        db.del();
        before.assert_unchanged();
    });
}

/// Fails unless a call without any capability is refused with a message that names the missing one.
fn refused(call: &Call) {
    let (code, said) = call.clone().with_only(&[]).run().error();
    assert!(code == 100 && said.contains("CAP_NET_ADMIN"), "{code}: {said}");
}

/// With iptables, plugins need the capabilities that its programs need.
fn by_iptables(variant: &str, needs: &'static [&str]) {
    let host = Host::new();
    let path = choose(variant);
    let netns = Namespaced::new("web");
    let before = Snapshot::take();
    let mut web = Container { netns: &netns, result: Value::Null, backend: Some(("iptables", path)) };
    for (plugin, verb) in
        ["STATUS", "ADD", "CHECK"].iter().flat_map(|verb| [("bridge", *verb), ("host-port", *verb)])
    {
        let also = if plugin == "bridge" { &[SYS][..] } else { &[] };
        // bridge needs CAP_SYS_ADMIN as well, to enter the container's namespace.
        let all: Vec<&str> = needs.iter().chain(also).copied().collect();
        web.run(plugin, verb, &all);
    }
    web.reached_from(&host);
    for plugin in ["host-port", "bridge"] {
        // Each DEL removes what it can.
        for lacking in needs {
            let rest: Vec<&str> = needs.iter().copied().filter(|name| name != lacking).collect();
            let (_, said) = web.call(plugin, "DEL").with_only(&rest).run().error();
            assert!(said.contains(&format!("CAP_{}", lacking.to_uppercase())), "{plugin}: {said}");
        }
        // A DEL that finds no veth pair of its own looks in the container for one that another program made.
        let all: Vec<&str> = needs.iter().copied().chain([SYS]).collect();
        web.call(plugin, "DEL").with_only(&all).run().silent();
    }
    assert_eq!(saved(variant), [""; 0]);
    before.assert_unchanged();
}

#[test]
fn iptables_nft_takes_no_more() {
    isolated(|| by_iptables("nft", &[NET]));
}

#[test]
fn iptables_legacy_takes_raw_sockets() {
    isolated(|| by_iptables("legacy", &[NET, "net_raw"]));
}

/// The kernel shows a process's namespace only to a caller with all capabilities of that process, or with `CAP_SYS_PTRACE`.
#[test]
fn the_namespace_of_a_process_takes_one_more() {
    isolated(|| {
        let _host = Host::new();
        let netns = Namespaced::new("c");
        let mut process = netns.enter(|| Command::new("sleep").arg("60").spawn()).unwrap();
        let before = Snapshot::take();
        let path = format!("/proc/{}/ns/net", process.id());
        let mut web = Container { netns: &netns, result: Value::Null, backend: None };
        for (verb, all) in [("ADD", [NET, SYS]), ("CHECK", [NET, SYS]), ("DEL", [NET, SYS])] {
            let call = |plugin: &str| web.call(plugin, verb).env("CNI_NETNS", &path);
            let during = Snapshot::take();
            // DEL of bridge opens the namespace only where the host's end of the pair has gone.
            for plugin in if verb == "DEL" { &["loopback"][..] } else { &["loopback", "bridge"] } {
                let (_, said) = call(plugin).with_only(&all).run().error();
                assert!(said.contains(&path) && said.contains("CAP_SYS_PTRACE"), "{plugin} {verb}: {said}");
            }
            during.assert_unchanged();
            for plugin in ["loopback", "bridge"] {
                let answer = call(plugin).with_only(&[NET, SYS, "sys_ptrace"]).run();
                if verb == "ADD" && plugin == "bridge" {
                    web.result = answer.result();
                    break;
                }
                assert!(answer.output().status.success(), "{answer:?}");
            }
        }
        process.kill().unwrap();
        process.wait().unwrap();
        before.assert_unchanged();
    });
}

#[test]
fn cleat_takes_what_its_plugins_take() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let netns = Namespaced::new("c");
        let before = Snapshot::take();
        let cleat = |capabilities: &[&str], args: &[&str]| {
            let words = only(capabilities);
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).arg(CLEAT).args(args);
            let known = cleat(&[]);
            command.envs(known.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command
        };
        let container = ["run", "--network", "cleat", "--", "sh", "-c", "hostname; ip -4 -o addr show eth0"];
        let path = netns.path().to_str().unwrap();
        for args in [&container[..], &["add", "cleat", path]] {
            for (rest, lacking) in [([NET], "CAP_SYS_ADMIN"), ([SYS], "CAP_NET_ADMIN")] {
                let output = cleat(&rest, args).output().unwrap();
                let said = String::from_utf8(output.stderr).unwrap();
                assert!(!output.status.success() && said.contains(lacking), "{args:?}: {said}");
                before.assert_unchanged();
            }
        }
        assert!(succeed(&mut cleat(&[NET, SYS], &container)).contains("inet 10.90.0."));
        succeed(&mut cleat(&[NET, SYS], &["add", "cleat", path]));
        succeed(&mut cleat(&[NET], &["ps"]));
        succeed(&mut cleat(&[NET, SYS], &["del", "cleat", path]));
        before.assert_unchanged();
    });
}
