//! What is reachable, and what is not, with `ingress: published` and `internal`, beside an open network.

use std::fs;
use std::net::UdpSocket;
use std::time::Duration;

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Call, Host, Namespaced, Snapshot, UPLINK_V4, isolated};
use serde_json::{Value, json};

use crate::shared::cleat::{NETWORKS, call, ok};
use crate::shared::programs::{BRIDGE, HOST_PORT};
use crate::shared::shell::shell;

fn conf(name: &str, subnet: u8, keys: &Value) -> Value {
    let mut conf = json!({
        "cniVersion": "1.1.0", "name": name, "type": "bridge", "bridge": format!("br-{name}"),
        "isGateway": true, "ipMasq": true, "hairpinMode": true,
        "ipam": {
            "type": "host-local", "ranges": [[{"subnet": format!("10.{subnet}.0.0/24")}]], "routes": [{"dst": "0.0.0.0/0"}]
        }
    });
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    conf
}

/// A container with a server on ports 80 (published on the host's `port`) and 81.
struct Container {
    netns: Namespaced,
    bridge: Value,
    ports: Value,
}

impl Container {
    fn start(name: &str, bridge: Value, port: u16) -> Self {
        let netns = Namespaced::new(name);
        let result = Call::new(BRIDGE, "ADD", &bridge).of(name, &netns, "eth0").run().result();
        let ports = json!({
            "cniVersion": "1.1.0", "name": bridge["name"], "type": "host-port", "prevResult": result,
            "runtimeConfig": {"portMappings": [
                {"hostPort": port, "containerPort": 80}, {"hostPort": port, "containerPort": 80, "protocol": "udp"}
            ]}
        });
        let handed_on = Call::new(HOST_PORT, "ADD", &ports).of(name, &netns, "eth0").run().result();
        assert_eq!(handed_on["ips"], result["ips"]);
        for port in [80, 81] {
            serve_tcp(Some(&netns), name, &format!("0.0.0.0:{port}"));
        }
        Self { netns, bridge, ports }
    }

    fn check(&self) -> sandbox::Answer {
        let mut bridge = self.bridge.clone();
        bridge["prevResult"] = self.ports["prevResult"].clone();
        Call::new(BRIDGE, "CHECK", &bridge).of(self.netns.name(), &self.netns, "eth0").run()
    }

    fn stop(&self) {
        for (program, conf) in [(HOST_PORT, &self.ports), (BRIDGE, &self.bridge)] {
            let call = Call::new(program, "DEL", conf).of(self.netns.name(), &self.netns, "eth0");
            call.run().silent();
            call.run().silent();
        }
    }
}

fn reaches(from: Option<&Namespaced>, address: &str) -> bool {
    ask_tcp(from, address).is_ok()
}

/// Whether a datagram to an address arrives at port 80 of a container.
fn hears(container: &Namespaced, from: &Namespaced, address: &str) -> bool {
    let bind = |address: &str| UdpSocket::bind(address).unwrap();
    let listener = container.enter(|| bind("0.0.0.0:80"));
    listener.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    from.enter(|| bind("0.0.0.0:0").send_to(b"!", address)).unwrap();
    listener.recv(&mut [0]).is_ok()
}

fn isolates(bridge_netfilter: &str) {
    let host = Host::new();
    let before = Snapshot::take();
    for name in ["iptables", "ip6tables"] {
        std::fs::write(format!("/proc/sys/net/bridge/bridge-nf-call-{name}"), bridge_netfilter).unwrap();
    }
    // A machine on the uplink that routes straight to the containers' addresses.
    host.outside.enter(|| shell("for n in 1 2 3; do ip route add 10.$n.0.0/24 via 192.0.2.1; done"));
    serve_tcp(Some(&host.outside), "outside", "0.0.0.0:80");
    let open = Container::start("open", conf("open", 1, &json!({})), 8001);
    let front = Container::start("front", conf("front", 2, &json!({"ingress": "published"})), 8002);
    let front2 = Container::start("front2", conf("front", 2, &json!({"ingress": "published"})), 8022);
    let back = Container::start("back", conf("back", 3, &json!({"internal": true})), 8003);
    let back2 = Container::start("back2", conf("back", 3, &json!({"internal": true})), 8033);
    for container in [&open, &front, &front2, &back, &back2] {
        container.check().silent();
    }
    let (outside, from_open) = (Some(&host.outside), Some(&open.netns));
    // An open network is reachable in every way, as with the reference.
    assert!(reaches(outside, "10.1.0.2:81") && reaches(Some(&front.netns), "10.1.0.2:81"));
    // `ingress: published`: only published ports are reachable. The host and the members reach all ports, and answers come in.
    let published = format!("{UPLINK_V4}:8002");
    assert!(reaches(outside, &published) && reaches(from_open, &published));
    for address in ["10.2.0.2:80", "10.2.0.2:81"] {
        assert!(!reaches(outside, address) && !reaches(from_open, address), "{address}");
        assert!(reaches(None, address) && reaches(Some(&front2.netns), address), "{address}");
    }
    assert_eq!(ask_tcp(Some(&front.netns), "192.0.2.2:80").unwrap(), format!("outside sees {UPLINK_V4}"));
    // `internal`: nothing goes in or out, not even to published ports. The host and the members reach all ports.
    for address in ["10.3.0.2:80", &format!("{UPLINK_V4}:8003")] {
        assert!(!reaches(outside, address) && !reaches(from_open, address), "{address}");
        assert!(reaches(None, address) && reaches(Some(&back2.netns), address), "{address}");
    }
    for address in ["192.0.2.2:80", "10.1.0.2:81", "10.2.0.2:80", &published] {
        assert!(!reaches(Some(&back.netns), address), "{address}");
    }
    // A datagram that needs no answer does not leave an internal network either.
    assert!(hears(&front.netns, &open.netns, &published) && !hears(&front.netns, &back.netns, &published));
    // CHECK notices that the bridge is no longer closed.
    shell("nft flush map inet cleat_gate into");
    let (code, said) = front.check().error();
    assert_eq!((code, said.contains("bridge br-front is not closed")), (101, true), "{said}");
    for container in [&open, &front, &front2, &back, &back2] {
        container.stop();
    }
    drop((open, front, front2, back, back2));
    before.assert_unchanged();
}

#[test]
fn networks_are_closed_as_they_say() {
    isolated(|| isolates("0"));
}

#[test]
fn networks_are_closed_as_they_say_with_bridge_netfilter() {
    isolated(|| isolates("1"));
}

#[test]
fn a_bridge_has_one_gate() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let (a, b) = (Namespaced::new("a"), Namespaced::new("b"));
        let published = conf("one", 1, &json!({"ingress": "published"}));
        let mut internal = conf("two", 2, &json!({"internal": true}));
        internal["bridge"] = json!("br-one");
        internal["isGateway"] = json!(false);
        let call = |command: &str, conf: &Value, netns: &Namespaced| {
            Call::new(BRIDGE, command, conf).of(netns.name(), netns, "eth0").run()
        };
        assert!(call("ADD", &published, &a).result()["ips"].is_array());
        let during = Snapshot::take();
        let (code, said) = call("ADD", &internal, &b).error();
        assert_eq!(code, 7, "{said}");
        assert!(said.contains("br-one") && said.contains("bridge of its own"), "{said}");
        during.assert_unchanged();
        // GC removes the elements of attachments that are not valid.
        let mut gc = published.clone();
        gc["cni.dev/valid-attachments"] = json!([]);
        Call::new(BRIDGE, "GC", &gc).run().silent();
        drop((a, b));
        before.assert_unchanged();
    });
}

/// Containers keep the configuration that they were added with, and the bridge is as closed as the file says. STATUS fails
/// meanwhile, so that a runtime that asks for it makes no ADD, which would close the bridge as well.
#[test]
fn repair_closes_a_network_whose_file_has_changed() {
    isolated(|| {
        let host = Host::new();
        host.outside.enter(|| shell(&format!("ip route add 10.1.0.0/24 via {UPLINK_V4}")));
        fs::create_dir_all(NETWORKS).unwrap();
        let write = |keys: Value| {
            let list = json!({"cniVersion": "1.1.0", "name": "net", "plugins": [conf("net", 1, &keys)]});
            fs::write(format!("{NETWORKS}/net.conflist"), list.to_string()).unwrap();
        };
        write(json!({}));
        let before = Snapshot::take();
        let containers = ["a", "b"].map(|name| {
            let netns = Namespaced::new(name);
            ok(&["add", "net", netns.path().to_str().unwrap()]);
            serve_tcp(Some(&netns), name, "0.0.0.0:80");
            netns
        });
        let is_open = || {
            let outside = reaches(Some(&host.outside), "10.1.0.3:80");
            let member = reaches(Some(&containers[0]), "10.1.0.3:80");
            assert_eq!(outside, member, "from outside, and from a member");
            outside
        };
        assert!(is_open());

        write(json!({"ingress": "published", "icc": false}));
        let (code, said) = call(&["status", "net"]);
        assert!(code != Some(0) && said.contains("bridge br-net is not closed"), "{said}");
        let (code, said) = call(&["repair", "--dry-run"]);
        assert!(code == Some(0) && said.contains("network net: would be closed: "), "{said}");
        assert!(is_open());
        assert!(ok(&["repair"]).contains("network net: closed: "));
        assert!(!is_open());
        assert!(reaches(None, "10.1.0.3:80"));
        ok(&["status", "net"]);
        ok(&["check"]);
        assert!(!ok(&["repair"]).contains("closed"));

        for netns in &containers {
            ok(&["del", "net", netns.path().to_str().unwrap()]);
        }
        drop(containers);
        write(json!({}));
        before.assert_unchanged();
    });
}
