//! What the CNI specification asks of every plugin alike: versions, errors for bad input, output. No call here changes anything.

use netlink::{IpvlanMode, Socket, UpperKind};
use sandbox::{Call, Host, Namespaced, Snapshot, isolated, run};
use serde_json::{Value, json};

use crate::shared::programs::{PLUGINS, program};

fn conf(plugin: &str) -> Value {
    let mut conf = json!({"cniVersion": "1.0.0", "name": "net", "type": plugin});
    if matches!(plugin, "bridge" | "host-local" | "macvlan" | "ipvlan") {
        conf["ipam"] = json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]});
    }
    if matches!(plugin, "host-port" | "link-env") {
        conf["prevResult"] = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.2/24"}]});
    }
    conf
}

fn with(plugin: &str, key: &str, value: &Value) -> Value {
    let mut conf = conf(plugin);
    conf[key] = value.clone();
    conf
}

/// Fails if the calls change anything on the host or in the namespace.
fn changes_nothing(calls: impl FnOnce(&Namespaced)) {
    isolated(|| {
        let _host = Host::new();
        let netns = Namespaced::new("c");
        let before = Snapshot::take();
        let inside = netns.enter(Snapshot::take);
        calls(&netns);
        before.assert_unchanged();
        assert_eq!(inside, netns.enter(Snapshot::take));
    });
}

/// Fails unless a call is refused with the error code and with words that name the cause.
fn refuses(plugin: &str, call: &Call, code: u64, words: &str) {
    let (found, said) = call.run().error();
    assert_eq!(found, code, "{plugin}: {said}");
    assert!(said.contains(words), "{plugin}: {said}");
}

#[test]
fn version_answers_every_supported_version() {
    for (_, program) in PLUGINS {
        let answer = Call::new(program, "VERSION", &json!({"cniVersion": "0.4.0"})).run().result();
        assert_eq!(answer["cniVersion"], "0.4.0");
        assert_eq!(
            answer["supportedVersions"],
            json!(["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
        );
        // Old runtimes send nothing.
        let answer = Call::new(program, "VERSION", &Value::Null).stdin(b"").run().result();
        assert_eq!(answer["cniVersion"], "1.1.0");
    }
}

#[test]
fn without_a_command_a_plugin_says_what_it_is() {
    for (name, program) in PLUGINS {
        let output = run(std::process::Command::new(program).env_clear(), b"");
        assert!(output.status.success() && output.stdout.is_empty());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(name) && said.contains("1.1.0"), "{said}");
    }
}

/// Every row: a bad call, the error code of the specification, words that name the cause.
#[test]
fn bad_input_is_refused_and_changes_nothing() {
    changes_nothing(|netns| {
        for (plugin, program) in PLUGINS {
            let call = Call::new(program, "ADD", &conf(plugin)).of("c1", netns, "eth0");
            let gone = call.clone().env("CNI_NETNS", "/run/netns/gone");
            let own = call.clone().env("CNI_NETNS", "/proc/self/ns/net");
            // Plugins that enter no namespace accept any path, and plugins that do not read CNI_ARGS accept any text.
            let mut rows = Vec::new();
            if matches!(plugin, "bridge" | "loopback" | "macvlan" | "ipvlan") {
                rows.push((gone, 4, "/run/netns/gone"));
            }
            if matches!(plugin, "bridge" | "link-env" | "macvlan" | "ipvlan") {
                rows.push((call.clone().env("CNI_ARGS", "nonsense"), 4, "\"nonsense\" in CNI_ARGS"));
            }
            if plugin == "host-local" {
                rows.push((call.clone().env("CNI_ARGS", "IP:10.1.0.9"), 4, "\"IP:10.1.0.9\" in CNI_ARGS"));
            }
            rows.extend([
                (call.clone().env("CNI_COMMAND", "EXPLODE"), 4, "EXPLODE"),
                (call.clone().stdin(b"{"), 6, "not a JSON object"),
                (call.clone().stdin(b""), 6, "empty"),
                (call.clone().stdin(b"\xff\xff"), 6, "not a JSON object"),
                (call.clone().stdin("[".repeat(1 << 10).as_bytes()), 6, "not a JSON object"),
                (call.clone().stdin("[".repeat(1 << 20).as_bytes()), 6, "65536 values"),
                (call.clone().stdin("{\"\":".repeat(1 << 15).as_bytes()), 6, "16384 objects"),
                (call.clone().stdin(&vec![b' '; 3 << 20]), 6, "longer"),
                (
                    call.clone().stdin(with(plugin, "cniVersion", &json!("9.0.0")).to_string().as_bytes()),
                    1,
                    "9.0.0",
                ),
                (call.clone().stdin(with(plugin, "name", &json!("../x")).to_string().as_bytes()), 7, "../x"),
                (call.clone().without("CNI_NETNS"), 4, "CNI_NETNS"),
                (
                    call.clone().without("CNI_CONTAINERID").without("CNI_IFNAME"),
                    4,
                    "CNI_CONTAINERID, CNI_IFNAME",
                ),
                (call.clone().env("CNI_CONTAINERID", "a/b"), 4, "a/b"),
                (call.clone().env("CNI_IFNAME", "a name too long!"), 4, "a name too long!"),
                (call.clone().env("CNI_IFNAME", ".."), 4, ".."),
                (own, 8, "plugin's own"),
                (call.clone().env("CNI_COMMAND", "GC"), 1, "GC needs cniVersion 1.1.0"),
                (call.clone().env("CNI_COMMAND", "STATUS"), 1, "STATUS needs cniVersion 1.1.0"),
                (
                    call.clone()
                        .env("CNI_COMMAND", "CHECK")
                        .stdin(with(plugin, "cniVersion", &json!("0.3.1")).to_string().as_bytes()),
                    1,
                    "CHECK",
                ),
            ]);
            for (call, code, words) in rows {
                refuses(plugin, &call, code, words);
            }
        }
    });
}

/// Every row: the plugin, a key with an invalid value, the error code, words that name the cause.
#[test]
fn bad_configurations_are_refused_and_change_nothing() {
    changes_nothing(|netns| {
        for (plugin, key, value, code, words) in [
            (
                "bridge",
                "ipam",
                json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.2.0.1"}]]}),
                7,
                "10.2.0.1",
            ),
            (
                "bridge",
                "ipam",
                json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.7/24"}]]}),
                7,
                "10.1.0.7/24",
            ),
            ("bridge", "ipam", json!({"type": "nowhere"}), 7, "nowhere"),
            ("bridge", "mtu", json!("large"), 7, "mtu"),
            ("host-local", "ipam", json!({"type": "host-local", "ranges": []}), 7, "range"),
            (
                "host-port",
                "runtimeConfig",
                json!({"portMappings": [{"hostPort": 80, "containerPort": 0}]}),
                7,
                "ontainer",
            ),
            (
                "host-port",
                "runtimeConfig",
                json!({"portMappings": [{"hostPort": 70000, "containerPort": 80}]}),
                7,
                "70000",
            ),
            (
                "host-port",
                "runtimeConfig",
                json!({"portMappings": [{"hostPort": 80, "containerPort": 80, "protocol": "tpc"}]}),
                7,
                "tpc",
            ),
            (
                "host-port",
                "runtimeConfig",
                json!({"portMappings": [{"hostPort": 80, "containerPort": 80, "hostIP": "local"}]}),
                7,
                "local",
            ),
            ("link-env", "endpoint", json!({"name": "a b"}), 7, "a b"),
            ("link-env", "endpoint", json!({"expose": ["70000/tcp"]}), 7, "70000"),
            ("link-env", "endpoint", json!({"links": ["nobody:db"]}), 7, "nobody"),
        ] {
            let call = Call::new(program(plugin), "ADD", &with(plugin, key, &value)).of("c1", netns, "eth0");
            refuses(plugin, &call, code, words);
        }
    });
}

/// Results of 0.1.0 and 0.2.0 need an address. That there is none is noticed only once the interface exists.
#[test]
fn an_add_whose_result_cannot_be_told_is_undone() {
    changes_nothing(|netns| {
        let conf = json!({"cniVersion": "0.2.0", "name": "net", "type": "bridge"});
        let call = Call::new(program("bridge"), "ADD", &conf).of("c", netns, "eth0");
        refuses("bridge", &call, 7, "configure an ipam plugin");
    });
}

#[test]
fn a_plugin_behind_others_needs_their_result() {
    isolated(|| {
        let netns = Namespaced::new("c");
        for plugin in ["host-port", "link-env"] {
            let mut conf = with(
                plugin,
                "runtimeConfig",
                &json!({"portMappings": [{"hostPort": 80, "containerPort": 80}]}),
            );
            conf.as_object_mut().unwrap().remove("prevResult");
            let (code, said) = Call::new(program(plugin), "ADD", &conf).of("c", &netns, "eth0").run().error();
            assert_eq!(code, 7, "{said}");
            assert!(said.contains("prevResult"), "{said}");
        }
    });
}

#[test]
fn del_before_any_add_succeeds_in_silence() {
    isolated(|| {
        let before = Snapshot::take();
        let netns = Namespaced::new("c");
        for (plugin, program) in PLUGINS {
            let mut conf = conf(plugin);
            conf.as_object_mut().unwrap().remove("prevResult");
            let call = Call::new(program, "DEL", &conf).of("c", &netns, "eth0");
            call.run().silent();
            call.clone().env("CNI_NETNS", "").run().silent();
            call.env("CNI_NETNS", "/run/netns/gone").run().silent();
        }
        drop(netns);
        before.assert_unchanged();
    });
}

#[test]
fn status_is_well_and_gc_without_a_list_removes_nothing() {
    isolated(|| {
        let before = Snapshot::take();
        for (plugin, program) in PLUGINS {
            let conf = with(plugin, "cniVersion", &json!("1.1.0"));
            let status = Call::new(program, "STATUS", &conf).run();
            if plugin == "ipvlan" && !has_ipvlan() {
                let (code, said) = status.error();
                assert!(code == 50 && said.contains("this kernel has no ipvlan"), "{said}");
            } else {
                status.silent();
            }
            Call::new(program, "GC", &conf).run().silent();
        }
        before.assert_unchanged();
    });
}

/// Not every kernel that the tests run on has it: `make test-kernels` brings one.
fn has_ipvlan() -> bool {
    let kind = UpperKind::Ipvlan { mode: IpvlanMode::L2 };
    Socket::open().unwrap().has_kind(&kind).unwrap()
}
