//! The reference's macvlan of the Debian package and ours, given the same configurations: results, leases, links, addresses and
//! routes are the same, except for what is listed here with its reason. So is that of the newest package.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sandbox::{Call, Host, Namespaced, isolated};
use serde_json::{Value, json};

use super::lan::conf;
use crate::shared::beside::{json_of, leases};
use crate::shared::programs::{REFERENCE, folder};

/// What differs, and why.
///
/// - `alias`: by it people and GC know whose a link is.
///
/// Besides, without a key `dns` the reference drops what IPAM gave, which ours hands on, as both bridge plugins do: see
/// [`name_servers_of_ipam_are_handed_on`].
const DIFFERENCES: [&str; 1] = ["alias"];

/// Keys that are added to those of the network.
fn cases() -> Vec<(&'static str, Value, &'static str)> {
    let v4 = |more: &Value| {
        let mut range = json!({"subnet": "192.0.2.0/24", "rangeStart": "192.0.2.64"});
        range.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"type": "host-local", "ranges": [[range]], "routes": [{"dst": "0.0.0.0/0"}]})
    };
    vec![
        ("both families", json!({}), ""),
        ("no addresses", json!({"ipam": null}), ""),
        ("the default route's interface", json!({"master": null}), ""),
        ("private", json!({"mode": "private"}), ""),
        ("vepa", json!({"mode": "vepa"}), ""),
        ("passthru", json!({"mode": "passthru"}), ""),
        ("MTU", json!({"mtu": 1300}), ""),
        ("a gateway that nobody named", json!({"ipam": v4(&json!({}))}), ""),
        ("an address that was asked for", json!({"ipam": v4(&json!({}))}), "IgnoreUnknown=1;IP=192.0.2.77"),
        ("a MAC of the configuration", json!({"mac": "02:00:00:00:00:77"}), ""),
        (
            "a MAC of the environment",
            json!({"mac": "02:00:00:00:00:66"}),
            "IgnoreUnknown=1;MAC=02:00:00:00:00:77",
        ),
        (
            "a MAC of the runtime",
            json!({"runtimeConfig": {"mac": "02:00:00:00:00:77"}}),
            "IgnoreUnknown=1;MAC=02:00:00:00:00:66",
        ),
        ("name servers", json!({"dns": {"nameservers": ["192.0.2.2"]}}), ""),
        ("0.4.0", json!({"cniVersion": "0.4.0"}), ""),
        ("0.3.1", json!({"cniVersion": "0.3.1"}), ""),
        ("0.2.0", json!({"cniVersion": "0.2.0", "ipam": v4(&json!({}))}), ""),
    ]
}

#[test]
fn the_same_configurations_give_the_same_results_and_the_same_state() {
    isolated(|| {
        let _host = Host::new();
        let newest = folder().join("../../debian-newer/containernetworking-plugins/usr/lib/cni");
        for (name, keys, args) in cases() {
            let mut conf = conf(&keys);
            if keys.get("cniVersion").is_none() {
                conf["cniVersion"] = json!("1.0.0");
            }
            let ours = attach(folder(), &conf, args);
            for reference in [Path::new(REFERENCE), newest.as_path()] {
                let theirs = attach(reference, &conf, args);
                for (what, theirs) in &theirs {
                    if DIFFERENCES.contains(&what.as_str()) {
                        assert_ne!(ours.get(what), Some(theirs), "{name}: {what} is said to differ");
                    } else {
                        assert_eq!(ours.get(what), Some(theirs), "{name}: {what} of {}", reference.display());
                    }
                }
                assert_eq!(ours.len(), theirs.len(), "{name}: {ours:#?} {theirs:#?}");
            }
        }
    });
}

#[test]
fn name_servers_of_ipam_are_handed_on() {
    isolated(|| {
        let _host = Host::new();
        fs::write("/run/resolv.conf", "nameserver 192.0.2.2\n").unwrap();
        let mut conf = conf(&json!({"cniVersion": "1.0.0"}));
        conf["ipam"]["resolvConf"] = json!("/run/resolv.conf");
        let dns = |plugins: &Path| attach(plugins, &conf, "")["result"]["dns"].clone();
        assert_eq!(dns(Path::new(REFERENCE)), json!({}));
        assert_eq!(dns(folder()), json!({"nameservers": ["192.0.2.2"]}));
    });
}

/// Makes an attachment and removes it. Returns the result, and the state before and after the removal, by name.
fn attach(plugins: &Path, conf: &Value, args: &str) -> BTreeMap<String, Value> {
    let netns = Namespaced::new("c");
    let program = plugins.join("macvlan").display().to_string();
    let call = |command: &str| {
        let call = Call::new(&program, command, conf).of("c", &netns, "eth0").env("CNI_ARGS", args);
        call.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    };
    let result = call("ADD").run().result();
    let mut seen = BTreeMap::from([("result".to_owned(), told(&result))]);
    netns.enter(|| observe(&mut seen));
    seen.insert("leases".to_owned(), leases("lan"));
    call("DEL").run().silent();
    seen.insert("leases after DEL".to_owned(), leases("lan"));
    let left = netns.enter(|| json_of("ip", &["-j", "link"]));
    seen.insert("links after DEL".to_owned(), json!(left.as_array().unwrap().len()));
    fs::remove_dir_all("/var/lib/cni").ok();
    seen
}

/// A result without what differs in each run, and without what the newest reference says in versions that do not have it.
fn told(result: &Value) -> Value {
    let mut result = result.clone();
    for interface in result["interfaces"].as_array_mut().into_iter().flatten() {
        if interface["mac"] != "02:00:00:00:00:77" {
            interface["mac"] = json!("a hardware address");
        }
        interface.as_object_mut().unwrap().remove("mtu");
    }
    // The newest leaves an empty one out.
    if result["dns"].is_null() {
        result["dns"] = json!({});
    }
    result
}

/// Link, addresses, routes and sysctls of the container.
fn observe(seen: &mut BTreeMap<String, Value>) {
    let link = &json_of("ip", &["-j", "-d", "link", "show", "dev", "eth0"])[0];
    let is_up = link["flags"].as_array().unwrap().contains(&json!("UP"));
    let info = &link["linkinfo"];
    seen.insert(
        "link".to_owned(),
        json!([link["mtu"], is_up, info["info_kind"], info["info_data"]["mode"], link["group"]]),
    );
    seen.insert("alias".to_owned(), link["ifalias"].is_string().into());
    for address in json_of("ip", &["-j", "addr", "show", "dev", "eth0"])[0]["addr_info"].as_array().unwrap() {
        // Link-local addresses are derived from the random hardware address.
        if address["scope"] != "link" {
            let key = format!("address {}", address["local"].as_str().unwrap());
            seen.insert(key, json!([address["prefixlen"], address["broadcast"], address["scope"]]));
        }
    }
    for family in ["-4", "-6"] {
        for route in json_of("ip", &["-j", family, "route", "show", "dev", "eth0"]).as_array().unwrap() {
            if route["dst"] != "fe80::/64" {
                let told =
                    ["gateway", "scope", "metric", "prefsrc", "protocol"].map(|key| route[key].clone());
                seen.insert(format!("route {}", route["dst"].as_str().unwrap()), json!(told));
            }
        }
    }
    for name in ["arp_notify", "forwarding", "proxy_arp"] {
        let file = format!("/proc/sys/net/ipv4/conf/eth0/{name}");
        seen.insert(name.to_owned(), fs::read_to_string(file).unwrap().trim().into());
    }
}
