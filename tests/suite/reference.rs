//! The reference plugins of the Debian package containernetworking-plugins and ours, given the same configurations:
//! results, leases and the kernel's state must be the same, except for what is listed here with its reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use sandbox::{Call, Host, Namespaced, Snapshot, isolated};
use serde_json::{Value, json};

use crate::shared::beside::{json_of, leases};
use crate::shared::iptables::saved;
use crate::shared::programs::{BRIDGE, REFERENCE, folder};

/// Configurations, each as keys that are added to the one of [`base`], with the environment's `CNI_ARGS`.
fn cases() -> Vec<(&'static str, Value, &'static str)> {
    let ipam =
        |ranges: Value| json!({"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]});
    let v4 = json!([[{"subnet": "10.1.0.0/24"}]]);
    let dual = json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]);
    vec![
        ("a port without addresses", json!({"ipam": null}), ""),
        ("addresses without a gateway", json!({"ipam": ipam(v4.clone())}), ""),
        ("a gateway", json!({"isGateway": true, "ipam": ipam(v4.clone())}), ""),
        (
            "a default gateway",
            json!({"isDefaultGateway": true, "ipam": {"type": "host-local", "ranges": v4.clone()}}),
            "",
        ),
        (
            "both families",
            json!({"isDefaultGateway": true, "ipam": {"type": "host-local", "ranges": dual.clone()}}),
            "",
        ),
        (
            "hairpin and MTU",
            json!({"isGateway": true, "hairpinMode": true, "mtu": 1400, "ipam": ipam(v4.clone())}),
            "",
        ),
        ("promiscuous", json!({"isGateway": true, "promiscMode": true, "ipam": ipam(v4.clone())}), ""),
        ("0.4.0", json!({"cniVersion": "0.4.0", "isGateway": true, "ipam": ipam(dual)}), ""),
        ("0.3.1", json!({"cniVersion": "0.3.1", "isGateway": true, "ipam": ipam(v4.clone())}), ""),
        ("0.2.0", json!({"cniVersion": "0.2.0", "isGateway": true, "ipam": ipam(v4.clone())}), ""),
        (
            "a part of a subnet, with a gateway of its own",
            json!({"isGateway": true, "ipam": ipam(json!([[
                {"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.50", "rangeEnd": "10.1.0.60", "gateway": "10.1.0.254"}
            ]]))}),
            "",
        ),
        (
            "the keys of a single range",
            json!({"ipam": {"type": "host-local", "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9"}}),
            "",
        ),
        (
            "a route with a next hop",
            json!({"ipam": {
                "type": "host-local", "ranges": v4, "routes": [{"dst": "10.9.0.0/16", "gw": "10.1.0.77"}]
            }}),
            "",
        ),
        (
            "a requested address",
            json!({"isGateway": true, "ipam": ipam(json!([[{"subnet": "10.1.0.0/24"}]]))}),
            "IgnoreUnknown=1;IP=10.1.0.33",
        ),
        (
            "a requested MAC",
            json!({"runtimeConfig": {"mac": "02:00:00:00:00:77"}, "ipam": ipam(json!([[{"subnet": "10.1.0.0/24"}]]))}),
            "",
        ),
        (
            "name servers",
            json!({"dns": {"nameservers": ["10.1.0.1"]}, "ipam": ipam(json!([[{"subnet": "10.1.0.0/24"}]]))}),
            "",
        ),
        (
            "masquerading with iptables",
            json!({"isGateway": true, "ipMasq": true, "ipMasqBackend": "iptables", "ipam": ipam(json!([
                [{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]
            ]))}),
            "",
        ),
    ]
}

/// Spellings that Go's parsers accept.
fn spellings() -> Vec<(&'static str, Value, &'static str)> {
    let v4 = json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]});
    let dual =
        json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]});
    vec![
        (
            "a requested MAC with dashes",
            json!({"runtimeConfig": {"mac": "02-00-00-00-00-77"}, "ipam": v4}),
            "",
        ),
        ("a requested MAC with dots", json!({"ipam": v4}), "IgnoreUnknown=1;MAC=0200.0000.0077"),
        (
            "requests of both families by two ways",
            json!({"runtimeConfig": {"ips": ["fd00:1::50"]}, "ipam": dual}),
            "IgnoreUnknown=1;IP=10.1.0.50",
        ),
        (
            "next hops that are unspecified, empty, and of IPv4 within IPv6",
            json!({"isGateway": true, "ipam": {
                "type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24", "gateway": "::ffff:10.1.0.9"}]], "routes": [
                    {"dst": "0.0.0.0/0", "gw": "0.0.0.0"}, {"dst": "10.9.0.0/16", "gw": ""},
                    {"dst": "::ffff:10.8.0.0/112", "gw": "::ffff:10.1.0.77"}
                ]
            }}),
            "",
        ),
        (
            "a gateway that is unspecified",
            json!({"isGateway": true, "ipam": {
                "type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24", "gateway": "0.0.0.0"}]],
                "routes": [{"dst": "0.0.0.0/0"}]
            }}),
            "",
        ),
    ]
}

fn base() -> Value {
    json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0"})
}

#[test]
fn the_same_configurations_give_the_same_results_and_the_same_state() {
    isolated(|| {
        let _host = Host::new();
        for (name, keys, args) in cases().into_iter().chain(spellings()) {
            let mut conf = base();
            for (key, value) in keys.as_object().unwrap() {
                if value.is_null() {
                    conf.as_object_mut().unwrap().remove(key);
                } else {
                    conf[key] = value.clone();
                }
            }
            let theirs = attach(Path::new(REFERENCE), &conf, args);
            let ours = attach(folder(), &conf, args);
            for (what, theirs) in &theirs {
                assert_eq!(ours.get(what), Some(theirs), "{name}: {what}");
            }
            assert_eq!(ours.len(), theirs.len(), "{name}: {ours:#?}");
        }
    });
}

/// Makes an attachment and removes it. Returns the result, and the state before and after the removal, by name.
fn attach(plugins: &Path, conf: &Value, args: &str) -> BTreeMap<String, Value> {
    let netns = Namespaced::new("c");
    let program = plugins.join("bridge").display().to_string();
    let call = |command: &str| {
        Call::new(&program, command, conf)
            .of("c", &netns, "eth0")
            .env("CNI_ARGS", args)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    };
    let mut seen = BTreeMap::new();
    let result = call("ADD").run().result();
    seen.insert("result".to_owned(), told(&result));
    // CHECK agrees with the result of ADD.
    if plugins == folder() && !["0.2.0", "0.3.1"].contains(&conf["cniVersion"].as_str().unwrap()) {
        let mut checked = conf.clone();
        checked["prevResult"] = result;
        call("CHECK").stdin(checked.to_string().as_bytes()).run().silent();
    }
    for (place, state) in [("host", observe(None)), ("container", observe(Some(&netns)))] {
        seen.extend(state.into_iter().map(|(what, value)| (format!("{place}: {what}"), value)));
    }
    seen.insert("leases".to_owned(), leases("net"));
    seen.insert("iptables".to_owned(), json!(saved("nft")));
    call("DEL").run().silent();
    seen.insert("leases after DEL".to_owned(), leases("net"));
    seen.insert("iptables after DEL".to_owned(), json!(saved("nft")));
    // The reference leaves its bridge, and ours removes it: an intended difference.
    let _ = Command::new("ip").args(["link", "del", "br0"]).status();
    fs::remove_dir_all("/var/lib/cni").ok();
    seen
}

/// A result without what differs in each run.
fn told(result: &Value) -> Value {
    let mut result = result.clone();
    for interface in result["interfaces"].as_array_mut().into_iter().flatten() {
        if interface["name"].as_str().unwrap().starts_with("veth") {
            interface["name"] = json!("a veth");
        }
        if interface["mac"] != "02:00:00:00:00:77" {
            interface["mac"] = json!("a hardware address");
        }
        // The reference of Debian 12 reports no MTU in any version; ours does from 1.1.0 on.
        assert!(interface.get("mtu").is_none());
    }
    result
}

/// Addresses, routes, settings of the bridge and its port, and sysctls, of one namespace.
fn observe(netns: Option<&Namespaced>) -> BTreeMap<String, Value> {
    let look = || {
        let mut state = BTreeMap::new();
        let link = if netns.is_some() { "eth0" } else { "br0" };
        for address in json_of("ip", &["-j", "addr", "show", "dev", link])[0]["addr_info"].as_array().unwrap()
        {
            // Link-local addresses are derived from the random hardware address.
            if address["scope"] != "link" {
                let key = format!("address {}", address["local"].as_str().unwrap());
                state.insert(key, json!([address["prefixlen"], address["broadcast"], address["scope"]]));
            }
        }
        let details = &json_of("ip", &["-j", "-d", "link", "show", "dev", link])[0];
        let is_promiscuous = details["flags"].as_array().unwrap().contains(&json!("PROMISC"));
        state.insert(
            "link".to_owned(),
            json!([details["mtu"], is_promiscuous, details["linkinfo"]["info_kind"]]),
        );
        for family in ["-4", "-6"] {
            for route in json_of("ip", &["-j", family, "route", "show", "dev", link]).as_array().unwrap() {
                if route["dst"] != "fe80::/64" {
                    let told =
                        ["gateway", "scope", "metric", "prefsrc", "protocol"].map(|key| route[key].clone());
                    state.insert(format!("route {}", route["dst"].as_str().unwrap()), json!(told));
                }
            }
        }
        for port in json_of("bridge", &["-j", "-d", "link", "show"]).as_array().into_iter().flatten() {
            if port["master"] == "br0" {
                let told = ["hairpin", "isolated", "learning", "flood", "mtu"].map(|key| port[key].clone());
                state.insert("port".to_owned(), json!(told));
            }
        }
        for name in ["arp_notify", "forwarding"] {
            let file = format!("/proc/sys/net/ipv4/conf/{link}/{name}");
            state.insert(name.to_owned(), fs::read_to_string(file).unwrap().trim().into());
        }
        state
    };
    match netns {
        Some(netns) => netns.enter(look),
        None => look(),
    }
}

/// A node changes its plugins while containers run: each program removes what the other made.
#[test]
fn either_program_removes_what_the_other_made() {
    isolated(|| {
        let _host = Host::new();
        let mut conf = base();
        conf["isGateway"] = json!(true);
        conf["ipam"] = json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]});
        for (maker, remover) in [(Path::new(REFERENCE), folder()), (folder(), Path::new(REFERENCE))] {
            // Both lease from one folder, and neither gives an address twice.
            let (a, b) = (Namespaced::new("a"), Namespaced::new("b"));
            let call = |plugins: &Path, command: &str, netns: &Namespaced| {
                let program = plugins.join("bridge").display().to_string();
                Call::new(&program, command, &conf)
                    .of(netns.name(), netns, "eth0")
                    .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                    .run()
            };
            let made = call(maker, "ADD", &a).result();
            let other = call(remover, "ADD", &b).result();
            assert_ne!(made["ips"][0]["address"], other["ips"][0]["address"]);
            call(remover, "DEL", &a).silent();
            call(maker, "DEL", &b).silent();
            for netns in [&a, &b] {
                let links = netns.enter(|| json_of("ip", &["-j", "link"]));
                assert_eq!(links.as_array().unwrap().len(), 1, "{links}");
            }
            let left = leases("net");
            let names: Vec<&String> = left.as_object().unwrap().keys().collect();
            assert_eq!(names, ["last_reserved_ip.0", "last_reserved_ip.1", "lock"]);
        }
    });
}

#[test]
fn an_ipam_plugin_of_the_reference_gets_every_verb() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let netns = Namespaced::new("c");
        let mut conf = base();
        conf["isGateway"] = json!(true);
        conf["ipam"] = json!({
            "type": "static", "addresses": [{"address": "10.1.0.7/24", "gateway": "10.1.0.1"}], "dns": {"nameservers": ["10.1.0.1"]}
        });
        let path = format!("{}:{REFERENCE}", folder().display());
        let call = |command: &str, conf: &Value| {
            Call::new(BRIDGE, command, conf).of("c", &netns, "eth0").env("CNI_PATH", &path)
        };
        let result = call("ADD", &conf).run().result();
        assert_eq!(result["ips"], json!([{"interface": 2, "address": "10.1.0.7/24", "gateway": "10.1.0.1"}]));
        assert_eq!(result["dns"], json!({"nameservers": ["10.1.0.1"]}));
        conf["prevResult"] = result;
        call("CHECK", &conf).run().silent();
        call("DEL", &conf).run().silent();
        let (code, said) = call("ADD", &conf).env("CNI_PATH", "/nowhere").run().error();
        assert_eq!(code, 7);
        assert!(said.contains("no plugin \"static\" in CNI_PATH"), "{said}");
        drop(netns);
        before.assert_unchanged();
    });
}
