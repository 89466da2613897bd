//! bridge with host-local: real links, real packets, and what is left after DEL.

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Call, Host, Namespaced, Snapshot, isolated};
use serde_json::{Value, json};

use crate::shared::bridge::{add, call, conf, with_result};
use crate::shared::programs::BRIDGE;
use crate::shared::shell::shell;

#[test]
fn del_works_when_the_namespace_has_gone() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let netns = Namespaced::new("a");
        add(&conf(), "a", &netns);
        let gone = call("DEL", &conf(), "a", &netns).env("CNI_NETNS", "");
        drop(netns);
        gone.run().silent();
        gone.run().silent();
        before.assert_unchanged();
    });
}

#[test]
fn a_guarded_container_sends_from_its_own_hardware_address_only() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let (a, b) = (Namespaced::new("a"), Namespaced::new("b"));
        let mut guarded = conf();
        guarded["macspoofchk"] = json!(true);
        let result = add(&guarded, "a", &a);
        add(&guarded, "b", &b);
        serve_tcp(None, "host", "[::]:7000");
        let reaches = |netns: &Namespaced| ask_tcp(Some(netns), "10.1.0.1:7000").is_ok();
        assert!(reaches(&a) && reaches(&b));
        assert!(ask_tcp(Some(&a), "[fd00:1::1]:7000").is_ok());
        guarded["prevResult"] = result.clone();
        let check = call("CHECK", &guarded, "a", &a);
        check.run().silent();
        a.enter(|| shell("ip link set eth0 address 02:00:00:00:00:99"));
        assert!(!reaches(&a) && reaches(&b));
        let own = result["interfaces"][2]["mac"].as_str().unwrap();
        a.enter(|| shell(&format!("ip link set eth0 address {own}")));
        assert!(reaches(&a));
        shell("nft flush set bridge cleat_bridge addresses");
        assert!(!reaches(&a));
        let (code, said) = check.run().error();
        assert_eq!((code, said.contains("is not held to MAC address")), (101, true), "{said}");
        // DEL works although one of the sets has been flushed.
        for (id, netns) in [("a", &a), ("b", &b)] {
            call("DEL", &guarded, id, netns).run().silent();
            call("DEL", &guarded, id, netns).run().silent();
        }
        drop((a, b));
        before.assert_unchanged();
    });
}

#[test]
fn a_configuration_that_add_refuses_does_not_stand_in_the_way_of_del() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let netns = Namespaced::new("a");
        add(&conf(), "a", &netns);
        let mut wrong = conf();
        wrong["promiscMode"] = json!(true);
        wrong["vlan"] = json!("seven");
        wrong["ipam"]["ranges"] = json!([[{"subnet": "nonsense"}]]);
        assert_eq!(call("ADD", &wrong, "b", &netns).run().error().0, 7);
        call("DEL", &wrong, "a", &netns).run().silent();
        drop(netns);
        before.assert_unchanged();
    });
}

#[test]
fn a_failing_add_leaves_nothing() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let netns = Namespaced::new("a");
        // The interface exists already, which ADD notices last.
        netns.enter(|| shell("ip link add eth0 type veth peer name eth1"));
        let (code, said) = call("ADD", &conf(), "a", &netns).run().error();
        assert_eq!(code, 4, "{said}");
        assert!(said.contains("eth0 exists in the container already"), "{said}");
        before.assert_unchanged_but_for(&netns);
        // The kernel refuses the route, after the link and the addresses were added.
        netns.enter(|| shell("ip link del eth0"));
        let mut wrong = conf();
        wrong["ipam"]["routes"] = json!([{"dst": "10.9.0.0/16", "gw": "172.31.0.1"}]);
        let (code, said) = call("ADD", &wrong, "a", &netns).run().error();
        assert_eq!(code, 100, "{said}");
        assert!(said.contains("10.9.0.0/16"), "{said}");
        before.assert_unchanged_but_for(&netns);
    });
}

#[test]
fn a_second_add_is_refused_and_the_first_stays() {
    isolated(|| {
        let _host = Host::new();
        let netns = Namespaced::new("a");
        let result = add(&conf(), "a", &netns);
        let during = Snapshot::take();
        let (_, said) = call("ADD", &conf(), "a", &netns).run().error();
        assert!(said.contains('a'), "{said}");
        during.assert_unchanged();
        call("CHECK", &with_result(&result), "a", &netns).run().silent();
    });
}

#[test]
fn check_names_what_differs() {
    isolated(|| {
        let _host = Host::new();
        let netns = Namespaced::new("a");
        let result = add(&conf(), "a", &netns);
        let check = call("CHECK", &with_result(&result), "a", &netns);
        let veth = result["interfaces"][1]["name"].as_str().unwrap().to_owned();
        // Each row: a command that breaks something, words of CHECK, a command that mends it.
        for (broken, words, mended) in [
            (
                "ip link set br0 down".to_owned(),
                "link br0 is down",
                "ip link set br0 up && ip addr add fd00:1::1/64 dev br0 nodad".to_owned(),
            ),
            (format!("ip link set {veth} down"), "is down", format!("ip link set {veth} up")),
            (
                format!("ip link set {veth} nomaster"),
                "is not a port of bridge br0",
                format!("ip link set {veth} master br0 && bridge link set dev {veth} hairpin on"),
            ),
            (
                format!("bridge link set dev {veth} hairpin off"),
                "hairpinMode",
                format!("bridge link set dev {veth} hairpin on"),
            ),
            (
                "ip addr del 10.1.0.1/24 dev br0".into(),
                "gateway address 10.1.0.1/24",
                "ip addr add 10.1.0.1/24 brd + dev br0".into(),
            ),
            ("nft flush set inet cleat_bridge masq4".into(), "10.1.0.2 is not masqueraded", String::new()),
        ] {
            check.run().silent();
            shell(&broken);
            let (code, said) = check.run().error();
            assert_eq!(code, 101, "{broken}: {said}");
            assert!(said.contains(words), "{broken}: {said}");
            if !mended.is_empty() {
                shell(&mended);
            }
        }
        let (netns, check) = (&netns, &check);
        for (broken, words) in [
            ("ip route del default", "route to 0.0.0.0/0"),
            ("ip addr del 10.1.0.2/24 dev eth0", "address 10.1.0.2/24"),
            ("ip link set eth0 down", "eth0 is down"),
            ("ip link del eth0", "exist"),
        ] {
            netns.enter(|| shell(broken));
            // Masquerading is still broken by the row above, but it is checked last: CHECK reports the container's side.
            let (code, said) = check.run().error();
            assert_eq!(code, 101, "{said}");
            assert!(said.contains(words), "{broken}: {said}");
        }
    });
}

#[test]
fn a_bridge_that_somebody_else_made_stays() {
    isolated(|| {
        let _host = Host::new();
        shell("ip link add br0 type bridge");
        let netns = Namespaced::new("a");
        add(&conf(), "a", &netns);
        call("DEL", &conf(), "a", &netns).run().silent();
        shell("ip link show br0 type bridge");
        // A link of that name that is no bridge is refused.
        shell("ip link del br0 && ip link add br0 type veth peer name br1");
        let (code, said) = call("ADD", &conf(), "a", &netns).run().error();
        assert_eq!(code, 7);
        assert!(said.contains("br0 exists and is no bridge but veth"), "{said}");
    });
}

#[test]
fn a_foreign_gateway_address_is_refused_or_replaced() {
    isolated(|| {
        let _host = Host::new();
        shell("ip link add br0 type bridge && ip addr add 10.7.0.1/24 dev br0");
        let netns = Namespaced::new("a");
        let before = Snapshot::take();
        let (code, said) = call("ADD", &conf(), "a", &netns).run().error();
        assert_eq!(code, 7, "{said}");
        assert!(said.contains("10.7.0.1/24") && said.contains("forceAddress"), "{said}");
        // Like the reference, ADD has set the bridge up before it refused the address: it is set down for the comparison.
        shell("ip link set br0 down");
        before.assert_unchanged();
        let mut force = conf();
        force["forceAddress"] = json!(true);
        add(&force, "a", &netns);
        let after = Snapshot::take();
        assert!(!after.lines().any(|line| line.contains("10.7.0.1")));
    });
}

#[test]
fn gc_removes_what_is_not_valid_any_more() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let mut guarded = conf();
        guarded["macspoofchk"] = json!(true);
        let a = Namespaced::new("a");
        add(&guarded, "a", &a);
        let with_a = Snapshot::take();
        let b = Namespaced::new("b");
        add(&guarded, "b", &b);
        let gc = |valid: Value| {
            let mut conf = conf();
            conf["cniVersion"] = json!("1.1.0");
            conf["cni.dev/valid-attachments"] = valid;
            Call::new(BRIDGE, "GC", &conf).run().silent();
        };
        gc(json!([{"containerID": "a", "ifname": "eth0"}]));
        drop(b);
        with_a.assert_unchanged();
        gc(json!([]));
        drop(a);
        before.assert_unchanged();
    });
}

#[test]
fn without_ipam_the_attachment_is_a_port_and_check_agrees() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let netns = Namespaced::new("a");
        let mut conf =
            json!({"cniVersion": "1.1.0", "name": "l2", "type": "bridge", "bridge": "br0", "mtu": 1400});
        let result = add(&conf, "a", &netns);
        assert_eq!((result.get("ips"), &result["interfaces"][2]["mtu"]), (None, &json!(1400)));
        conf["prevResult"] = result;
        call("CHECK", &conf, "a", &netns).run().silent();
        call("DEL", &conf, "a", &netns).run().silent();
        drop(netns);
        before.assert_unchanged();
    });
}
