//! Router advertisements of a container.

use sandbox::{Host, Namespaced, isolated};
use serde_json::{Value, json};

use super::false_router::{follow, set};
use crate::shared::bridge::{add, call, conf};
use crate::shared::programs::REFERENCE;
use crate::shared::shell::shell;

/// A network without IPv6 addresses, except for those that the kernel assigns itself.
fn of_ipv4() -> Value {
    let mut conf = conf();
    conf["ipam"] = json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]});
    conf
}

#[test]
fn advertisements_of_a_container_reach_neither_host_nor_others() {
    isolated(|| {
        let _host = Host::new();
        for (made_before, mut network) in
            [(false, of_ipv4()), (true, of_ipv4()), (false, conf()), (false, of_static("10.1.0.7/24"))]
        {
            set("all/forwarding", "0");
            set("default/accept_ra", "1");
            if made_before {
                shell("ip link add br0 type bridge && ip link set br0 up");
            }
            let (evil, peer) = (Namespaced::new("evil"), Namespaced::new("peer"));
            let added = |network: &Value, id: &str, netns: &Namespaced| {
                call("ADD", network, id, netns).env("CNI_PATH", REFERENCE).run().result()
            };
            added(&network, "evil", &evil);
            if network["ipam"]["type"] == "static" {
                network = of_static("10.1.0.8/24");
            }
            let result = added(&network, "peer", &peer);
            set("all/forwarding", "0");
            assert_eq!(follow(&evil, &peer), (false, false), "{made_before} {network}");
            // CHECK fails where an administrator switches it on again.
            set("br0/accept_ra", "2");
            assert_eq!(follow(&evil, &peer), (false, true));
            let mut checked = network.clone();
            checked["prevResult"] = result;
            let check = call("CHECK", &checked, "peer", &peer).env("CNI_PATH", REFERENCE);
            let (code, said) = check.run().error();
            assert!(code == 101 && said.contains("br0/accept_ra is not 0"), "{said}");
            shell("ip -6 route flush proto ra; ip -6 addr flush dev br0 scope global dynamic");
            for (id, netns) in [("evil", &evil), ("peer", &peer)] {
                call("DEL", &checked, id, netns).env("CNI_PATH", REFERENCE).run().silent();
            }
            if made_before {
                shell("ip link del br0");
            }
        }
    });
}

/// A network with another IPAM plugin: the interface is up before its addresses are known.
fn of_static(address: &str) -> Value {
    let mut conf = conf();
    conf["ipam"] = json!({"type": "static", "addresses": [{"address": address}]});
    conf
}

#[test]
fn advertisements_are_heeded_where_they_are_asked_for_and_where_nobody_else_gives_addresses() {
    isolated(|| {
        let _host = Host::new();
        let mut asked = of_ipv4();
        asked["acceptRA"] = json!(true);
        let mut of_nobody = conf();
        of_nobody.as_object_mut().unwrap().remove("ipam");
        of_nobody["isGateway"] = json!(false);
        of_nobody["ipMasq"] = json!(false);
        for network in [asked, of_nobody] {
            let (router, peer) = (Namespaced::new("router"), Namespaced::new("peer"));
            add(&network, "router", &router);
            add(&network, "peer", &peer);
            assert_eq!(follow(&router, &peer), (true, false), "{network}");
            for (id, netns) in [("router", &router), ("peer", &peer)] {
                call("DEL", &network, id, netns).run().silent();
            }
        }
    });
}

#[test]
fn who_is_held_to_its_addresses_advertises_nothing() {
    isolated(|| {
        let _host = Host::new();
        for (bound, heard) in [(false, true), (true, false)] {
            let mut network = of_ipv4();
            network["acceptRA"] = json!(true);
            network["ipspoofchk"] = json!(bound);
            let (evil, peer) = (Namespaced::new("evil"), Namespaced::new("peer"));
            add(&network, "evil", &evil);
            add(&network, "peer", &peer);
            assert_eq!(follow(&evil, &peer).0, heard);
            for (id, netns) in [("evil", &evil), ("peer", &peer)] {
                call("DEL", &network, id, netns).run().silent();
            }
        }
    });
}
