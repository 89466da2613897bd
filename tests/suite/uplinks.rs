//! The host's own IPv6 route by router advertisements: it survives the first network with IPv6, and no container gives the
//! host a route. Sysctls that are right already are not written, so they may be on a read-only /proc/sys.

use std::fs;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use netlink::{Socket, sysctl};
use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Call, Host, Namespaced, advertise, isolated};
use serde_json::{Value, json};

use crate::shared::bridge::{add, call, conf, with_result};
use crate::shared::cleat::{NETWORKS, cleat, succeed};
use crate::shared::programs::BRIDGE;
use crate::shared::shell::shell;

const PREFIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 0);
const FORWARDING: &str = "net/ipv6/conf/all/forwarding";

/// A host that does not forward, with an uplink that accepts advertisements while that is so, and the router on the uplink.
struct Node {
    router: Namespaced,
}

impl Node {
    /// The uplink is a link of its own, or a port of a bridge.
    fn new(uplink: &str, bridge: Option<&str>) -> Self {
        let router = Namespaced::new("router");
        sysctl::set(FORWARDING, "0").unwrap();
        shell(&format!(
            "ip link set lo up && ip link add {uplink} type veth peer name e0 netns router && ip link set {uplink} up"
        ));
        router.enter(|| {
            sysctl::set("net/ipv6/conf/e0/accept_dad", "0").unwrap();
            shell("ip addr add 2001:db8:7::1/64 dev e0 nodad && ip link set e0 up");
        });
        serve_tcp(Some(&router), "router", "[::]:80");
        if let Some(bridge) = bridge {
            shell(&format!(
                "ip link add {bridge} type bridge && ip link set {uplink} master {bridge} && ip link set {bridge} up"
            ));
        }
        let link = bridge.unwrap_or(uplink);
        set(link, 1);
        sysctl::set(&format!("net/ipv6/conf/{link}/accept_dad"), "0").unwrap();
        Self { router }
    }

    /// The router sends advertisements until a link has its default route; false where it gets none.
    fn is_heeded(&self, link: &str) -> bool {
        heeds(&self.router, "e0", link)
    }
}

/// Whether advertisements give the host a default route out of a link.
fn heeds(router: &Namespaced, from: &str, link: &str) -> bool {
    let deadline = Instant::now() + Duration::from_secs(6);
    while Instant::now() < deadline {
        if advertise(Some(router), from, PREFIX) && has_default(link) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}

fn has_default(link: &str) -> bool {
    let mut socket = Socket::open().unwrap();
    let index = socket.get_link(link).unwrap().unwrap().index;
    socket.routes(index).unwrap().iter().any(|route| route.dst.prefix() == 0 && route.dst.is_ipv6())
}

fn accepted(link: &str) -> String {
    sysctl::get(&format!("net/ipv6/conf/{link}/accept_ra")).unwrap()
}

fn set(link: &str, value: u32) {
    sysctl::set(&format!("net/ipv6/conf/{link}/accept_ra"), &value.to_string()).unwrap();
}

fn status(conf: &Value) -> Call {
    let mut conf = conf.clone();
    conf["cniVersion"] = json!("1.1.0");
    Call::new(BRIDGE, "STATUS", &conf)
}

fn only_ipv4() -> Value {
    let mut conf = conf();
    conf["ipam"]["ranges"] = json!([[{"subnet": "10.1.0.0/24"}]]);
    conf["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}]);
    conf
}

/// The error of CHECK or STATUS where advertisements are no longer accepted.
fn assert_told((code, said): (u64, String), wanted: u64) {
    assert_eq!(code, wanted, "{said}");
    for words in ["up0", "router advertisements", "sysctl -w net/ipv6/conf/up0/accept_ra=2"] {
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn the_host_keeps_its_way_out_when_it_becomes_a_router() {
    isolated(|| {
        let node = Node::new("up0", None);
        assert!(node.is_heeded("up0"));
        let netns = Namespaced::new("a");
        // A network without IPv6 changes none of this.
        add(&only_ipv4(), "a", &netns);
        assert_eq!((sysctl::get(FORWARDING).unwrap().as_str(), accepted("up0").as_str()), ("0", "1"));
        call("DEL", &only_ipv4(), "a", &netns).run().silent();

        let result = add(&conf(), "a", &netns);
        assert_eq!((sysctl::get(FORWARDING).unwrap().as_str(), accepted("up0").as_str()), ("1", "2"));
        assert!(has_default("up0"));
        assert_eq!(accepted("br0"), "0");
        // Later advertisements are accepted as well.
        shell("ip -6 route del default");
        assert!(node.is_heeded("up0"));
        assert!(ask_tcp(Some(&netns), "[2001:db8:7::1]:80").unwrap().starts_with("router sees 2001:db8:7:"));
        let check = call("CHECK", &with_result(&result), "a", &netns);
        check.run().silent();
        status(&conf()).run().silent();

        // accept_ra is set back to 1: the route is there until its lifetime ends.
        set("up0", 1);
        assert_told(check.run().error(), 101);
        assert_told(status(&conf()).run().error(), 50);
        status(&only_ipv4()).run().silent();
        // The lifetime of the route has ended, that of the address has not.
        shell("ip -6 route del default");
        assert_told(check.run().error(), 101);
        // The operator has given the host another default route: CHECK of a container passes.
        shell("ip -6 route add default via 2001:db8:7::1");
        check.run().silent();
        assert_told(status(&conf()).run().error(), 50);
        set("up0", 2);
        check.run().silent();
        status(&conf()).run().silent();
    });
}

/// The host forwards already, because of Docker or an earlier version, and has lost its route: ADD has it come back.
#[test]
fn an_uplink_of_a_host_that_forwards_already_is_heeded_again() {
    isolated(|| {
        let node = Node::new("up0", None);
        assert!(node.is_heeded("up0"));
        sysctl::set(FORWARDING, "1").unwrap();
        assert!(!has_default("up0"));
        // STATUS is silent because the first ADD repairs this: a node that is reported as not ready would get no ADD.
        status(&conf()).run().silent();
        // accept_ra cannot be written here: ADD leaves it as it is, and CHECK agrees.
        let (netns, other) = (Namespaced::new("a"), Namespaced::new("b"));
        shell("mount --bind /proc/sys/net/ipv6/conf/up0 /proc/sys/net/ipv6/conf/up0");
        shell("mount -o remount,ro,bind /proc/sys/net/ipv6/conf/up0");
        assert_told(status(&conf()).run().error(), 50);
        let first = add(&conf(), "a", &netns);
        assert_eq!(accepted("up0"), "1");
        call("CHECK", &with_result(&first), "a", &netns).run().silent();
        assert_told(status(&conf()).run().error(), 50);
        shell("umount /proc/sys/net/ipv6/conf/up0");

        // The next ADD sets it, on a bridge that is there already.
        let second = add(&conf(), "b", &other);
        assert_eq!(accepted("up0"), "2");
        for (result, id, netns) in [(&first, "a", &netns), (&second, "b", &other)] {
            call("CHECK", &with_result(result), id, netns).run().silent();
        }
        status(&conf()).run().silent();
        assert!(node.is_heeded("up0"));
        assert!(ask_tcp(Some(&netns), "[2001:db8:7::1]:80").unwrap().starts_with("router sees 2001:db8:7:"));
        // accept_ra is 0 on purpose: it stays.
        set("up0", 0);
        call("DEL", &with_result(&second), "b", &other).run().silent();
        let second = add(&conf(), "b", &other);
        assert_eq!(accepted("up0"), "0");
        call("CHECK", &with_result(&second), "b", &other).run().silent();
    });
}

/// `repair` corrects the host's settings, and interrupts no container for them.
#[test]
fn repair_mends_the_host_and_leaves_containers_alone() {
    isolated(|| {
        let _host = Host::new();
        let node = Node::new("up0", None);
        assert!(node.is_heeded("up0"));
        let netns = Namespaced::new("a");
        fs::create_dir_all(NETWORKS).unwrap();
        let mut list = conf();
        let mut plugin = list.as_object_mut().unwrap().clone();
        let name = plugin.remove("name").unwrap();
        plugin.remove("cniVersion");
        list = json!({"cniVersion": "1.1.0", "name": name, "plugins": [plugin]});
        fs::write(format!("{NETWORKS}/10-it.conflist"), list.to_string()).unwrap();
        let (name, path) = (name.as_str().unwrap().to_owned(), netns.path().to_str().unwrap().to_owned());
        succeed(&mut cleat(&["add", &name, &path]));
        let seen = || netns.enter(|| Socket::open().unwrap().get_link("eth0").unwrap().unwrap());
        let before = seen();
        let is_same = || (seen().index, seen().mac) == (before.index, before.mac);
        assert_eq!(accepted("up0"), "2");

        set("up0", 1);
        assert!(!cleat(&["check"]).output().unwrap().status.success());
        assert!(succeed(&mut cleat(&["repair"])).contains("put right"));
        assert_eq!(accepted("up0"), "2");
        assert!(is_same());
        succeed(&mut cleat(&["check"]));

        set("up0", 1);
        assert!(succeed(&mut cleat(&["repair", "--force"])).contains("put right"));
        assert_eq!(accepted("up0"), "2");
        assert!(is_same());

        // What cannot be repaired is reported. DEL and ADD are not tried, since the ADD would fail.
        sysctl::set("net/ipv4/ip_forward", "0").unwrap();
        shell("mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys");
        for args in [&["repair"][..], &["repair", "--force"]] {
            let output = cleat(args).output().unwrap();
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            assert!(!output.status.success() && said.contains("read-only"), "{said}");
            assert!(!said.contains("made anew") && !said.contains("--force"), "{said}");
            assert!(is_same(), "{said}");
        }
        shell("umount /proc/sys");
        assert!(succeed(&mut cleat(&["repair"])).contains("put right"));
        succeed(&mut cleat(&["check"]));
        assert!(is_same());
    });
}

/// Router advertisements from a container are ignored, even where the bridge existed and had accepted some before the ADD.
#[test]
fn no_container_gives_the_host_a_route() {
    isolated(|| {
        let _host = Host::new();
        sysctl::set(FORWARDING, "0").unwrap();
        let evil = Namespaced::new("evil");
        for (bridge, port) in [("br0", "p0"), ("other", "p1")] {
            shell(&format!(
                "ip link add {bridge} type bridge && ip link set {bridge} up \
                 && ip link add {port} type veth peer name e{port} netns evil && ip link set {port} master {bridge} up"
            ));
            set(bridge, 1);
            evil.enter(|| {
                sysctl::set(&format!("net/ipv6/conf/e{port}/accept_dad"), "0").unwrap();
                shell(&format!("ip link set e{port} up"));
            });
            assert!(heeds(&evil, &format!("e{port}"), bridge));
        }
        let netns = Namespaced::new("a");
        add(&only_ipv4(), "a", &netns);
        assert_eq!((accepted("br0").as_str(), accepted("other").as_str()), ("0", "1"));
        shell("ip -6 route del default dev br0");
        assert!(!heeds(&evil, "ep0", "br0"));
        call("DEL", &only_ipv4(), "a", &netns).run().silent();
        // The other bridge has routes by advertisements, but it has no uplink.
        add(&conf(), "a", &netns);
        assert_eq!(sysctl::get(FORWARDING).unwrap(), "1");
        assert_eq!((accepted("br0").as_str(), accepted("other").as_str()), ("0", "1"));
        assert!(!has_default("other"));
    });
}

/// An operator's bridge with the host's network card in it has the host's own addresses.
#[test]
fn a_bridge_to_the_outside_goes_on_being_the_hosts_way_out() {
    isolated(|| {
        let node = Node::new("up0", Some("br0"));
        // It takes the place of a network card: it is neither a veth nor a tap.
        shell("ip link add card type vxlan id 1 dstport 4789 && ip link set card master br0 up");
        assert!(node.is_heeded("br0"));
        let netns = Namespaced::new("a");
        let mut on_it = conf();
        on_it["isGateway"] = json!(false);
        on_it["ipMasq"] = json!(false);
        add(&on_it, "a", &netns);
        assert_eq!(accepted("br0"), "1");
        let mut beside = conf();
        beside["bridge"] = json!("br1");
        beside["name"] = json!("beside");
        let other = Namespaced::new("b");
        let result = add(&beside, "b", &other);
        assert_eq!((accepted("br0").as_str(), accepted("br1").as_str()), ("2", "0"));
        assert!(has_default("br0"));
        beside["prevResult"] = result;
        call("CHECK", &beside, "b", &other).run().silent();
    });
}

/// /proc/sys is read-only in a container or a build job, as with podman in podman.
#[test]
fn what_is_right_need_not_be_written() {
    isolated(|| {
        let _host = Host::new();
        let (a, b) = (Namespaced::new("a"), Namespaced::new("b"));
        sysctl::set("net/ipv4/ip_forward", "0").unwrap();
        sysctl::set(FORWARDING, "0").unwrap();
        shell("mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys");
        for (conf, parameter) in [(only_ipv4(), "net/ipv4/ip_forward"), (conf(), "net/ipv4/ip_forward")] {
            let (code, said) = call("ADD", &conf, "a", &a).run().error();
            assert_eq!(code, 100, "{said}");
            assert!(
                said.contains("read-only") && said.contains(&format!("sysctl -w {parameter}=1")),
                "{said}"
            );
        }
        shell("umount /proc/sys");
        sysctl::set("net/ipv4/ip_forward", "1").unwrap();
        shell("mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys");
        // IPv6 is not forwarded, and accept_ra of the bridge cannot be set to 0: neither fails a network of IPv4 alone.
        let result = add(&only_ipv4(), "a", &a);
        let mut check = only_ipv4();
        check["prevResult"] = result;
        call("CHECK", &check, "a", &a).run().silent();
        let mut without_gateway = conf();
        without_gateway["isGateway"] = json!(false);
        for (conf, cure) in
            [(conf(), "net/ipv6/conf/all/forwarding=1"), (without_gateway, "net/ipv6/conf/br0/accept_ra=0")]
        {
            let (code, said) = call("ADD", &conf, "b", &b).run().error();
            assert_eq!(code, 100, "{said}");
            assert!(said.contains("read-only") && said.contains(cure), "{said}");
        }
        call("DEL", &only_ipv4(), "a", &a).run().silent();
        shell("umount /proc/sys");
        // A host that forwards IPv6 accepts no advertisements anyway, so there is nothing to write.
        sysctl::set(FORWARDING, "1").unwrap();
        shell("mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys");
        add(&conf(), "b", &b);
        serve_tcp(None, "host", "[::]:7000");
        assert!(ask_tcp(Some(&b), "[fd00:1::1]:7000").unwrap().starts_with("host sees fd00:1::"));
    });
}

/// As with the kernel parameter `ipv6.disable=1`, by which these files do not exist.
#[test]
fn a_network_of_ipv4_needs_nothing_of_ipv6() {
    isolated(|| {
        let _host = Host::new();
        shell("mount -t tmpfs none /proc/sys/net/ipv6");
        assert_eq!(fs::read_dir("/proc/sys/net/ipv6").unwrap().count(), 0);
        let netns = Namespaced::new("a");
        let mut check = only_ipv4();
        check["prevResult"] = add(&only_ipv4(), "a", &netns);
        call("CHECK", &check, "a", &netns).run().silent();
        status(&only_ipv4()).run().silent();
        call("DEL", &only_ipv4(), "a", &netns).run().silent();
    });
}
