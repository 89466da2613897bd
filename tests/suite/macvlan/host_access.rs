//! `hostAccess`: host and containers reach each other, as long as there is a container.

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Call, Host, Namespaced, Snapshot, isolated};
use serde_json::json;

use super::lan::{Container, call, conf};
use crate::shared::programs::MACVLAN;
use crate::shared::shell::shell;

/// A network of IPv4: neighbour discovery does not ask on the host's own interface for an address of the master.
fn v4(host_access: bool) -> serde_json::Value {
    let ranges = json!([[{"subnet": "192.0.2.0/24", "rangeStart": "192.0.2.64", "gateway": "192.0.2.2"}]]);
    conf(&json!({"hostAccess": host_access, "ipam": {"type": "host-local", "ranges": ranges,
        "routes": [{"dst": "0.0.0.0/0"}]}}))
}

#[test]
fn host_and_containers_reach_each_other_and_nothing_stays() {
    isolated(|| {
        let host = Host::new();
        serve_tcp(None, "host", "0.0.0.0:80");
        let before = Snapshot::take();
        let (a, b) = (Container::start("a", v4(true)), Container::start("b", v4(true)));
        for container in [&a, &b] {
            let name = container.netns.name();
            let answer = ask_tcp(None, &container.servers()[0]).unwrap();
            assert_eq!(answer, format!("{name} sees 192.0.2.1"));
            let answer = ask_tcp(Some(&container.netns), "192.0.2.1:80").unwrap();
            assert!(answer.starts_with("host sees 192.0.2.6"), "{answer}");
            assert!(container.is_reached_from(Some(&host.outside)));
        }
        assert!(a.is_reached_from(Some(&b.netns)));
        // CHECK sees what is missing of it.
        shell("ip route del 192.0.2.64");
        let (code, said) = a.check().error();
        assert!(code == 101 && said.contains("the host has no route to 192.0.2.64 by mvhost"), "{said}");
        a.stop();
        assert!(b.is_reached_from(None));
        // The last one goes without its namespace, and without a previous result.
        let Container { netns, conf, .. } = b;
        let del = call("DEL", &conf, &netns).without("CNI_NETNS");
        drop(netns);
        del.run().silent();
        before.assert_unchanged();
    });
}

#[test]
fn gc_closes_what_an_ended_container_had() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let Container { netns, mut conf, .. } = Container::start("a", v4(true));
        drop(netns);
        conf["cni.dev/valid-attachments"] = json!([]);
        Call::new(MACVLAN, "GC", &conf).run().silent();
        before.assert_unchanged();
    });
}

/// Without an address of the host on the network there is nothing by which it could be reached.
#[test]
fn a_master_without_an_address_is_refused() {
    isolated(|| {
        let _host = Host::new();
        shell("ip addr flush dev uplink");
        let netns = Namespaced::new("c");
        let before = Snapshot::take();
        let (code, said) = call("ADD", &v4(true), &netns).run().error();
        assert_eq!(code, 7, "{said}");
        assert!(said.contains("master uplink has no IPv4 address"), "{said}");
        before.assert_unchanged();
    });
}
