//! A node changes from the reference's portmap to this suite while containers run. Ports that portmap has published, by
//! either backend, count as published: CHECK passes, and ADD does not publish them twice. Damaged rules are replaced by ours.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Call, Host, Namespaced, UPLINK_V4, UPLINK_V6, isolated};
use serde_json::{Value, json};

use crate::shared::bridge::{add, call, conf};
use crate::shared::iptables::{LEGACY, PATH, choose_legacy, prime, saved};
use crate::shared::programs::{HOST_PORT, REFERENCE};
use crate::shared::shell::shell;

const PLUGINS: &str = "/run/plugins";

/// A container whose ports the reference has published, and calls of our program for it.
struct Moved {
    host: Host,
    web: Namespaced,
    conf: Value,
    path: String,
}

impl Moved {
    /// `publish` publishes the ports, as the configuration that it is given says.
    fn new(path: &str, publish: impl Fn(&Value, &Namespaced)) -> Self {
        let host = Host::new();
        fs::create_dir_all(PLUGINS).unwrap();
        symlink(HOST_PORT, format!("{PLUGINS}/portmap")).unwrap();
        let web = Namespaced::new("web");
        let result = add(&conf(), "web", &web);
        serve_tcp(Some(&web), "web", "[::]:80");
        let conf = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "portmap", "prevResult": result,
            "runtimeConfig": {"portMappings": [
                {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
                {"hostPort": 8081, "containerPort": 80, "protocol": "tcp", "hostIP": "127.0.0.1"},
                {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "2001:db8::1"},
            ]}
        });
        publish(&conf, &web);
        let moved = Self { host, web, conf, path: path.to_owned() };
        moved.is_reached();
        moved
    }

    fn call(&self, command: &str, backend: Option<&str>) -> Call {
        let mut conf = self.conf.clone();
        if let Some(backend) = backend {
            conf["backend"] = json!(backend);
        }
        Call::new(&format!("{PLUGINS}/portmap"), command, &conf)
            .of("web", &self.web, "eth0")
            .env("PATH", &self.path)
    }

    fn is_reached(&self) {
        for (from, address) in [
            (Some(&self.host.outside), format!("{UPLINK_V4}:8080")),
            (Some(&self.host.outside), format!("[{UPLINK_V6}]:8080")),
            (None, "127.0.0.1:8080".to_owned()),
            (None, "127.0.0.1:8081".to_owned()),
        ] {
            assert!(ask_tcp(from, &address).expect(&address).starts_with("web sees "));
        }
    }

    /// CHECK passes with either backend, and a repeated ADD changes nothing.
    fn serves(&self, rules: impl Fn() -> String) {
        let before = rules();
        for backend in [None, Some("nftables"), Some("iptables")] {
            self.call("CHECK", backend).run().silent();
            let result = self.call("ADD", backend).run().result();
            assert_eq!(result["ips"], self.conf["prevResult"]["ips"]);
            // The iptables backend treats the reference's chains as its own, and rewrites them.
            let is_own = backend == Some("iptables") && before.contains("CNI-DN-");
            if !is_own {
                assert_eq!(rules(), before, "{backend:?}");
            }
            for word in ["dnat to", "--to-destination"] {
                assert_eq!(rules().matches(word).count(), before.matches(word).count(), "{backend:?}");
            }
        }
        self.is_reached();
    }

    /// CHECK names what is missing. The same ADD then replaces the reference's rules by ours, and DEL leaves nothing.
    fn is_replaced(&self, damage: &str, named: &str) {
        shell(damage);
        for backend in [None, Some("iptables")] {
            let (code, said) = self.call("CHECK", backend).run().error();
            assert_eq!(code, 101, "{said}");
            assert!(said.contains(named), "{backend:?}: {said}");
        }
        assert!(self.call("ADD", None).run().result().is_object());
        let rules = ruleset();
        for of_reference in ["CNI-DN-", "comment \"web\""] {
            assert!(!rules.contains(of_reference), "{of_reference}: {rules}");
        }
        assert!(rules.contains("cleat_host_port"), "{rules}");
        self.call("CHECK", None).run().silent();
        self.is_reached();
        self.call("DEL", None).without("CNI_NETNS").run().silent();
        assert!(ask_tcp(None, "127.0.0.1:8080").is_err());
        assert!(!ruleset().contains("8080"));
        call("DEL", &conf(), "web", &self.web).run().silent();
    }
}

fn ruleset() -> String {
    let output = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // Packet counters change, so numbers are left out.
    let words = text.split_whitespace().filter(|word| word.parse::<u64>().is_err() || *word == "8080");
    words.collect::<Vec<_>>().join(" ")
}

/// The reference of Debian 12.
fn by_reference(path: &str) -> impl Fn(&Value, &Namespaced) {
    move |conf, web| {
        let program = format!("{REFERENCE}/portmap");
        let answer = Call::new(&program, "ADD", conf).of("web", web, "eth0").env("PATH", path).run();
        assert!(answer.result().is_object());
    }
}

#[test]
fn chains_of_the_reference_count() {
    isolated(|| {
        prime("nft");
        let moved = Moved::new(PATH, by_reference(PATH));
        moved.serves(ruleset);
        moved.is_replaced(
            "ip6tables -t nat -F CNI-HOSTPORT-DNAT",
            "ip6tables-nft -t nat has no rule \"-p tcp -m comment --comment dnat name: \"net\" id: \"web\"",
        );
    });
}

#[test]
fn chains_of_the_reference_in_the_legacy_variant_count() {
    isolated(|| {
        choose_legacy();
        prime("legacy");
        let legacy = format!("{LEGACY}:{PATH}");
        // The administrator has switched to the nft variant since.
        let moved = Moved::new(PATH, by_reference(&legacy));
        moved.serves(|| saved("legacy").join("\n") + &ruleset());
        moved
            .is_replaced("iptables-legacy -t nat -F CNI-HOSTPORT-DNAT", "iptables-legacy -t nat has no rule");
        assert_eq!(saved("legacy"), Vec::<String>::new());
    });
}

/// The tables are recorded from version 1.9.1: the reference of Debian 12 has no nftables backend.
#[test]
fn tables_of_the_reference_count() {
    isolated(|| {
        prime("nft");
        let load = |_: &Value, _: &Namespaced| {
            fs::write("/run/reference.nft", include_str!("../data/reference-hostport-1.9.1.nft")).unwrap();
            shell("nft -f /run/reference.nft && echo 1 >/proc/sys/net/ipv4/conf/br0/route_localnet");
        };
        let moved = Moved::new(PATH, load);
        moved.serves(ruleset);
        for (damage, repair, named) in [
            (
                "echo 0 >/proc/sys/net/ipv4/conf/br0/route_localnet",
                "echo 1 >/proc/sys/net/ipv4/conf/br0/route_localnet",
                "route_localnet of interface br0 is off",
            ),
            (
                "nft flush chain ip cni_hostport output",
                "nft add rule ip cni_hostport output fib daddr type local jump hostports_all",
                "chain output of table ip cni_hostport does not lead to chain hostports_all",
            ),
            (
                "nft flush chain ip6 cni_hostport masquerading",
                "nft add rule ip6 cni_hostport masquerading ip6 saddr fd00:1::2 ip6 daddr fd00:1::2 masquerade",
                "table ip6 cni_hostport does not masquerade fd00:1::2 on its way to fd00:1::2",
            ),
        ] {
            shell(damage);
            let (code, said) = moved.call("CHECK", None).run().error();
            assert!(code == 101 && said.contains(named), "{said}");
            shell(repair);
            moved.call("CHECK", None).run().silent();
        }
        moved.is_replaced(
            "nft flush chain ip6 cni_hostport hostports",
            "table ip6 cni_hostport has no rule that leads port [::]:8080/tcp to [fd00:1::2]:80",
        );
    });
}

/// The operator changes from one of our backends to the other while containers run.
fn the_other_counts(old: &str, new: &str) {
    prime("nft");
    let moved = Moved::new(PATH, |conf, web| {
        let mut conf = conf.clone();
        conf["backend"] = json!(old);
        let program = format!("{PLUGINS}/portmap");
        let answer = Call::new(&program, "ADD", &conf).of("web", web, "eth0").env("PATH", PATH).run();
        assert!(answer.result().is_object());
    });
    moved.call("CHECK", Some(new)).run().silent();
    shell(&format!("nft list ruleset | grep -q {}", if old == "iptables" { "CNI-DN-" } else { "port4" }));
    moved.call("DEL", Some(new)).without("CNI_NETNS").run().silent();
    assert!(!ruleset().contains("8080"));
    call("DEL", &conf(), "web", &moved.web).run().silent();
}

#[test]
fn our_chains_count_for_the_backend_of_nftables() {
    isolated(|| the_other_counts("iptables", "nftables"));
}

#[test]
fn our_table_counts_for_the_backend_of_iptables() {
    isolated(|| the_other_counts("nftables", "iptables"));
}

/// What earlier versions of this suite made for the container `web`.
const BEFORE: [&str; 2] =
    [include_str!("../data/host-port-46b4685.nft"), include_str!("../data/host-port-9a5d124.nft")];
/// What CHECK reports for them: only rules close 127.0.0.1 to neighbours while `route_localnet` is on.
const OPENED: &str = "by route_localnet of interface br0, which a flush of all rules leaves open";

fn route_localnet() -> String {
    fs::read_to_string("/proc/sys/net/ipv4/conf/br0/route_localnet").unwrap().trim().to_owned()
}

/// Containers that an earlier version has published are reached, checked, repaired and removed.
#[test]
fn the_table_of_the_first_version_counts() {
    isolated(|| the_table_of_before_counts(BEFORE[0]));
}

#[test]
fn the_table_of_the_version_before_counts() {
    isolated(|| the_table_of_before_counts(BEFORE[1]));
}

fn the_table_of_before_counts(recorded: &str) {
    prime("nft");
    let mut moved = Moved::new(PATH, |_: &Value, _: &Namespaced| load(recorded));
    moved.conf["runtimeConfig"]["portMappings"][2] =
        json!({"hostPort": 5353, "containerPort": 53, "protocol": "udp"});
    let is_opened = || {
        let (code, said) = moved.call("CHECK", None).run().error();
        assert!(code == 101 && said.contains(OPENED), "{said}");
    };
    is_opened();
    moved.is_reached();
    let by_host = format!("{UPLINK_V4}:8080");
    // ADD of another container renews the table, and the first container keeps what it has.
    let other = Namespaced::new("other");
    let mut conf = moved.conf.clone();
    conf["prevResult"] = add(&crate::shared::bridge::conf(), "other", &other);
    conf["runtimeConfig"]["portMappings"] = json!([{"hostPort": 9090, "containerPort": 80}]);
    serve_tcp(Some(&other), "other", "[::]:80");
    let on_other =
        |verb: &str| Call::new(&format!("{PLUGINS}/portmap"), verb, &conf).of("other", &other, "eth0").run();
    assert!(on_other("ADD").result().is_object());
    assert_eq!(ask_tcp(None, &format!("{UPLINK_V4}:9090")).unwrap(), format!("other sees {UPLINK_V4}"));
    on_other("CHECK").silent();
    is_opened();
    moved.is_reached();
    shell("nft list set inet cleat_host_port local4");
    assert_eq!(route_localnet(), "1");
    // CHECK still names damage.
    shell("nft flush chain inet cleat_host_port post");
    let (code, said) = moved.call("CHECK", None).run().error();
    assert!(code == 101 && said.contains("rules of chain post"), "{said}");
    for _ in 0..2 {
        assert!(moved.call("ADD", None).run().result().is_object());
        moved.call("CHECK", None).run().silent();
        moved.is_reached();
        assert_eq!(route_localnet(), "0");
    }
    assert_eq!(ask_tcp(None, &by_host).unwrap(), format!("web sees {UPLINK_V4}"));
    moved.call("DEL", None).without("CNI_NETNS").run().silent();
    on_other("DEL").silent();
    assert!(!ruleset().contains("cleat_host_port"), "{}", ruleset());
    for netns in [&moved.web, &other] {
        call("DEL", &crate::shared::bridge::conf(), netns.name(), netns).run().silent();
    }
}

/// After a flush of the earlier version's rules, the next ADD of any container switches off its `route_localnet`.
#[test]
fn what_a_version_before_switched_on_goes_off_after_a_flush() {
    isolated(|| {
        prime("nft");
        let moved = Moved::new(PATH, |_: &Value, _: &Namespaced| load(BEFORE[1]));
        shell("nft flush ruleset");
        assert_eq!(route_localnet(), "1");
        let other = Namespaced::new("other");
        let mut conf = moved.conf.clone();
        conf["prevResult"] = add(&crate::shared::bridge::conf(), "other", &other);
        conf["runtimeConfig"]["portMappings"] = json!([{"hostPort": 9090, "containerPort": 80}]);
        let on_other = |verb: &str| Call::new(HOST_PORT, verb, &conf).of("other", &other, "eth0").run();
        assert!(on_other("ADD").result().is_object());
        assert_eq!(route_localnet(), "0");
        on_other("CHECK").silent();
        // On our bridge no other program needs route_localnet.
        shell("echo 1 >/proc/sys/net/ipv4/conf/br0/route_localnet");
        let (code, said) = on_other("CHECK").error();
        assert!(code == 101 && said.contains("route_localnet of interface br0 is on"), "{said}");
        assert!(on_other("ADD").result().is_object());
        on_other("CHECK").silent();
        on_other("DEL").silent();
        for netns in [&moved.web, &other] {
            call("DEL", &crate::shared::bridge::conf(), netns.name(), netns).run().silent();
        }
    });
}

fn load(recorded: &str) {
    fs::write("/run/before.nft", recorded).unwrap();
    shell("nft -f /run/before.nft && echo 1 >/proc/sys/net/ipv4/conf/br0/route_localnet");
    shell("ip -6 route add local fd63:6c65:6174::34c3 dev lo");
}

/// The same without another container: DEL alone removes the table.
#[test]
fn the_table_of_the_first_version_goes() {
    isolated(|| goes(BEFORE[0]));
}

#[test]
fn the_table_of_the_version_before_goes() {
    isolated(|| goes(BEFORE[1]));
}

fn goes(recorded: &str) {
    let _host = Host::new();
    fs::write("/run/before.nft", recorded).unwrap();
    shell("nft -f /run/before.nft && ip -6 route add local fd63:6c65:6174::34c3 dev lo");
    let web = Namespaced::new("web");
    let plain = json!({"cniVersion": "1.0.0", "name": "net", "type": "portmap"});
    Call::new(HOST_PORT, "DEL", &plain).of("web", &web, "eth0").run().silent();
    assert!(!ruleset().contains("cleat_host_port"), "{}", ruleset());
    shell("! ip -6 route show table local | grep -q fd63");
}
