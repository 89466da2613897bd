//! Two nodes of a cluster whose pod networks are routed to each other: pods keep their source address towards pods of the
//! other node (`ipMasqExcept`), and a node that admits published ports only admits the cluster as well (`ingressFrom`).

use std::fs;
use std::process::Command;

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Call, Host, Namespaced, OUTSIDE_V4, OUTSIDE_V6, Snapshot, UPLINK_V4, UPLINK_V6, isolated};
use serde_json::{Value, json};

use crate::shared::cleat::{NETWORKS, cleat, ok};
use crate::shared::iptables::prime;
use crate::shared::programs::BRIDGE;
use crate::shared::shell::{said, shell};

const CLUSTER: [&str; 2] = ["10.244.0.0/16", "fd00:244::/32"];
/// The addresses of this node and of the other one, on the link between them.
const NODES: [&str; 2] = ["198.51.100.1", "198.51.100.2"];
/// Pods on the other node.
const FAR: [&str; 2] = ["10.244.2.2:80", "[fd00:244:2::2]:80"];
/// The first pod on this one.
const NEAR: [&str; 2] = ["10.244.1.2", "fd00:244:1::2"];

fn conf(name: &str, number: usize, keys: &Value) -> Value {
    let mut conf = json!({
        "cniVersion": "1.1.0", "name": name, "type": "bridge", "bridge": format!("br-{name}"),
        "isGateway": true, "ipMasq": true, "hairpinMode": true,
        "ipam": {"type": "host-local", "ranges": [
            [{"subnet": format!("10.244.{number}.0/24")}], [{"subnet": format!("fd00:244:{number}::/64")}]
        ], "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}
    });
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    conf
}

/// The other node with a pod.
struct Node {
    node: Namespaced,
    pod: Namespaced,
}

impl Node {
    fn new() -> Self {
        let (node, pod) = (Namespaced::new("node"), Namespaced::new("far"));
        // A router sends neighbour solicitations from its link-local address, which a link has only some time after it is up.
        let settle = "echo 0 >/proc/sys/net/ipv6/conf/wire/accept_dad; ip link set wire up";
        let settled =
            "until ip -6 addr show dev wire scope link -tentative | grep -q fe80; do sleep 0.05; done";
        shell("ip link add wire type veth peer name wire netns node");
        shell(settle);
        shell(&format!("ip addr add {}/24 dev wire; ip addr add fd00:99::1/64 dev wire nodad", NODES[0]));
        node.enter(|| {
            shell(&format!("ip addr add {}/24 dev wire; ip addr add fd00:99::2/64 dev wire nodad", NODES[1]));
            shell(settle);
            shell(settled);
            shell(&format!("ip route add 10.244.1.0/24 via {}", NODES[0]));
            shell("ip -6 route add fd00:244:1::/64 via fd00:99::1");
            let far = conf("far", 2, &json!({"ipMasqExcept": CLUSTER}));
            let result = Call::new(BRIDGE, "ADD", &far).of("far", &pod, "eth0").run().result();
            assert_eq!(result["ips"][0]["address"], "10.244.2.2/24");
        });
        shell(settled);
        shell(&format!("ip route add 10.244.2.0/24 via {}", NODES[1]));
        shell("ip -6 route add fd00:244:2::/64 via fd00:99::2");
        serve_tcp(Some(&pod), "far", "[::]:80");
        Self { node, pod }
    }

    fn end(self) {
        self.node.enter(|| {
            let far = conf("far", 2, &json!({}));
            Call::new(BRIDGE, "DEL", &far).of("far", &self.pod, "eth0").run().silent();
        });
        shell("ip link del wire");
    }
}

fn write(conf: &Value) {
    fs::create_dir_all(NETWORKS).unwrap();
    let list = json!({"cniVersion": "1.1.0", "name": conf["name"], "plugins": [conf]});
    fs::write(format!("{NETWORKS}/{}.conflist", conf["name"].as_str().unwrap()), list.to_string()).unwrap();
}

fn place(netns: &Namespaced) -> &str {
    netns.path().to_str().unwrap()
}

/// A pod on this node.
fn add(conf: &Value, name: &str) -> Namespaced {
    write(conf);
    let netns = Namespaced::new(name);
    ok(&["add", conf["name"].as_str().unwrap(), place(&netns)]);
    serve_tcp(Some(&netns), name, "[::]:80");
    netns
}

fn broken(words: &str) {
    let output = cleat(&["check"]).output().unwrap();
    assert!(!output.status.success() && said(&output).contains(words), "{words}: {}", said(&output));
    assert!(ok(&["repair"]).contains("put right"), "{words}");
    ok(&["check"]);
}

fn keeps_its_source_in_the_cluster(pod: &Namespaced) {
    for (far, near) in FAR.iter().zip(NEAR) {
        assert_eq!(ask_tcp(Some(pod), far).unwrap(), format!("far sees {near}"));
    }
    for (outside, uplink) in [(OUTSIDE_V4.to_owned(), UPLINK_V4), (format!("[{OUTSIDE_V6}]"), UPLINK_V6)] {
        assert_eq!(ask_tcp(Some(pod), &format!("{outside}:80")).unwrap(), format!("outside sees {uplink}"));
    }
}

/// With one backend. `breakages` are commands that break it, each with words from the error of CHECK.
fn excepts(backend: &str, breakages: &[(&str, &str)]) {
    let host = Host::new();
    serve_tcp(Some(&host.outside), "outside", "[::]:80");
    prime("nft");
    fs::create_dir_all(NETWORKS).unwrap();
    let _ = cleat(&["check"]).output().unwrap();
    let before = Snapshot::with_files_of(&["/var/lib/cni/networks"]);
    let node = Node::new();
    let pods = conf("pods", 1, &json!({"ipMasqExcept": CLUSTER, "ipMasqBackend": backend}));
    let pod = add(&pods, "near");
    keeps_its_source_in_the_cluster(&pod);
    // Another network, with another exception, is masqueraded towards the same pod.
    let mut other = conf("other", 3, &json!({"ipMasqExcept": ["192.0.2.0/24"], "ipMasqBackend": backend}));
    other["ipam"]["ranges"] = json!([[{"subnet": "10.3.0.0/24"}]]);
    other["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}]);
    let beside = add(&other, "beside");
    assert_eq!(ask_tcp(Some(&beside), FAR[0]).unwrap(), format!("far sees {}", NODES[0]));
    ok(&["check"]);
    for (breakage, words) in breakages {
        shell(breakage);
        broken(words);
        keeps_its_source_in_the_cluster(&pod);
    }
    assert!(ok(&["repair"]).lines().count() <= 1);
    ok(&["del", "other", place(&beside)]);
    keeps_its_source_in_the_cluster(&pod);
    ok(&["check"]);
    let second = add(&pods, "second");
    ok(&["del", "pods", place(&second)]);
    keeps_its_source_in_the_cluster(&pod);
    // GC, as where DEL never came, and then a late DEL: nothing is left.
    let mut gc = pods.clone();
    gc["cni.dev/valid-attachments"] = json!([]);
    Call::new(BRIDGE, "GC", &gc).run().silent();
    ok(&["del", "pods", place(&pod)]);
    node.end();
    drop((pod, beside, second));
    before.assert_unchanged();
}

#[test]
fn a_pod_keeps_its_address_to_pods_of_other_nodes() {
    isolated(|| {
        excepts(
            "nftables",
            &[
                ("nft flush chain inet cleat_bridge post", "nothing is masqueraded"),
                (
                    "for set in $(nft list sets | grep -o 'except[46]_[0-9a-f]*'); do \
                  nft flush set inet cleat_bridge $set; done",
                    "do not keep their source: set except",
                ),
                (
                    "nft delete rule inet cleat_bridge post handle $(nft -a list chain inet cleat_bridge post \
                  | sed -n 's,.*10.244.0.0/16.* handle ,,p')",
                    "packets to 10.244.0.0/16 do not keep",
                ),
                ("nft delete table inet cleat_bridge", "is not masqueraded"),
            ],
        );
    });
}

#[test]
fn a_pod_keeps_its_address_with_iptables() {
    isolated(|| {
        excepts(
            "iptables",
            &[(
                "chain=$(iptables-nft -t nat -S | sed -n 's,-A \\(CNI-[^ ]*\\) -d 10.244.0.0/16 .*RETURN,\\1,p'); \
                 iptables-nft -t nat -D $chain $(iptables-nft -t nat -S $chain | grep -n RETURN | \
                 sed 's,^\\([0-9]*\\):.*,\\1,' | awk '{print $1 - 1}')",
                "packets to 10.244.0.0/16 do not keep",
            )],
        );
    });
}

/// The table of earlier releases: the same without exceptions.
const EARLIER: &str = include_str!("../data/masquerade-before-exceptions.nft");

#[test]
fn a_table_of_before_gets_exceptions() {
    isolated(|| {
        let host = Host::new();
        serve_tcp(Some(&host.outside), "outside", "[::]:80");
        let before = Snapshot::with_files_of(&["/var/lib/cni/networks"]);
        let node = Node::new();
        let mut pods = conf("pods", 1, &json!({"ipMasq": false}));
        let (near, old) = (Namespaced::new("near"), Namespaced::new("old"));
        // Today's program makes everything but the rules.
        pods["args"] = json!({"cni": {"ips": ["10.244.1.9", "fd00:244:1::9"]}});
        let made = Call::new(BRIDGE, "ADD", &pods).of("old", &old, "eth0").run().result();
        let port = made["interfaces"][1]["name"].as_str().unwrap();
        fs::write("/run/earlier.nft", EARLIER.replace("PORT", port)).unwrap();
        shell("nft -f /run/earlier.nft");
        pods["ipMasq"] = json!(true);
        let check = |conf: &Value, result: &Value, id: &str, netns: &Namespaced| {
            let mut conf = conf.clone();
            conf["prevResult"] = result.clone();
            Call::new(BRIDGE, "CHECK", &conf).of(id, netns, "eth0").run().silent();
        };
        check(&pods, &made, "old", &old);
        let mut excepting = conf("pods", 1, &json!({"ipMasqExcept": CLUSTER}));
        excepting["args"] = json!({"cni": {"ips": NEAR}});
        let new = Call::new(BRIDGE, "ADD", &excepting).of("near", &near, "eth0").run().result();
        check(&pods, &made, "old", &old);
        check(&excepting, &new, "near", &near);
        keeps_its_source_in_the_cluster(&near);
        assert_eq!(ask_tcp(Some(&old), FAR[0]).unwrap(), format!("far sees {}", NODES[0]));
        Call::new(BRIDGE, "DEL", &excepting).of("near", &near, "eth0").run().silent();
        check(&pods, &made, "old", &old);
        Call::new(BRIDGE, "DEL", &pods).of("old", &old, "eth0").run().silent();
        node.end();
        drop((near, old));
        before.assert_unchanged();
    });
}

#[test]
fn the_cluster_comes_in_where_published_ports_do() {
    isolated(|| {
        let host = Host::new();
        fs::create_dir_all(NETWORKS).unwrap();
        let before = Snapshot::with_files_of(&["/var/lib/cni/networks"]);
        let node = Node::new();
        host.outside.enter(|| shell("ip route add 10.244.1.0/24 via 192.0.2.1"));
        let near =
            NEAR.map(|near| if near.contains(':') { format!("[{near}]:80") } else { format!("{near}:80") });
        let from = |place: &Namespaced| near.iter().all(|near| ask_tcp(Some(place), near).is_ok());
        // The gate is made first for a container without `ingressFrom`.
        let closed = add(&conf("pods", 1, &json!({"ingress": "published"})), "closed");
        assert!(!from(&node.pod) && !from(&host.outside));
        let opened = conf("pods", 1, &json!({"ingress": "published", "ingressFrom": CLUSTER}));
        let pod = add(&opened, "opened");
        assert!(from(&node.pod) && ask_tcp(Some(&host.outside), &near[0]).is_err());
        ok(&["check"]);
        let rule = "nft delete rule inet cleat_gate $CHAIN handle $(nft -a list chain inet cleat_gate $CHAIN \
                    | sed -n 's,.*from 10.244.0.0/16.* handle ,,p')";
        let chain = "CHAIN=$(nft list chains | grep -o 'published_[0-9a-f]*'); ";
        shell(&format!("{chain}{rule}"));
        assert!(!from(&node.pod));
        broken("does not let 10.244.0.0/16 in");
        assert!(from(&node.pod));
        for netns in [&closed, &pod] {
            ok(&["del", "pods", place(netns)]);
        }
        node.end();
        drop((closed, pod));
        before.assert_unchanged();
    });
}

/// With `icc: false` a member is not admitted as part of the cluster, though its address is of the cluster.
#[test]
fn members_that_are_kept_apart_do_not_come_in_by_the_cluster() {
    isolated(|| {
        let _host = Host::new();
        fs::create_dir_all(NETWORKS).unwrap();
        let node = Node::new();
        let keys = json!({"ingress": "published", "ingressFrom": CLUSTER, "icc": false});
        let (first, second) = (add(&conf("pods", 1, &keys), "first"), add(&conf("pods", 1, &keys), "second"));
        assert!(ask_tcp(Some(&node.pod), &format!("{}:80", NEAR[0])).is_ok());
        assert!(ask_tcp(Some(&second), &format!("{}:80", NEAR[0])).is_err());
        for netns in [&first, &second] {
            ok(&["del", "pods", place(netns)]);
        }
        node.end();
    });
}

#[test]
fn what_cannot_be_meant_is_refused() {
    isolated(|| {
        let _host = Host::new();
        let netns = Namespaced::new("a");
        for (keys, words) in [
            (json!({"ipMasqExcept": ["10.244.0.0/16", "10.244.3.1/16"]}), "ipMasqExcept[1]: "),
            (json!({"ipMasqExcept": ["::ffff:10.0.0.0/104"]}), "IPv6's words"),
            (json!({"ingress": "published", "ingressFrom": ["cluster"]}), "ingressFrom[0]: "),
            (json!({"internal": true, "ingressFrom": CLUSTER}), "closed to all or to none"),
            (json!({"ingressFrom": CLUSTER}), "closed to all or to none"),
        ] {
            let (code, told) =
                Call::new(BRIDGE, "ADD", &conf("pods", 1, &keys)).of("a", &netns, "eth0").run().error();
            assert!(code == 7 && told.contains(words), "{code} {told}");
        }
        let listed = Command::new("ip").args(["link", "show", "br-pods"]).output().unwrap();
        assert!(!listed.status.success());
    });
}
