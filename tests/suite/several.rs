//! One container on several networks, and one address on several networks: a published port stays, and leads to the other
//! network after the container has left the first.

use std::fs;
use std::os::unix::fs::symlink;

use sandbox::traffic::{Datagrams, ask_tcp, serve_tcp, serve_udp};
use sandbox::{Call, Host, Namespaced, OUTSIDE_V4, Snapshot, UPLINK_V4, isolated};
use serde_json::{Value, json};

use crate::shared::iptables::{LEGACY, PATH, choose_legacy, prime};
use crate::shared::programs::{HOST_PORT, program};
use crate::shared::shell::shell;

const PORTMAP: &str = "/run/plugins/portmap";

/// A container's attachment to a network with a bridge of its own.
struct Joined<'a> {
    netns: &'a Namespaced,
    ifname: &'a str,
    bridge: Value,
    ports: Value,
}

impl<'a> Joined<'a> {
    fn new(
        network: &str,
        subnet: &str,
        (netns, ifname): (&'a Namespaced, &'a str),
        (host_port, backend): (u16, &str),
    ) -> Self {
        let base = json!({"cniVersion": "1.0.0", "name": network});
        let mut bridge = base.clone();
        for (key, value) in [
            ("type", json!("bridge")),
            ("bridge", json!(format!("br-{network}"))),
            ("isGateway", json!(true)),
            ("ipMasq", json!(true)),
            ("hairpinMode", json!(true)),
            ("ipam", json!({"type": "host-local", "subnet": subnet, "routes": [{"dst": "0.0.0.0/0"}]})),
        ] {
            bridge[key] = value;
        }
        let mut joined = Self { netns, ifname, bridge, ports: base };
        let result = joined.call(program("bridge"), "ADD", &joined.bridge).run().result();
        joined.ports["type"] = json!("portmap");
        joined.ports["backend"] = json!(backend);
        joined.ports["prevResult"] = result;
        let by = |protocol: &str| json!({"hostPort": host_port, "containerPort": 80, "protocol": protocol});
        joined.ports["runtimeConfig"] = json!({"portMappings": [by("tcp"), by("udp")]});
        assert!(joined.portmap("ADD").run().result().is_object());
        joined
    }

    fn call(&self, program: &str, verb: &str, conf: &Value) -> Call {
        let path = program.rsplit_once('/').unwrap().0;
        Call::new(program, verb, conf)
            .of(self.netns.name(), self.netns, self.ifname)
            .env("PATH", &format!("{LEGACY}:{PATH}"))
            .env("CNI_PATH", path)
    }

    fn portmap(&self, verb: &str) -> Call {
        self.call(PORTMAP, verb, &self.ports)
    }

    fn leave(&self) {
        self.leave_by("DEL");
    }

    /// Leaves by DEL, or by GC, as called by a runtime that has lost the attachment.
    fn leave_by(&self, verb: &str) {
        let mut conf = self.ports.clone();
        if verb == "GC" {
            conf["cniVersion"] = json!("1.1.0");
            conf["cni.dev/valid-attachments"] = json!([]);
        }
        self.call(PORTMAP, verb, &conf).run().silent();
        self.call(program("bridge"), "DEL", &self.bridge).run().silent();
    }
}

fn install(variant: &str) -> Host {
    let host = Host::new();
    fs::create_dir_all("/run/plugins").unwrap();
    symlink(HOST_PORT, PORTMAP).unwrap();
    if variant == "legacy" {
        choose_legacy();
    }
    prime(variant);
    host
}

/// podman passes the ports of a container to each of its networks. They have the same backend, or one each.
fn goes_on(first: &str, second: &str, variant: &str, verb: &str) {
    let host = install(variant);
    let before = Snapshot::take();
    let web = Namespaced::new("web");
    serve_tcp(Some(&web), "web", "0.0.0.0:80");
    serve_udp(Some(&web), "web", "0.0.0.0:80");
    let one = Joined::new("one", "10.1.0.0/24", (&web, "eth0"), (8080, first));
    let two = Joined::new("two", "10.2.0.0/24", (&web, "eth1"), (8080, second));
    let reached = || {
        for (from, address) in [(Some(&host.outside), UPLINK_V4), (None, UPLINK_V4), (None, "127.0.0.1")] {
            assert!(ask_tcp(from, &format!("{address}:8080")).unwrap().starts_with("web sees "), "{address}");
        }
    };
    // The datagrams of a client that never pauses are one flow, which the kernel keeps sending where it sent it before.
    // With two backends the older rules decide where that is, and a server on any address answers by the default route alone.
    let client = (first == second).then(|| Datagrams::new(Some(&host.outside), &format!("{UPLINK_V4}:8080")));
    let goes_on = || {
        if let Some(client) = &client {
            assert!(client.ask().unwrap().starts_with("web sees "));
        }
    };
    reached();
    goes_on();
    one.portmap("CHECK").run().silent();
    two.portmap("CHECK").run().silent();
    one.leave_by(verb);
    // The default route leads to the other network by then, which is the task of bridge and not of this test.
    web.enter(|| shell("ip route replace default via 10.2.0.1"));
    reached();
    goes_on();
    two.portmap("CHECK").run().silent();
    let again = Joined::new("one", "10.1.0.0/24", (&web, "eth0"), (8080, first));
    two.leave_by(verb);
    web.enter(|| shell("ip route replace default via 10.1.0.1"));
    reached();
    goes_on();
    again.leave();
    assert!(ask_tcp(None, "127.0.0.1:8080").is_err());
    drop(web);
    fs::remove_dir_all("/var/lib/cni").unwrap();
    before.assert_unchanged();
}

#[test]
fn a_port_of_two_networks_goes_on_by_the_second() {
    isolated(|| goes_on("nftables", "nftables", "nft", "DEL"));
}

#[test]
fn a_port_of_two_networks_goes_on_by_the_second_with_iptables() {
    isolated(|| goes_on("iptables", "iptables", "nft", "DEL"));
}

#[test]
fn a_port_of_two_networks_goes_on_from_nftables_to_iptables() {
    isolated(|| goes_on("nftables", "iptables", "nft", "DEL"));
}

#[test]
fn a_port_of_two_networks_goes_on_from_iptables_to_nftables() {
    isolated(|| goes_on("iptables", "nftables", "nft", "DEL"));
}

#[test]
fn a_port_of_two_networks_goes_on_by_the_second_with_the_legacy_variant() {
    isolated(|| goes_on("iptables", "iptables", "legacy", "DEL"));
}

#[test]
fn a_port_of_two_networks_goes_on_when_the_first_goes_by_gc() {
    isolated(|| goes_on("iptables", "iptables", "nft", "GC"));
}

#[test]
fn a_port_of_two_networks_goes_on_when_the_first_goes_by_gc_with_the_legacy_variant() {
    isolated(|| goes_on("iptables", "iptables", "legacy", "GC"));
}

/// Two networks with the same subnet are a mistake, but the container that came first loses nothing.
#[test]
fn a_container_of_the_same_address_takes_nothing_away() {
    isolated(|| {
        let host = install("nft");
        let (a, b) = (Namespaced::new("a"), Namespaced::new("b"));
        serve_tcp(Some(&host.outside), "out", "0.0.0.0:81");
        for netns in [&a, &b] {
            serve_tcp(Some(netns), netns.name(), "0.0.0.0:80");
        }
        let first = Joined::new("na", "10.1.0.0/24", (&a, "eth0"), (8080, "nftables"));
        let works = || {
            let outside = Some(&host.outside);
            assert_eq!(ask_tcp(outside, &format!("{UPLINK_V4}:8080")).unwrap(), "a sees 192.0.2.2");
            assert_eq!(ask_tcp(None, "127.0.0.1:8080").unwrap(), "a sees 10.1.0.1");
            assert_eq!(ask_tcp(Some(&a), &format!("{UPLINK_V4}:8080")).unwrap(), "a sees 10.1.0.1");
            first.portmap("CHECK").run().silent();
        };
        works();
        let second = Joined::new("nb", "10.1.0.0/24", (&b, "eth0"), (8081, "nftables"));
        assert_eq!(
            first.ports["prevResult"]["ips"][0]["address"],
            second.ports["prevResult"]["ips"][0]["address"]
        );
        works();
        second.portmap("CHECK").run().silent();
        second.leave();
        works();
        // The other way round: after the first has left, the second has all that it needs.
        let second = Joined::new("nb", "10.1.0.0/24", (&b, "eth0"), (8081, "nftables"));
        first.leave();
        second.portmap("CHECK").run().silent();
        assert_eq!(ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:8081")).unwrap(), "b sees 192.0.2.2");
        assert_eq!(ask_tcp(Some(&b), &format!("{UPLINK_V4}:8081")).unwrap(), "b sees 10.1.0.1");
        assert!(ask_tcp(Some(&b), &format!("{OUTSIDE_V4}:81")).is_ok());
        second.leave();
        assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/conf/all/route_localnet").unwrap(), "0\n");
    });
}
