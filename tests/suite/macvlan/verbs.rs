//! ADD, CHECK and STATUS: what is refused with which cure, and what CHECK sees.

use sandbox::{Call, Host, Namespaced, Snapshot, isolated};
use serde_json::{Value, json};

use super::lan::{Container, call, conf};
use crate::shared::programs::{IPVLAN, MACVLAN};
use crate::shared::shell::shell;

/// Every row: keys, the code and words of the error with its cure.
#[test]
fn what_cannot_be_is_refused_and_leaves_nothing() {
    isolated(|| {
        let _host = Host::new();
        shell("ip link add down type veth peer name down2");
        shell(
            "ip link add br0 type bridge && ip link add port type veth peer name port2 && ip link set port master br0",
        );
        let netns = Namespaced::new("c");
        let before = Snapshot::take();
        let within = || netns.enter(|| Snapshot::with_files_of::<&str>(&[]));
        let inside = within();
        for (keys, code, words) in [
            (
                json!({"master": "eth9"}),
                7,
                "master eth9 does not exist (name an interface that `ip link` shows",
            ),
            (json!({"master": "x", "linkInContainer": true}), 7, "master x does not exist in the container"),
            (json!({"mtu": 9000}), 7, "mtu 9000 is larger than the 1500 of master uplink (leave \"mtu\" out"),
            (json!({"mode": "l3"}), 7, "mode \"l3\" is unknown (use \"bridge\""),
            (json!({"master": "port"}), 7, "link port cannot have a macvlan: "),
            (json!({"mac": "01:00:00:00:00:01"}), 7, "multicast"),
        ] {
            let (found, said) = call("ADD", &conf(&keys), &netns).run().error();
            assert_eq!(found, code, "{said}");
            assert!(said.contains(words), "{said}");
            before.assert_unchanged();
            assert_eq!(inside, within(), "{keys}");
        }
        // The hardware address of another container on the master.
        let mac = json!({"mac": "02:00:00:00:00:77"});
        let first = Container::start("first", conf(&mac));
        let (code, said) = call("ADD", &conf(&mac), &netns).run().error();
        assert_eq!(code, 102, "{said}");
        assert!(said.contains("02:00:00:00:00:77 is in use on master uplink"), "{said}");
        assert_eq!(inside, within());
        // An interface that is there already keeps what it has.
        let again = first.call("ADD").stdin(conf(&json!({"name": "other"})).to_string().as_bytes());
        let (code, said) = again.run().error();
        assert_eq!(code, 4, "{said}");
        assert!(said.contains("interface eth0 exists in the container already"), "{said}");
        first.check().silent();
        first.stop();
        before.assert_unchanged();
    });
}

#[test]
fn check_names_what_differs_and_a_second_add_of_the_list_mends_nothing_else() {
    isolated(|| {
        let _host = Host::new();
        let keys = json!({"mtu": 1400, "bcqueuelen": 2000});
        let a = Container::start("a", conf(&keys));
        for (break_it, words, mend) in [
            ("ip link set eth0 down", "link eth0 is down", "ip link set eth0 up"),
            ("ip link set eth0 mtu 1300", "has MTU 1300, and not 1400", "ip link set eth0 mtu 1400"),
            (
                "ip addr del 192.0.2.64/24 dev eth0",
                "does not have address 192.0.2.64/24",
                "ip addr add 192.0.2.64/24 dev eth0",
            ),
            (
                "ip route replace default via 192.0.2.3",
                "does not have the route to 0.0.0.0/0",
                "ip route replace default via 192.0.2.2",
            ),
            (
                "ip link set eth0 type macvlan mode private",
                "is in mode private, and not bridge",
                "ip link set eth0 type macvlan mode bridge",
            ),
        ] {
            a.netns.enter(|| shell(break_it));
            let (code, said) = a.check().error();
            assert_eq!(code, 101, "{break_it}: {said}");
            assert!(said.contains(words), "{break_it}: {said}");
            a.netns.enter(|| shell(&format!("{mend}; ip -6 addr replace 2001:db8::64/64 dev eth0 nodad")));
            // The routes go with the link.
            a.netns.enter(|| {
                shell("ip route replace default via 192.0.2.2; ip -6 route replace default via 2001:db8::2 dev eth0");
            });
            a.check().silent();
        }
        shell("ip link set uplink down");
        let (_, said) = a.check().error();
        assert!(said.contains("master uplink is down"), "{said}");
    });
}

#[test]
fn status_says_what_is_in_the_way() {
    isolated(|| {
        let _host = Host::new();
        let status = |keys: &Value| Call::new(MACVLAN, "STATUS", &conf(keys)).run();
        status(&json!({})).silent();
        let (code, said) = status(&json!({"master": "eth9"})).error();
        assert!(code == 50 && said.contains("master eth9 does not exist"), "{said}");
        shell("ip link set uplink down");
        let (code, said) = status(&json!({})).error();
        assert!(code == 50 && said.contains("run ip link set uplink up"), "{said}");
        let small = json!({"type": "host-local", "ranges": [[{"subnet": "10.9.0.0/30"}]]});
        shell("ip link set uplink up");
        let netns = Namespaced::new("c");
        let full = conf(&json!({"ipam": small}));
        let _ = call("ADD", &full, &netns).run().result();
        let (code, said) = Call::new(MACVLAN, "STATUS", &full).run().error();
        assert_eq!(code, 50, "{said}");
        // Versions before 1.1.0 have no STATUS.
        let (code, _) = status(&json!({"cniVersion": "1.0.0"})).error();
        assert_eq!(code, 1);
        // The reference's ipvlan refuses this too.
        let several = json!({"cniVersion": "1.1.0", "interfaces": [{"name": "a"}, {"name": "b"}], "ips": []});
        let keys = json!({"type": "ipvlan", "master": null, "prevResult": several});
        let other = Namespaced::new("other");
        let (code, said) = Call::new(IPVLAN, "ADD", &conf(&keys)).of("other", &other, "eth0").run().error();
        assert!(code == 7 && said.contains("made 2 interfaces, not one"), "{said}");
    });
}

/// Every version of the specification, with addresses and without.
#[test]
fn results_are_in_the_configurations_version() {
    isolated(|| {
        let _host = Host::new();
        for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
            let netns = Namespaced::new("c");
            let versioned = conf(&json!({"cniVersion": version}));
            let result = call("ADD", &versioned, &netns).run().result();
            assert_eq!(result["cniVersion"], version);
            if version.starts_with("0.1") || version.starts_with("0.2") {
                assert!(result["ip4"]["ip"].as_str().unwrap().starts_with("192.0.2."), "{result}");
            } else {
                assert_eq!(result["interfaces"][0]["name"], "eth0");
                assert_eq!(
                    result["interfaces"][0]["mtu"],
                    if version == "1.1.0" { json!(1500) } else { Value::Null }
                );
            }
            call("DEL", &versioned, &netns).run().silent();
        }
        let netns = Namespaced::new("c");
        let bare = conf(&json!({"ipam": null}));
        let result = call("ADD", &bare, &netns).run().result();
        assert!(result["ips"].as_array().is_none_or(Vec::is_empty), "{result}");
        netns.enter(|| shell("ip link show eth0 up | grep -q eth0"));
    });
}
