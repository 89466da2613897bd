//! A container on several networks, each with a default route: the first network is the way out, and the next one after the
//! first is left. CHECK of each network passes at every point.

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Call, Host, Namespaced, Snapshot, UPLINK_V4, UPLINK_V6, isolated};
use serde_json::{Value, json};

use crate::shared::programs::BRIDGE;
use crate::shared::shell::shell;

/// A network of both families with a default route of each.
fn network(number: usize) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": format!("net{number}"), "type": "bridge", "bridge": format!("br{number}"),
        "isGateway": true, "ipam": {
            "type": "host-local", "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            "ranges": [[{"subnet": format!("10.{number}.0.0/24")}], [{"subnet": format!("fd00:{number}::/64")}]],
        }
    })
}

/// A container with the networks that it is on.
struct Member<'a> {
    netns: &'a Namespaced,
    attachments: Vec<(Value, String, Value)>,
}

impl<'a> Member<'a> {
    fn new(netns: &'a Namespaced) -> Self {
        Self { netns, attachments: Vec::new() }
    }

    fn call(&self, verb: &str, conf: &Value, ifname: &str) -> Call {
        Call::new(BRIDGE, verb, conf).of(self.netns.name(), self.netns, ifname)
    }

    /// Joins a network, and runs CHECK of all of them, as CRI-O does.
    fn join(&mut self, conf: &Value, ifname: &str) -> &mut Self {
        let result = self.call("ADD", conf, ifname).run().result();
        self.attachments.push((conf.clone(), ifname.to_owned(), result));
        self.check()
    }

    fn leave(&mut self, ifname: &str) -> &mut Self {
        let at = self.attachments.iter().position(|(_, name, _)| name == ifname).unwrap();
        let (conf, _, result) = self.attachments.remove(at);
        self.call("DEL", &with(&conf, result), ifname).run().silent();
        self.check()
    }

    fn check(&mut self) -> &mut Self {
        for (conf, ifname, result) in &self.attachments {
            self.call("CHECK", &with(conf, result.clone()), ifname).run().silent();
        }
        self
    }

    /// The error of CHECK of an interface that differs from its result.
    fn differs(&self, ifname: &str) -> String {
        let (conf, _, result) = self.attachments.iter().find(|(_, name, _)| name == ifname).unwrap();
        let (code, said) = self.call("CHECK", &with(conf, result.clone()), ifname).run().error();
        assert_eq!(code, 101, "{said}");
        said
    }

    /// Connects to the host's uplink, by both families, and returns the source addresses that the host sees.
    fn seen(&self) -> [String; 2] {
        [format!("{UPLINK_V4}:7000"), format!("[{UPLINK_V6}]:7000")]
            .map(|address| ask_tcp(Some(self.netns), &address).unwrap().replace("host sees ", ""))
    }
}

fn with(conf: &Value, result: Value) -> Value {
    let mut conf = conf.clone();
    conf["prevResult"] = result;
    conf
}

fn routes(netns: &Namespaced, family: &str, what: &str) -> Vec<String> {
    let output = netns.enter(|| {
        std::process::Command::new("ip")
            .args([family, "route", "show"])
            .args(what.split_whitespace())
            .output()
            .unwrap()
    });
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn the_first_network_is_the_way_out_and_then_the_next_one() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        serve_tcp(None, "host", "[::]:7000");
        let netns = Namespaced::new("a");
        let mut member = Member::new(&netns);
        assert_eq!(member.join(&network(1), "eth0").seen(), ["10.1.0.2", "fd00:1::2"]);
        // Often enough to notice connections that are spread over several routes.
        for _ in 0..8 {
            assert_eq!(member.seen(), ["10.1.0.2", "fd00:1::2"]);
        }
        member.join(&network(2), "eth1");
        let mut third = network(3);
        third["isDefaultGateway"] = json!(true);
        third["ipam"].as_object_mut().unwrap().remove("routes");
        member.join(&third, "eth2");
        for _ in 0..8 {
            assert_eq!(member.seen(), ["10.1.0.2", "fd00:1::2"]);
        }
        assert_eq!(member.leave("eth0").seen(), ["10.2.0.2", "fd00:2::2"]);
        // A network that is joined again comes after those that the container was on all the time.
        member.join(&network(1), "eth0");
        for _ in 0..8 {
            assert_eq!(member.seen(), ["10.2.0.2", "fd00:2::2"]);
        }
        assert_eq!(member.leave("eth1").seen(), ["10.3.0.2", "fd00:3::2"]);
        assert_eq!(member.leave("eth2").seen(), ["10.1.0.3", "fd00:1::3"]);
        // CHECK is not satisfied by another network's route.
        member.join(&network(2), "eth1");
        for (family, gateway) in [("-4", "10.2.0.1"), ("-6", "fd00:2::1")] {
            netns.enter(|| shell(&format!("ip {family} route del default via {gateway}")));
            assert!(member.differs("eth1").contains("does not have the route to"));
            member.call("DEL", &network(2), "eth1").run().silent();
            member.attachments.pop();
            member.join(&network(2), "eth1");
        }
        member.leave("eth1").leave("eth0");
        drop(netns);
        before.assert_unchanged();
    });
}

#[test]
fn routes_beside_others_are_there_as_the_result_tells() {
    isolated(|| {
        let _host = Host::new();
        let netns = Namespaced::new("a");
        let mut member = Member::new(&netns);
        let mut conf = network(1);
        conf["ipam"]["routes"] = json!([
            {"dst": "0.0.0.0/0", "gw": "10.1.0.8"}, {"dst": "0.0.0.0/0", "gw": "10.1.0.9"},
            {"dst": "::/0", "gw": "fd00:1::8"}, {"dst": "::/0", "gw": "fd00:1::9"},
            // Routes that the kernel has made already, each of them twice.
            {"dst": "10.1.0.0/24"}, {"dst": "fd00:1::/64"}, {"dst": "10.1.0.0/24"}, {"dst": "fd00:1::/64"},
        ]);
        member.join(&conf, "eth0");
        assert_eq!(
            routes(&netns, "-4", "default"),
            ["default via 10.1.0.8 dev eth0", "default via 10.1.0.9 dev eth0"]
        );
        let v6 = routes(&netns, "-6", "default");
        assert!(v6[0].starts_with("default via fd00:1::8 dev eth0 metric 1024"), "{v6:?}");
        assert!(v6[1].starts_with("default via fd00:1::9 dev eth0 metric 1025"), "{v6:?}");
        // Members reach each other without the gateway's help.
        let own = routes(&netns, "-4", "10.1.0.0/24");
        assert_eq!(
            own,
            [
                "10.1.0.0/24 dev eth0 proto kernel scope link src 10.1.0.2",
                "10.1.0.0/24 via 10.1.0.1 dev eth0"
            ]
        );
        assert!(routes(&netns, "-6", "fd00:1::/64")[0].contains("proto kernel metric 256"));
        member.leave("eth0");
    });
}

/// An unspecified next hop is no next hop: the destination is on the link. The route has the scope of a route with a next
/// hop, as the reference has it.
#[test]
fn an_unspecified_next_hop_is_none() {
    isolated(|| {
        let _host = Host::new();
        let netns = Namespaced::new("a");
        let mut member = Member::new(&netns);
        let mut conf = network(1);
        conf["ipam"]["routes"] =
            json!([{"dst": "192.0.2.0/24", "gw": "0.0.0.0"}, {"dst": "2001:db8::/32", "gw": "::"}]);
        member.join(&conf, "eth0");
        assert_eq!(routes(&netns, "-4", "192.0.2.0/24"), ["192.0.2.0/24 dev eth0"]);
        assert!(routes(&netns, "-6", "2001:db8::/32")[0].starts_with("2001:db8::/32 dev eth0 metric 1024"));
    });
}

#[test]
fn a_default_route_of_another_table_is_not_the_default_gateway() {
    isolated(|| {
        let _host = Host::new();
        serve_tcp(None, "host", "[::]:7000");
        let netns = Namespaced::new("a");
        let mut member = Member::new(&netns);
        let mut conf = network(1);
        conf["isDefaultGateway"] = json!(true);
        conf["ipam"]["routes"] = json!([
            {"dst": "0.0.0.0/0", "table": 100}, {"dst": "::/0", "gw": "fd00:1::9", "table": 100},
        ]);
        member.join(&conf, "eth0");
        let told = &member.attachments[0].2["routes"];
        assert_eq!(told[2], json!({"dst": "0.0.0.0/0", "gw": "10.1.0.1"}));
        assert_eq!(told[3], json!({"dst": "::/0", "gw": "fd00:1::1"}));
        assert_eq!(member.seen(), ["10.1.0.2", "fd00:1::2"]);
        assert_eq!(
            routes(&netns, "-6", "table 100"),
            ["default via fd00:1::9 dev eth0 metric 1024 pref medium"]
        );
        // CHECK does not accept the route of another table.
        netns.enter(|| shell("ip route del default"));
        assert!(member.differs("eth0").contains("0.0.0.0/0"));
        netns.enter(|| shell("ip route add default via 10.1.0.1 && ip route del default table 100"));
        assert!(member.differs("eth0").contains("0.0.0.0/0"));
    });
}

/// The reference (1.9.1) makes one IPv6 default route with a next hop for each network, and puts the IPv4 route of the last
/// network first. CHECK accepts a container that it made.
#[test]
fn what_the_reference_makes_of_several_default_routes_is_well() {
    isolated(|| {
        let _host = Host::new();
        serve_tcp(None, "host", "[::]:7000");
        let netns = Namespaced::new("a");
        let mut member = Member::new(&netns);
        member.join(&network(1), "eth0").join(&network(2), "eth1");
        netns.enter(|| {
            shell("ip route del default via 10.2.0.1 && ip route prepend default via 10.2.0.1");
            shell("ip -6 route del default via fd00:2::1 && ip -6 route append default via fd00:2::1");
        });
        assert_eq!(
            routes(&netns, "-4", "default"),
            ["default via 10.2.0.1 dev eth1", "default via 10.1.0.1 dev eth0"]
        );
        let v6 = routes(&netns, "-6", "default");
        assert_eq!(v6.iter().filter(|line| line.starts_with("nexthop")).count(), 2, "{v6:?}");
        member.check();
        assert_eq!(member.leave("eth0").seen(), ["10.2.0.2", "fd00:2::2"]);
    });
}
