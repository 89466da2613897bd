//! Why an ADD announces the container's addresses to every port of the bridge, which takes the kernel some 3 µs a port: a
//! neighbour keeps the hardware address by which it has known an IP address, and the next container with that address has
//! another one. Were hardware addresses derived from IP addresses, this would still hold where the one before was attached by
//! another plugin or an older version, where one of the two has a hardware address of its own, and where the IPv6 address
//! goes with another IPv4 address than before.

use std::time::{Duration, Instant};

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Answer, Call, Host, Namespaced, isolated};
use serde_json::{Value, json};

use crate::shared::bridge::{add, conf};
use crate::shared::programs::{BRIDGE, REFERENCE};
use crate::shared::shell::shell;

const ADDRESSES: [&str; 2] = ["10.1.0.9", "fd00:1::9"];
/// A neighbour without announcement finds out after more than a second, Linux after five.
const AT_ONCE: Duration = Duration::from_millis(500);

/// Asks for both addresses.
fn with_addresses(mut conf: Value) -> Value {
    conf["runtimeConfig"]["ips"] = json!([format!("{}/24", ADDRESSES[0]), format!("{}/64", ADDRESSES[1])]);
    conf["capabilities"] = json!({"ips": true, "mac": true});
    conf
}

/// A call of a bridge plugin. The reference starts host-local, which shares the leases, and iptables.
fn call_of(program: &str, verb: &str, conf: &Value, id: &str, netns: &Namespaced) -> Answer {
    let call = Call::new(program, verb, conf).of(id, netns, "eth0");
    call.env("CNI_PATH", REFERENCE).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").run()
}

/// Attaches a container, and returns its hardware address.
fn attach(program: &str, conf: &Value, id: &str, netns: &Namespaced) -> String {
    let result = call_of(program, "ADD", conf, id, netns).result();
    serve_tcp(Some(netns), id, "[::]:80");
    result["interfaces"][2]["mac"].as_str().unwrap().to_owned()
}

/// How long the neighbour takes to reach both addresses.
fn ask(neighbour: &Namespaced) -> Option<Duration> {
    let start = Instant::now();
    for address in ["10.1.0.9:80", "[fd00:1::9]:80"] {
        ask_tcp(Some(neighbour), address).ok()?;
    }
    Some(start.elapsed())
}

#[test]
fn a_neighbour_reaches_the_next_container_with_an_address_at_once() {
    isolated(|| {
        let _host = Host::new();
        let neighbour = Namespaced::new("neighbour");
        add(&conf(), "neighbour", &neighbour);
        let plain = with_addresses(conf());
        let mut own = plain.clone();
        own["runtimeConfig"]["mac"] = json!("02:00:00:00:00:77");
        let theirs = format!("{REFERENCE}/bridge");
        let pairs = [
            ((BRIDGE, &plain), (BRIDGE, &plain)),
            ((&theirs, &plain), (BRIDGE, &plain)),
            ((BRIDGE, &plain), (BRIDGE, &own)),
        ];
        for ((before, first), (after, second)) in pairs {
            let (one, other) = (Namespaced::new("one"), Namespaced::new("other"));
            let old = attach(before, first, "one", &one);
            neighbour.enter(|| shell("ip neigh flush dev eth0"));
            ask(&neighbour).unwrap();
            call_of(before, "DEL", first, "one", &one).silent();
            let new = attach(after, second, "other", &other);
            assert_ne!(old, new);
            let took = ask(&neighbour);
            assert!(took.is_some_and(|took| took < AT_ONCE), "{took:?} by {before}, then {after}");
            // As it would be without an announcement.
            for address in ADDRESSES {
                neighbour
                    .enter(|| shell(&format!("ip neigh replace {address} dev eth0 lladdr {old} nud stale")));
            }
            let took = ask(&neighbour);
            assert!(took.is_none_or(|took| took > AT_ONCE), "{took:?} with the hardware address of before");
            call_of(after, "DEL", second, "other", &other).silent();
        }
    });
}
