//! Odd calls of loopback, host-local and portmap, ours and the reference's: which of the two fails, and whether both results
//! are equal. Each difference is listed with its reason.

use std::path::Path;

use sandbox::{Answer, Call, Host, Namespaced, Snapshot, isolated};
use serde_json::{Value, json};

use super::{set, with};

/// Where the newest reference plugins are, once `make bench` or `tests/tools/newer` has unpacked them.
const NEWEST: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/target/debian-newer/containernetworking-plugins/usr/lib/cni");

/// Where portmap finds iptables.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Which of the two programs succeeds, and the reason where only one does.
#[derive(Clone, Copy)]
enum Answers {
    Both,
    Neither,
    Ours(&'static str),
    Theirs(&'static str),
}

use crate::shared::programs::{REFERENCE, program};
use Answers::{Both, Neither, Ours, Theirs};

/// An odd call. Unless it is an ADD itself, an ordinary ADD comes before it.
struct Odd {
    plugin: &'static str,
    verb: &'static str,
    keys: Value,
    env: (&'static str, &'static str),
    answers: Answers,
}

fn conf(plugin: &str) -> Value {
    let mut conf = json!({"cniVersion": "1.0.0", "name": "net", "type": plugin});
    match plugin {
        "host-local" => conf["ipam"] = json!({"type": "host-local", "subnet": "10.1.0.0/24"}),
        "portmap" => {
            conf["prevResult"] = result();
            conf["backend"] = json!("iptables");
            conf["runtimeConfig"] =
                json!({"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]});
        }
        _ => {}
    }
    conf
}

fn result() -> Value {
    json!({
        "cniVersion": "1.0.0", "interfaces": [{"name": "br0"}, {"name": "eth0", "sandbox": "/run/netns/c"}],
        "ips": [{"address": "10.1.0.9/24", "interface": 1}], "routes": [{"dst": "0.0.0.0/0"}],
        "dns": {"nameservers": []}
    })
}

const REMOVES: &str = "a DEL that fails leaves what it should have removed, for good";

/// Ways to write `CNI_ARGS` and `CNI_NETNS`.
fn environments() -> Vec<Odd> {
    let mut odd = Vec::new();
    let mut call = |plugin, verb, name, value, answers| {
        odd.push(Odd { plugin, verb, keys: json!({}), env: (name, value), answers });
    };
    for verb in ["ADD", "CHECK", "DEL"] {
        for args in ["none", "IP", "X=a=b", "A=1", "IP=10.1.0.7;", "IgnoreUnknown=1;A=1"] {
            call("loopback", verb, "CNI_ARGS", args, Both);
        }
        for args in ["none", "IP", "X=a=b"].into_iter().filter(|_| verb != "CHECK") {
            // The reference's CHECK (1.1.1) also looks for the port in the family of which the container has no address.
            call("portmap", verb, "CNI_ARGS", args, Both);
        }
        for netns in ["/dev/null", "/some/where", "nowhere"] {
            call("host-local", verb, "CNI_NETNS", netns, Both);
            if verb != "CHECK" {
                call("portmap", verb, "CNI_NETNS", netns, Both);
                let gone = match (verb, netns) {
                    ("ADD", _) => Neither,
                    (_, "/dev/null") => Ours(REMOVES),
                    _ => Both,
                };
                call("loopback", verb, "CNI_NETNS", netns, gone);
            }
        }
        for args in ["none", "IP=10.1.0.7;", "A=1", "X=a=b"] {
            call(
                "host-local",
                verb,
                "CNI_ARGS",
                args,
                Ours("an argument that no program reads does no harm"),
            );
        }
        call("host-local", verb, "CNI_ARGS", "IgnoreUnknown=1;A=1", Both);
        let meant = if verb == "ADD" { Neither } else { Ours(REMOVES) };
        call("host-local", verb, "CNI_ARGS", "IP", meant);
    }
    call("host-local", "ADD", "CNI_ARGS", "IP=10.1.0.7", Both);
    call("host-local", "ADD", "CNI_ARGS", "IP=::ffff:10.1.0.7", Both);
    call("host-local", "ADD", "CNI_ARGS", "IP=10.1.0.07", Neither);
    call("host-local", "ADD", "CNI_ARGS", "IP=", Both);
    odd
}

/// Ways to write a previous result.
fn results() -> Vec<Odd> {
    let (address, gateway) = ("/ips/0/address", "10.1.0.1");
    let mut with_gateway = result();
    with_gateway["ips"][0]["gateway"] = gateway.into();
    let rows = [
        (set(&result(), "/ips/0/interface", -1), Both, Both),
        (
            set(&result(), "/ips/0/interface", 7),
            Theirs("the result names an interface that it does not have"),
            Both,
        ),
        (set(&result(), address, "10.1.0.9"), Neither, Ours(REMOVES)),
        (set(&result(), address, "10.1.0.09/24"), Neither, Ours(REMOVES)),
        (set(&result(), address, "10.1.0.9/255.255.255.0"), Neither, Ours(REMOVES)),
        (set(&result(), address, "fe80::1%eth0/64"), Neither, Ours(REMOVES)),
        (set(&result(), address, "::ffff:10.1.0.9/120"), Both, Both),
        (set(&with_gateway, "/ips/0/gateway", "::ffff:10.1.0.1"), Both, Both),
        (set(&with_gateway, "/ips/0/gateway", ""), Both, Both),
        (set(&with_gateway, "/ips/0/gateway", "0.0.0.0"), Both, Both),
        (set(&result(), "/routes/0", json!({"dst": "0.0.0.0/0", "gw": "0.0.0.0"})), Both, Both),
        (set(&result(), "/routes/0", json!({"dst": "::/0", "gw": "::"})), Both, Both),
        (
            set(&result(), "/routes/0", json!({"dst": "::ffff:10.9.0.0/112", "gw": "::ffff:10.1.0.7"})),
            Both,
            Both,
        ),
        (set(&result(), "/routes/0/dst", "0.0.0.0"), Neither, Ours(REMOVES)),
        (set(&result(), "/cniVersion", "2.0.0"), Neither, Ours(REMOVES)),
        (set(&result(), "/dns/nameservers", "10.1.0.1"), Neither, Ours(REMOVES)),
        (json!("x"), Neither, Ours(REMOVES)),
        (json!({}), Both, Both),
    ];
    let mut odd = Vec::new();
    for (previous, made, removed) in rows {
        let mut call = |plugin, verb, answers| {
            let keys = json!({"prevResult": previous});
            odd.push(Odd { plugin, verb, keys, env: ("CNI_ARGS", ""), answers });
        };
        // host-local never reads prevResult, nor do loopback's CHECK and DEL.
        call("host-local", "ADD", Both);
        call("host-local", "DEL", Both);
        call("loopback", "CHECK", Both);
        call("loopback", "DEL", Both);
        call("loopback", "ADD", made);
        call("portmap", "ADD", made);
        call("portmap", "DEL", removed);
    }
    odd
}

/// Ways to write a configuration.
fn configurations() -> Vec<Odd> {
    const BESIDE: &str =
        "Docker gives an address of the subnet outside --ip-range to a container that asks for it";
    let ipam = |keys: Value| json!({"ipam": with(&json!({"type": "host-local"}), &keys)});
    let single = |key: &str, value: &str| {
        let mut keys = json!({"subnet": "10.1.0.0/24"});
        keys[key] = value.into();
        ipam(keys)
    };
    let route = |route: Value| ipam(json!({"subnet": "10.1.0.0/24", "routes": [route]}));
    let dual = ipam(json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]}));
    let asked = |keys: &Value, runtime: &[&str], args: &[&str]| {
        with(keys, &json!({"runtimeConfig": {"ips": runtime}, "args": {"cni": {"ips": args}}}))
    };
    let part = ipam(json!({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.20"}));
    let add = |keys, args, answers| Odd {
        plugin: "host-local",
        verb: "ADD",
        keys,
        env: ("CNI_ARGS", args),
        answers,
    };
    let del = |plugin, keys, answers| Odd { plugin, verb: "DEL", keys, env: ("CNI_ARGS", ""), answers };
    let changed = Ours(REMOVES);
    vec![
        add(single("subnet", "::ffff:10.1.0.0/120"), "", Ours("it means 10.1.0.0/24, as everywhere else")),
        add(single("subnet", "10.1.0.0/024"), "", Both),
        add(single("subnet", "10.1.00.0/24"), "", Neither),
        add(single("subnet", "10.1.0.0/255.255.255.0"), "", Neither),
        add(single("rangeStart", "::ffff:10.1.0.9"), "", Both),
        add(single("rangeStart", "10.1.0.09"), "", Neither),
        add(single("gateway", "::ffff:10.1.0.9"), "", Both),
        add(single("gateway", "0.0.0.0"), "", Both),
        add(single("gateway", ""), "", Both),
        add(route(json!({"dst": "0.0.0.0/0", "gw": ""})), "", Both),
        add(route(json!({"dst": "0.0.0.0/0", "gw": "0.0.0.0"})), "", Both),
        add(route(json!({"dst": "0.0.0.0/0", "gw": "::ffff:10.1.0.7"})), "", Both),
        add(route(json!({"dst": "::ffff:10.9.0.0/112", "gw": "10.1.0.7"})), "", Both),
        add(route(json!({"dst": "10.9.0.0"})), "", Neither),
        add(asked(&dual, &["fd00:1::50"], &[]), "IP=10.1.0.50", Both),
        add(asked(&dual, &[], &["fd00:1::50/64"]), "IP=10.1.0.50", Both),
        add(asked(&dual, &["10.1.0.50"], &["fd00:1::50"]), "", Both),
        add(asked(&dual, &["10.1.0.50", "10.1.0.50/24"], &["10.1.0.50"]), "IP=10.1.0.50", Both),
        add(asked(&dual, &["10.1.0.50"], &[]), "IP=10.1.0.51", Neither),
        add(asked(&dual, &["10.1.0.1"], &[]), "", Neither),
        add(asked(&dual, &["10.1.0.255"], &[]), "", Neither),
        add(asked(&dual, &["10.2.0.5"], &[]), "", Neither),
        add(asked(&dual, &[""], &[]), "", Neither),
        add(asked(&part, &["10.1.0.15"], &[]), "", Both),
        add(asked(&part, &["10.1.0.5"], &[]), "", Ours(BESIDE)),
        del(
            "host-local",
            ipam(json!({"ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.2.0.1"}]]})),
            changed,
        ),
        del("host-local", ipam(json!({"ranges": "x"})), changed),
        del("host-local", ipam(json!({"subnet": "10.1.0.0/24", "dataDir": 7})), changed),
        del("host-local", json!({"ipam": "x"}), changed),
        del("host-local", json!({"args": 7}), changed),
        del("host-local", json!({"runtimeConfig": "x"}), changed),
        del("host-local", json!({"cniVersion": "9.0.0"}), changed),
        del("host-local", json!({"cniVersion": 7}), changed),
        del("host-local", json!({"type": 7}), Both),
        del("portmap", json!({"runtimeConfig": {"portMappings": "x"}}), changed),
        del("portmap", json!({"runtimeConfig": {"portMappings": [{"hostPort": "x"}]}}), changed),
        del("portmap", json!({"markMasqBit": 99}), changed),
        del("portmap", json!({"cniVersion": "9.0.0"}), changed),
    ]
}

/// The part of an answer that must be equal in both programs; `None` where the call failed.
fn comparable(answer: &Answer) -> Option<Value> {
    let output = answer.output();
    if !output.status.success() {
        return None;
    }
    let mut result: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    // Go's programs print empty values differently by version. Ours leave out an interface of -1.
    if let Some(result) = result.as_object_mut() {
        result.retain(|_, value| !value.is_null() && *value != json!([]) && *value != json!({}));
    }
    for ip in result["ips"].as_array_mut().into_iter().flatten() {
        ip.as_object_mut().unwrap().retain(|key, value| key != "interface" || value.as_i64() != Some(-1));
    }
    Some(result)
}

#[test]
fn odd_calls_are_answered_as_the_reference_answers_them_unless_said() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let newest = Path::new(NEWEST).is_dir().then_some(NEWEST);
        for odd in environments().into_iter().chain(results()).chain(configurations()) {
            let Odd { plugin, verb, keys, env: (name, value), answers } = odd;
            let netns = Namespaced::new("c");
            let run = |program: &str| {
                let call = |verb: &str, conf: &Value| {
                    Call::new(program, verb, conf).of("c1", &netns, "eth0").env("PATH", PATH)
                };
                let plain = conf(plugin);
                let made = (verb != "ADD").then(|| call("ADD", &plain).run().result());
                let mut asked = with(&plain, &keys);
                if plugin == "host-local" && verb == "CHECK" {
                    asked["prevResult"] = made.unwrap();
                }
                let answer = comparable(&call(verb, &asked).env(name, value).run());
                call("DEL", &plain).run().silent();
                // The reference never removes its empty chains.
                let _ = sandbox::run(std::process::Command::new("nft").args(["flush", "ruleset"]), b"");
                std::fs::remove_dir_all("/var/lib/cni/networks").unwrap_or_default();
                answer
            };
            let what = format!("{verb} of {plugin} with {name}={value} {keys}");
            let ours = run(program(plugin));
            for folder in [Some(REFERENCE), newest].into_iter().flatten() {
                let theirs = run(&format!("{folder}/{plugin}"));
                let (wanted, why) = match answers {
                    Both => ((true, true), "alike"),
                    Neither => ((false, false), "alike"),
                    Ours(why) => ((true, false), why),
                    Theirs(why) => ((false, true), why),
                };
                let found = (ours.is_some(), theirs.is_some());
                assert_eq!(found, wanted, "{what}, {folder}, {why}: {ours:?} {theirs:?}");
                if let (Some(ours), Some(theirs)) = (&ours, theirs) {
                    assert_eq!(*ours, theirs, "{what}, {folder}");
                }
            }
            drop(netns);
        }
        before.assert_unchanged();
    });
}
