//! What a bridge learns from its ports.

use std::fs;

use netlink::Socket;
use sandbox::{Host, Namespaced, Snapshot, isolated};
use serde_json::json;

use super::flood::{flood, learned};
use crate::shared::bridge::{add, call, conf};

#[test]
fn what_a_bridge_learns_from_its_ports_has_a_bound() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let evil = Namespaced::new("evil");
        add(&conf(), "evil", &evil);
        let bound = || Socket::open().unwrap().get_link("br0").unwrap().unwrap().fdb_max_learned;
        if bound().is_none() {
            // A kernel without this attribute must be older than Linux 6.8, which introduced it.
            let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
            let mut numbers =
                release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or_default());
            assert!((numbers.next(), numbers.next()) < (Some(6), Some(8)), "{release}");
            return;
        }
        assert_eq!(bound(), Some(4096));
        flood(&evil);
        let count = learned("br0");
        assert!((4000..=4096).contains(&count), "{count}");
        // A bridge of the previous version has no bound: the next ADD sets it.
        Socket::open()
            .and_then(|mut socket| {
                let bridge = socket.get_link("br0")?.unwrap();
                socket.set_fdb_max_learned(bridge.index, 0)
            })
            .unwrap();
        flood(&evil);
        assert!(learned("br0") > 5_900, "{}", learned("br0"));
        let other = Namespaced::new("other");
        add(&conf(), "other", &other);
        assert_eq!(bound(), Some(4096));
        for (id, netns) in [("evil", &evil), ("other", &other)] {
            call("DEL", &conf(), id, netns).run().silent();
        }
        drop((evil, other));
        before.assert_unchanged();
    });
}

#[test]
fn who_sends_from_its_own_hardware_address_teaches_no_other() {
    isolated(|| {
        let _host = Host::new();
        for key in ["macspoofchk", "ipspoofchk"] {
            let mut network = conf();
            network[key] = json!(true);
            let evil = Namespaced::new("evil");
            add(&network, "evil", &evil);
            flood(&evil);
            let count = learned("br0");
            assert!(count <= 1, "{key}: {count}");
            call("DEL", &network, "evil", &evil).run().silent();
        }
    });
}
