//! Two or more running containers with the same address: the subnets of their networks overlap, or an address is given twice
//! on one bridge. That is a mistake of the configuration, and no container loses its rules by it. The last DEL leaves nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Call, Host, Namespaced, OUTSIDE_V4, OUTSIDE_V6, Snapshot, UPLINK_V4, UPLINK_V6, isolated};
use serde_json::{Value, json};

use crate::shared::bridge::conf;
use crate::shared::cleat::{NETWORK, cleat, install_networks, ok};
use crate::shared::containers::{add, del};
use crate::shared::iptables::{PATH, prime};
use crate::shared::programs::BRIDGE;
use crate::shared::shell::{said, shell};

/// One of several attachments with the same addresses.
struct Twin {
    conf: Value,
    netns: Namespaced,
}

impl Twin {
    /// Not attached yet. Each network has its own leases, so all give the same address.
    fn new(number: usize, keys: &Value) -> Self {
        let mut conf = conf();
        conf["name"] = json!(format!("net{number}"));
        conf["args"] = json!({"cni": {"ips": ["10.1.0.2", "fd00:1::2"]}});
        for (key, value) in keys.as_object().unwrap() {
            conf[key] = value.clone();
        }
        Self { conf, netns: Namespaced::new(&format!("c{number}")) }
    }

    fn call(&self, command: &str) -> Call {
        Call::new(BRIDGE, command, &self.conf).of(self.netns.name(), &self.netns, "eth0").env("PATH", PATH)
    }

    fn add(&mut self) {
        self.conf.as_object_mut().unwrap().remove("prevResult");
        let result = self.call("ADD").run().result();
        assert_eq!(result["ips"][0]["address"], "10.1.0.2/24");
        self.conf["prevResult"] = result;
    }

    fn check(&self) {
        self.call("CHECK").run().silent();
    }

    fn del(&self) {
        self.call("DEL").run().silent();
    }

    fn port(&self) -> &str {
        self.conf["prevResult"]["interfaces"][1]["name"].as_str().unwrap()
    }

    fn expect_way_out(&self) {
        for (outside, uplink) in [(OUTSIDE_V4.to_owned(), UPLINK_V4), (format!("[{OUTSIDE_V6}]"), UPLINK_V6)]
        {
            let answer = ask_tcp(Some(&self.netns), &format!("{outside}:80")).unwrap();
            assert_eq!(answer, format!("outside sees {uplink}"));
        }
    }
}

/// What a set or map of the table lists.
fn listed(set: &str) -> String {
    let output = Command::new("nft").args(["list", "set", "inet", "cleat_bridge", set]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Adds all in this order and deletes them in every order. After each step CHECK of those that are left succeeds.
fn live_and_let_live(keys: [Value; 3]) {
    let host = Host::new();
    serve_tcp(Some(&host.outside), "outside", "[::]:80");
    prime("nft");
    let before = Snapshot::take();
    let mut number = 0;
    let mut twins = keys.map(|keys| {
        number += 1;
        Twin::new(number, &keys)
    });
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for place in 0..3 {
            twins[place].add();
            for twin in &twins[..=place] {
                twin.check();
            }
            // The host routes answers to the first bridge, so only the first container gets any.
            twins[0].expect_way_out();
        }
        for (at, place) in order.iter().enumerate() {
            // The second DEL finds nothing of its own, and removes nothing of the others.
            twins[*place].del();
            twins[*place].del();
            for left in &order[at + 1..] {
                twins[*left].check();
            }
            if order[at + 1..].contains(&0) {
                twins[0].expect_way_out();
            }
        }
        let state = Snapshot::take();
        let left: Vec<&str> = state.lines().filter(|line| line.contains("cleat_bridge")).collect();
        assert_eq!(left, [""; 0]);
    }
    drop(twins);
    before.assert_unchanged();
}

#[test]
fn networks_of_one_subnet() {
    isolated(|| {
        live_and_let_live([
            json!({"bridge": "br1"}),
            json!({"bridge": "br2", "macspoofchk": true, "ingress": "published"}),
            json!({"bridge": "br3"}),
        ]);
    });
}

#[test]
fn networks_of_one_subnet_with_iptables() {
    isolated(|| {
        live_and_let_live(
            ["br1", "br2", "br3"].map(|bridge| json!({"bridge": bridge, "ipMasqBackend": "iptables"})),
        );
    });
}

/// With long names the comment of an owner's element has no room for the other owners of its addresses.
#[test]
fn networks_with_long_names() {
    isolated(|| {
        live_and_let_live(["a", "b", "c"].map(|letter| {
            json!({"bridge": format!("a-long-name-br{letter}"), "name": letter.repeat(60),
                "args": {"cni": {"ips": ["10.1.0.2", "fd00:1234:5678:9abc:def0:1234:5678:1002"]}},
                "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}],
                    [{"subnet": "fd00:1234:5678:9abc:def0:1234:5678::/112"}]],
                    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}})
        }));
    });
}

/// A static address that is given twice on one bridge: two networks share the bridge, and each leases it once.
#[test]
fn one_address_on_one_bridge() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let mut twins = [1, 2].map(|number| Twin::new(number, &json!({"bridge": "br1"})));
        for (first, second) in [(0, 1), (1, 0)] {
            for twin in &mut twins {
                twin.add();
            }
            twins.iter().for_each(Twin::check);
            twins[first].del();
            twins[second].check();
            assert!(listed("home4").contains(twins[second].port()), "{}", listed("home4"));
            twins[second].del();
        }
        drop(twins);
        before.assert_unchanged();
    });
}

/// An owner whose interface no longer exists is replaced, although its DEL was never called.
#[test]
fn who_is_gone_is_replaced() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let [mut gone, mut next] = [1, 2].map(|n| Twin::new(n, &json!({"bridge": format!("br{n}")})));
        gone.add();
        shell(&format!("ip link del {}", gone.port()));
        next.add();
        next.check();
        assert!(listed("masq4").contains(next.port()) && !listed("home4").contains(gone.port()));
        gone.del();
        next.check();
        next.del();
        drop((gone, next));
        before.assert_unchanged();
    });
}

/// A set or map is flushed, as by a reload of the packet filter. The next ADD puts its elements back, beside the other owner's.
#[test]
fn what_is_flushed_is_put_back_beside_the_other() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let mut twins = [1, 2].map(|n| Twin::new(n, &json!({"bridge": format!("br{n}")})));
        for flushed in ["flush map inet cleat_bridge owners", "flush set inet cleat_bridge masq4"] {
            for twin in &mut twins {
                twin.add();
            }
            shell(&format!("nft {flushed}"));
            // DEL and another ADD, with the other container still attached.
            twins[1].del();
            twins[1].add();
            twins[1].check();
            twins[0].del();
            twins[1].check();
            twins[1].del();
            assert_eq!(listed("masq4"), "");
        }
        drop(twins);
        before.assert_unchanged();
    });
}

/// STATUS names the other link, and only where it makes the host's route to the network ambiguous.
#[test]
fn who_asks_is_told() {
    isolated(|| {
        let _host = Host::new();
        let mut conf = conf();
        conf["cniVersion"] = json!("1.1.0");
        let status = || Call::new(BRIDGE, "STATUS", &conf).run();
        status().silent();
        let place = |link: &str, address: &str| {
            shell(&format!(
                "ip link add other type {link}; ip addr add {address} dev other; ip link set other up"
            ));
        };
        for (link, address, words) in [
            ("bridge", "10.1.0.1/24", "subnet 10.1.0.0/24 clashes with 10.1.0.0/24 of link other"),
            ("bridge", "10.1.0.9/16", "subnet 10.1.0.0/24 clashes with 10.1.0.0/16 of link other"),
            (
                "veth peer name far",
                "10.1.0.77/28",
                "subnet 10.1.0.0/24 clashes with 10.1.0.64/28 of link other",
            ),
            (
                "veth peer name far",
                "fd00:1::7/64",
                "subnet fd00:1::/64 clashes with fd00:1::/64 of link other",
            ),
        ] {
            place(link, address);
            let (code, said) = status().error();
            assert!(code == 51 && said.contains(words), "{code} {said}");
            // The same address on the network's own bridge is the gateway's, which is no clash.
            if link == "bridge" {
                shell("ip link set other down; ip link set other name br0; ip link set br0 up");
                status().silent();
                shell("ip link set br0 down; ip link set br0 name other");
            }
            shell("ip link del other");
        }
        // No clash: the kernel prefers the network's route to that of a wider one, and a single address has no route to others.
        for address in ["10.0.0.5/8", "10.1.0.0/32", "fd00:1::5/128", "10.2.0.1/24", "fe80::5/64"] {
            place("veth peer name far", address);
            status().silent();
            shell("ip link del other");
        }
        let mut alone = conf.clone();
        alone["isGateway"] = json!(false);
        place("bridge", "10.1.0.1/24");
        Call::new(BRIDGE, "STATUS", &alone).run().silent();
        shell("ip link del other");
    });
}

#[test]
fn cleat_check_tells_what_clashes() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let netns = add("web", NETWORK, 8080);
        assert!(!ok(&["check"]).contains("clashes"));
        shell("ip link add other type bridge; ip addr add 10.90.0.1/16 dev other");
        let told = ok(&["check"]);
        assert!(told.contains("ok") && told.contains("clashes with 10.90.0.0/16 of link other"), "{told}");
        shell("ip link del other");
        del(NETWORK, netns);
    });
}

/// The subnets of the shipped networks overlap neither with each other nor with the default networks of the runtimes.
#[test]
fn shipped_networks_have_subnets_of_their_own() {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let mut files = Vec::new();
    for folder in ["", "containerd", "crio", "podman"] {
        let found = fs::read_dir(conf.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        files.extend(found.filter(|file| file.extension().is_some_and(|extension| extension == "conflist")));
    }
    assert_eq!(files.len(), 8);
    let mut command = cleat(&["conf", "check", "--files-only"]);
    let output = command.args(&files).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    // Of podman, CRI-O, nerdctl and Docker. Our files for podman and CRI-O replace theirs, and may have their subnets.
    let theirs = ["10.88.", "10.89.", "10.85.", "10.4.", "172."];
    let (mut bridges, mut count) = (Vec::new(), 0);
    for file in &files {
        let list: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let bridge = &list["plugins"][0];
        assert!(!bridges.contains(&bridge["bridge"]), "{}", file.display());
        bridges.push(bridge["bridge"].clone());
        let is_in_place = ["crio", "podman"].iter().any(|folder| file.parent().unwrap().ends_with(folder));
        for range in bridge["ipam"]["ranges"].as_array().unwrap() {
            let subnet = range[0]["subnet"].as_str().unwrap();
            count += 1;
            assert!(is_in_place || !theirs.iter().any(|network| subnet.starts_with(network)), "{subnet}");
        }
    }
    assert_eq!(count, 11);
}
