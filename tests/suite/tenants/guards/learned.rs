//! What a bridge learns from its ports.

use std::fs;
use std::process::Command;

use netlink::Socket;
use sandbox::{Host, Namespaced, Snapshot, isolated};
use serde_json::json;

use super::EVERYBODY;
use super::frames::{frame, send_all};
use crate::bridge::{add, call, conf};

/// How many hardware addresses a bridge has learned.
pub(super) fn learned(bridge: &str) -> usize {
    let output = Command::new("bridge").args(["fdb", "show", "br", bridge, "dynamic"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).lines().count()
}

/// A container sends from 6,000 hardware addresses.
pub(super) fn flood(netns: &Namespaced) {
    let frames: Vec<Vec<u8>> = (0..6_000_u16)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            frame(EVERYBODY, [2, 0x66, 0, 0, high, low], 0x88b5, &[0; 46])
        })
        .collect();
    netns.enter(|| send_all("eth0", &frames));
}

#[test]
fn what_a_bridge_learns_from_its_ports_has_a_bound() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let evil = Namespaced::new("evil");
        add(&conf(), "evil", &evil);
        let bound = || Socket::open().unwrap().get_link("br0").unwrap().unwrap().fdb_max_learned;
        if bound().is_none() {
            // Such a kernel must really be older than Linux 6.8, which brought it.
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
        // A bridge of the version before had none: the next ADD bounds it.
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
