//! `vlan`, `vlanTrunk` and `preserveDefaultVlan` with real packets, on a kernel whose bridges filter VLANs: `make test-kernels`
//! runs this in an emulated machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests start programs")]

use std::process::Command;
use std::thread;

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Call, Host, Namespaced, OUTSIDE_V4, OUTSIDE_V6, Snapshot, UPLINK_V4, UPLINK_V6, isolated};
use serde_json::{Value, json};

const BRIDGE: &str = env!("CARGO_BIN_EXE_bridge");
const HOST_PORT: &str = env!("CARGO_BIN_EXE_host-port");

/// A network on bridge br0; its subnets follow from `number`.
fn conf(number: u8, keys: &Value) -> Value {
    let mut conf = json!({
        "cniVersion": "1.1.0", "name": format!("net{number}"), "type": "bridge", "bridge": "br0",
        "ipam": {"type": "host-local", "ranges": [
            [{"subnet": format!("10.{number}.0.0/24")}], [{"subnet": format!("fd00:{number}::/64")}]
        ]}
    });
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    conf
}

fn shell(line: &str) {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A container with a server on port 80.
struct Container {
    netns: Namespaced,
    conf: Value,
    result: Value,
}

impl Container {
    fn start(name: &str, conf: Value) -> Self {
        let netns = Namespaced::new(name);
        let result = Call::new(BRIDGE, "ADD", &conf).of(name, &netns, "eth0").run().result();
        serve_tcp(Some(&netns), name, "[::]:80");
        let container = Self { netns, conf, result };
        container.check().silent();
        container
    }

    fn check(&self) -> sandbox::Answer {
        let mut conf = self.conf.clone();
        conf["prevResult"] = self.result.clone();
        Call::new(BRIDGE, "CHECK", &conf).of(self.netns.name(), &self.netns, "eth0").run()
    }

    fn address(&self, index: usize) -> &str {
        self.result["ips"][index]["address"].as_str().unwrap().split('/').next().unwrap()
    }

    fn port(&self) -> &str {
        self.result["interfaces"][1]["name"].as_str().unwrap()
    }

    fn reaches(&self, other: &Self) -> bool {
        let v4 = ask_tcp(Some(&self.netns), &format!("{}:80", other.address(0))).is_ok();
        let v6 = ask_tcp(Some(&self.netns), &format!("[{}]:80", other.address(1))).is_ok();
        assert_eq!(v4, v6, "{} to {}", self.netns.name(), other.netns.name());
        v4
    }

    fn stop(self) {
        let del = Call::new(BRIDGE, "DEL", &self.conf).of(self.netns.name(), &self.netns, "eth0");
        del.run().silent();
        del.run().silent();
    }
}

fn has_link(name: &str) -> bool {
    Command::new("ip").args(["link", "show", name]).output().unwrap().status.success()
}

#[test]
fn members_of_a_vlan_reach_each_other_and_nobody_else() {
    isolated(|| {
        let _host = Host::new();
        for keep_default in [true, false] {
            let before = Snapshot::take();
            let keys = |vlan: u16| json!({"vlan": vlan, "preserveDefaultVlan": keep_default});
            // They are on one network and one subnet: only the VLANs separate them.
            let a = Container::start("a", conf(1, &keys(10)));
            let b = Container::start("b", conf(1, &keys(10)));
            let c = Container::start("c", conf(1, &keys(20)));
            let plain = Container::start("plain", conf(1, &json!({})));
            assert!(a.reaches(&b) && b.reaches(&a));
            for (from, to) in [(&a, &c), (&c, &a), (&a, &plain), (&plain, &a)] {
                assert!(!from.reaches(to), "{} to {}", from.netns.name(), to.netns.name());
            }
            for container in [a, b, c, plain] {
                container.stop();
            }
            before.assert_unchanged();
        }
    });
}

#[test]
fn a_trunk_carries_tags() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let trunk = json!({"vlanTrunk": [{"minID": 10, "maxID": 12}, {"id": 30}]});
        let router = Container::start("router", conf(1, &trunk));
        let members = [10, 12, 30, 40].map(|vlan| {
            let member = Container::start(&format!("v{vlan}"), conf(1, &json!({"vlan": vlan, "preserveDefaultVlan": false})));
            router.netns.enter(|| {
                shell(&format!(
                    "ip link add link eth0 name tag{vlan} type vlan id {vlan} && ip addr add 10.1.0.{}/32 dev tag{vlan} && \
                     ip link set tag{vlan} up && ip route add {} dev tag{vlan}",
                    vlan + 100, member.address(0)
                ));
            });
            (vlan, member)
        });
        for (vlan, member) in &members {
            // The VLAN device of the router receives only frames with its tag.
            let answer = ask_tcp(Some(&member.netns), &format!("10.1.0.{}:80", vlan + 100));
            match vlan {
                40 => assert!(answer.is_err(), "VLAN 40 is not on the trunk"),
                _ => assert_eq!(answer.unwrap(), format!("router sees {}", member.address(0))),
            }
        }
        // Untagged frames of the trunk are on the bridge's default VLAN, unless `preserveDefaultVlan` is false or `vlan` names
        // another one.
        let plain = Container::start("plain", conf(1, &json!({})));
        assert!(plain.reaches(&router));
        let tagged = json!({"vlanTrunk": [{"id": 30}], "preserveDefaultVlan": false});
        let tagged = Container::start("tagged", conf(1, &tagged));
        assert!(!plain.reaches(&tagged));
        let native = Container::start(
            "native",
            conf(1, &json!({"vlan": 10, "vlanTrunk": [{"minID": 10, "maxID": 30}]})),
        );
        assert!(native.reaches(&members[0].1) && !native.reaches(&plain));
        for container in members.into_iter().map(|(_, member)| member).chain([router, plain, tagged, native])
        {
            container.stop();
        }
        before.assert_unchanged();
    });
}

#[test]
fn each_vlan_has_a_gateway_that_goes_with_its_last_container() {
    isolated(|| {
        let host = Host::new();
        let before = Snapshot::take();
        let keys = |vlan: u16| json!({"vlan": vlan, "isDefaultGateway": true, "ipMasq": true, "preserveDefaultVlan": false});
        let a = Container::start("a", conf(10, &keys(10)));
        let with_a = Snapshot::take();
        let b = Container::start("b", conf(10, &keys(10)));
        let c = Container::start("c", conf(20, &keys(20)));
        assert_eq!(
            (&a.result["interfaces"][3]["name"], &c.result["interfaces"][3]["name"]),
            (&json!("br0.10"), &json!("br0.20"))
        );
        // Each container reaches the host, the outside, and through the host the other VLAN.
        serve_tcp(None, "host", "[::]:7000");
        serve_tcp(Some(&host.outside), "outside", "[::]:80");
        for container in [&a, &b, &c] {
            let (from, number) =
                (Some(&container.netns), if container.netns.name() == "c" { 20 } else { 10 });
            let (v4, v6) = (container.address(0), container.address(1));
            assert_eq!(ask_tcp(from, &format!("10.{number}.0.1:7000")).unwrap(), format!("host sees {v4}"));
            assert_eq!(
                ask_tcp(from, &format!("[fd00:{number}::1]:7000")).unwrap(),
                format!("host sees {v6}")
            );
            assert_eq!(
                ask_tcp(from, &format!("{OUTSIDE_V4}:80")).unwrap(),
                format!("outside sees {UPLINK_V4}")
            );
            assert_eq!(
                ask_tcp(from, &format!("[{OUTSIDE_V6}]:80")).unwrap(),
                format!("outside sees {UPLINK_V6}")
            );
            assert_eq!(
                ask_tcp(None, &format!("{v4}:80")).unwrap(),
                format!("{} sees 10.{number}.0.1", container.netns.name())
            );
        }
        assert!(a.reaches(&b) && a.reaches(&c));
        // A published port; from 127.0.0.1 only while bridged packets are not filtered (docs/limits.md).
        std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0").unwrap();
        let ports = json!({
            "cniVersion": "1.1.0", "name": "net20", "type": "host-port", "prevResult": c.result,
            "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80}]}
        });
        let publish = |verb: &str| Call::new(HOST_PORT, verb, &ports).of("c", &c.netns, "eth0").run();
        assert!(publish("ADD").result().is_object());
        assert_eq!(
            ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:8080")).unwrap(),
            format!("c sees {OUTSIDE_V4}")
        );
        assert_eq!(ask_tcp(None, "127.0.0.1:8080").unwrap(), "c sees 10.20.0.1");
        publish("DEL").silent();
        c.stop();
        assert!(!has_link("br0.20") && has_link("br0.10"));
        b.stop();
        with_a.assert_unchanged();
        a.stop();
        before.assert_unchanged();
    });
}

#[test]
fn a_vlan_is_closed_by_itself() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let keys =
            |vlan: u16, ingress: &str| json!({"vlan": vlan, "isDefaultGateway": true, "ingress": ingress});
        let closed = Container::start("closed", conf(10, &keys(10, "published")));
        let friend = Container::start("friend", conf(10, &keys(10, "published")));
        let open = Container::start("open", conf(20, &keys(20, "any")));
        assert!(friend.reaches(&closed) && closed.reaches(&open) && !open.reaches(&closed));
        for container in [closed, friend, open] {
            container.stop();
        }
        before.assert_unchanged();
    });
}

#[test]
fn check_names_what_differs() {
    isolated(|| {
        let _host = Host::new();
        let keys = json!({"vlan": 10, "vlanTrunk": [{"minID": 20, "maxID": 22}], "preserveDefaultVlan": false, "isGateway": true});
        let container = Container::start("a", conf(10, &keys));
        let port = container.port();
        for (broken, words, mended) in [
            (
                "ip link set br0 type bridge vlan_filtering 0".to_owned(),
                "does not filter VLANs",
                "ip link set br0 type bridge vlan_filtering 1".to_owned(),
            ),
            (
                format!("bridge vlan del vid 21 dev {port}"),
                "is not on VLAN 21",
                format!("bridge vlan add vid 21 dev {port}"),
            ),
            (
                format!("bridge vlan add vid 10 dev {port}"),
                "is not on VLAN 10",
                format!("bridge vlan add vid 10 dev {port} pvid untagged"),
            ),
            (
                format!("bridge vlan add vid 23 dev {port}"),
                "is on VLAN 23",
                format!("bridge vlan del vid 23 dev {port}"),
            ),
            (
                "bridge vlan del vid 10 dev br0 self".into(),
                "br0 is not on VLAN 10",
                "bridge vlan add vid 10 dev br0 self".into(),
            ),
            (
                "ip link set br0.10 down".into(),
                "br0.10 is down",
                "ip link set br0.10 up && ip addr add fd00:10::1/64 dev br0.10 nodad".into(),
            ),
            (
                "ip addr del 10.10.0.1/24 dev br0.10".into(),
                "gateway address 10.10.0.1/24",
                "ip addr add 10.10.0.1/24 dev br0.10".into(),
            ),
            ("ip link del br0.10".into(), "link br0.10 does not exist", String::new()),
        ] {
            container.check().silent();
            shell(&broken);
            let (code, said) = container.check().error();
            assert_eq!((code, said.contains(words)), (101, true), "{broken}: {said}");
            if !mended.is_empty() {
                shell(&mended);
            }
        }
    });
}

#[test]
fn a_bridge_that_was_there_filters_or_is_refused() {
    isolated(|| {
        let _host = Host::new();
        shell(
            "ip link add br0 address 02:00:00:00:00:b0 type bridge && ip link set br0 up && ip link add one type veth peer name other",
        );
        let before = Snapshot::take();
        shell("ip link set one master br0");
        let netns = Namespaced::new("a");
        let add = |conf: &Value| Call::new(BRIDGE, "ADD", conf).of("a", &netns, "eth0").run();
        let keys = json!({"vlan": 10, "isGateway": true});
        let (code, said) = add(&conf(10, &keys)).error();
        assert_eq!((code, said.contains("vlan_filtering 1")), (7, true), "{said}");
        shell("ip link set one nomaster");
        // An ADD that switches VLAN filtering on and then fails switches it off again.
        let mut wrong = conf(10, &keys);
        wrong["ipam"]["routes"] = json!([{"dst": "10.9.0.0/16", "gw": "172.31.0.1"}]);
        assert_eq!(add(&wrong).error().0, 100);
        before.assert_unchanged_but_for(&netns);
        assert_eq!(shown("bridge vlan show dev br0"), "port vlan-id br0 1 PVID Egress Untagged");
        assert!(shown("ip -d link show br0").contains("vlan_filtering 0"));
        drop(netns);
        // The reference makes the VLAN's gateway as a veth pair of this name. An existing one is used, and stays.
        shell(
            "ip link set br0 type bridge vlan_filtering 1 && ip link add br0.10 type veth peer name gate && \
               ip link set gate master br0 up && ip link set br0.10 up && bridge vlan add vid 10 dev gate pvid untagged",
        );
        let with_pair = Snapshot::take();
        let container = Container::start("b", conf(10, &keys));
        serve_tcp(None, "host", "[::]:7000");
        let answer = ask_tcp(Some(&container.netns), "10.10.0.1:7000").unwrap();
        assert!(answer.starts_with("host sees 10.10.0."), "{answer}");
        container.stop();
        shell("ip addr del 10.10.0.1/24 dev br0.10 && ip addr del fd00:10::1/64 dev br0.10");
        with_pair.assert_unchanged();
        // A link of this name that is not on the bridge is refused.
        shell("ip link del br0.10 && ip link add link uplink name br0.10 type vlan id 10");
        let netns = Namespaced::new("c");
        let (code, said) = Call::new(BRIDGE, "ADD", &conf(10, &keys)).of("c", &netns, "eth0").run().error();
        assert_eq!((code, said.contains("br0.10 exists and is not on VLAN 10")), (7, true), "{said}");
    });
}

/// The output of a command, with single spaces between the words.
fn shown(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn many_at_once_on_several_vlans_leave_nothing() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let containers: Vec<_> = (0..12).map(|n| Namespaced::new(&format!("c{n}"))).collect();
        thread::scope(|scope| {
            for (netns, vlan) in containers.iter().zip([10_u8, 20, 30].into_iter().cycle()) {
                scope.spawn(move || {
                    let conf =
                        conf(vlan, &json!({"vlan": vlan, "isGateway": true, "preserveDefaultVlan": false}));
                    for _ in 0..3 {
                        let call =
                            |verb: &str| Call::new(BRIDGE, verb, &conf).of(netns.name(), netns, "eth0").run();
                        let result = call("ADD").result();
                        assert_eq!(result["interfaces"][3]["name"], format!("br0.{vlan}"));
                        call("DEL").silent();
                    }
                });
            }
        });
        drop(containers);
        before.assert_unchanged();
    });
}
