//! The iptables backend of host-port compared with the reference's portmap: the same configuration gives the same rules, each
//! program removes what the other made, and published ports are reached.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::thread;

use sandbox::traffic::{Datagrams, ask_sctp, ask_tcp, ask_udp, serve_sctp, serve_tcp, serve_udp};
use sandbox::{Call, Host, Namespaced, Snapshot, UPLINK_V4, UPLINK_V6, isolated};
use serde_json::{Value, json};

use crate::shared::bridge::{add, call, conf};
use crate::shared::cleat::{cleat, install_networks};
use crate::shared::iptables::{PATH, choose, prime, saved};
use crate::shared::programs::{HOST_PORT, REFERENCE};
use crate::shared::shell::shell;

/// Our program under the name that existing configurations have.
const OURS: &str = "/run/plugins/portmap";

fn install() {
    fs::create_dir_all("/run/plugins").unwrap();
    symlink(HOST_PORT, OURS).unwrap();
}

/// A configuration for a container `web` of both families, with keys added.
fn portmap(keys: &Value, mappings: &Value) -> Value {
    let mut conf = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "portmap",
        "runtimeConfig": {"portMappings": mappings},
        "prevResult": {
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "br0"}, {"name": "veth0"}, {"name": "eth0", "sandbox": "/run/netns/web"}],
            "ips": [
                {"interface": 2, "address": "10.1.0.2/24"},
                {"interface": 2, "address": "fd00:1::2/64"},
            ],
        }
    });
    for (key, value) in keys.as_object().unwrap() {
        conf[key] = value.clone();
    }
    conf
}

fn on_web(program: &str, command: &str, conf: &Value, netns: &Namespaced) -> Call {
    Call::new(program, command, conf).of("web", netns, "eth0").env("PATH", PATH)
}

/// A bridge with the gateways' addresses: the reference looks up the route to the container.
fn bridged() -> Host {
    let host = Host::new();
    shell("ip link add br0 type bridge && ip link set br0 up");
    shell("ip addr add 10.1.0.1/24 dev br0 && ip addr add fd00:1::1/64 dev br0 nodad");
    prime("nft");
    install();
    host
}

fn one(host_port: u16, host_ip: &str) -> Value {
    json!({"hostPort": host_port, "containerPort": 80, "protocol": "tcp", "hostIP": host_ip})
}

#[test]
fn the_same_configurations_give_the_same_rules() {
    isolated(|| {
        let _host = bridged();
        shell("iptables -t nat -N MARK-IT && ip6tables -t nat -N MARK-IT");
        let many: Vec<Value> = (1..=33)
            .map(|port| json!({"hostPort": 9000 + port, "containerPort": port, "protocol": "tcp"}))
            .chain([json!({"hostPort": 1, "containerPort": 1, "protocol": "udp"})])
            .collect();
        let reference = format!("{REFERENCE}/portmap");
        let netns = Namespaced::new("web");
        for (keys, mappings) in [
            (json!({}), json!([one(8080, "")])),
            (
                json!({}),
                json!([one(8080, ""), one(8081, ""), {"hostPort": 53, "containerPort": 53, "protocol": "udp"}]),
            ),
            (json!({}), json!([{"hostPort": 9, "containerPort": 9, "protocol": "sctp"}, one(8080, "")])),
            (json!({}), json!([one(8080, "192.0.2.1"), one(8080, "127.0.0.1")])),
            (json!({}), json!([one(8080, "2001:db8::1"), one(8081, "::")])),
            (json!({}), json!(many)),
            (json!({"snat": false}), json!([one(8080, "")])),
            (json!({"masqAll": true}), json!([one(8080, ""), one(8081, "192.0.2.1")])),
            (json!({"markMasqBit": 5}), json!([one(8080, "")])),
            (json!({"markMasqBit": 0}), json!([one(8080, "")])),
            (json!({"externalSetMarkChain": "MARK-IT"}), json!([one(8080, "")])),
            (
                json!({"conditionsV4": ["!", "-s", "192.0.2.0/24"], "conditionsV6": ["-i", "eth1"]}),
                json!([one(8080, "")]),
            ),
            (json!({"conditionsV4": ["-m", "mark", "--mark", "0x4/0x4"]}), json!([one(8080, "")])),
        ] {
            let about = format!("{keys} {mappings}");
            let mut conf = portmap(&keys, &mappings);
            let theirs = on_web(&reference, "ADD", &conf, &netns).run().result();
            let expected = saved("nft");
            // Our DEL removes what the reference made, the shared chains included.
            let mut del = conf.clone();
            del.as_object_mut().unwrap().remove("prevResult");
            del["backend"] = json!("iptables");
            on_web(OURS, "DEL", &del, &netns).without("PATH").run().silent();
            assert_eq!(saved("nft"), Vec::<String>::new(), "{about}");
            conf["backend"] = json!("iptables");
            let ours = on_web(OURS, "ADD", &conf, &netns).run().result();
            assert_eq!(ours, theirs, "{about}");
            // The reference also has rules for ports of the other family's addresses, which lead nowhere.
            let comparable = |lines: Vec<String>| -> Vec<String> {
                let is_of_families = about.contains("192.0.2.1\"") || about.contains("::");
                let keep = |line: &String| !(is_of_families && line.contains("multiport"));
                // The reference has a container's chain in both families, also where only one has ports: DNAT rules are compared.
                lines
                    .into_iter()
                    .filter(keep)
                    .filter(|line| !is_of_families || line.contains(" DNAT "))
                    .collect()
            };
            assert_eq!(comparable(saved("nft")), comparable(expected), "{about}");
            on_web(OURS, "CHECK", &conf, &netns).run().silent();
            // The other way round: the reference's DEL leaves the shared chains, which it never removes.
            on_web(&reference, "DEL", &conf, &netns).run().silent();
            assert!(!saved("nft").iter().any(|line| line.contains("CNI-DN-")), "{about}");
            shell("iptables -t nat -F && ip6tables -t nat -F");
            for chain in ["CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-MASQ"] {
                shell(&format!("iptables -t nat -X {chain}; ip6tables -t nat -X {chain}; true"));
            }
        }
    });
}

fn reach(host: &Host, web: &Namespaced, other: &Namespaced) {
    for (from, address) in [
        (Some(&host.outside), UPLINK_V4.to_owned()),
        (Some(&host.outside), format!("[{UPLINK_V6}]")),
        (None, UPLINK_V4.to_owned()),
        (None, "127.0.0.1".to_owned()),
        (Some(other), UPLINK_V4.to_owned()),
        (Some(other), "10.1.0.1".to_owned()),
        (Some(web), UPLINK_V4.to_owned()),
        (Some(web), format!("[{UPLINK_V6}]")),
    ] {
        assert!(ask_tcp(from, &format!("{address}:8080")).expect(&address).starts_with("web sees "));
        assert!(ask_sctp(from, &format!("{address}:9")).expect(&address).starts_with("web sees "));
        if !address.contains(':') {
            assert!(ask_udp(from, &format!("{address}:5353")).expect(&address).starts_with("web sees "));
        }
    }
    assert!(ask_tcp(None, "127.0.0.1:9090").unwrap().starts_with("web sees "));
    assert!(ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:9090")).is_err());
}

fn everybody_reaches_it(variant: &str) {
    let host = Host::new();
    let path = choose(variant);
    install();
    let before = Snapshot::take();
    let (web, other) = (Namespaced::new("web"), Namespaced::new("other"));
    let result = add(&conf(), "web", &web);
    add(&conf(), "other", &other);
    serve_tcp(Some(&web), "web", "[::]:80");
    serve_udp(Some(&web), "web", "10.1.0.2:53");
    serve_sctp(Some(&web), "web", 9);
    let mut publishing = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "portmap", "backend": "iptables", "prevResult": result,
        "runtimeConfig": {"portMappings": [
            {"hostPort": 8080, "containerPort": 80},
            {"hostPort": 5353, "containerPort": 53, "protocol": "udp"},
            {"hostPort": 9, "containerPort": 9, "protocol": "sctp"},
            {"hostPort": 9090, "containerPort": 80, "hostIP": "127.0.0.1"},
        ]}
    });
    let on = |command: &str, conf: &Value, netns: &Namespaced| {
        Call::new(OURS, command, conf).of(netns.name(), netns, "eth0").env("PATH", &path).run()
    };
    // The kernel tracks the flow before the port is published.
    let flow = Datagrams::new(Some(&host.outside), &format!("{UPLINK_V4}:5353"));
    assert!(flow.ask().is_err());
    assert_eq!(on("ADD", &publishing, &web).result()["ips"], result["ips"]);
    assert!(flow.ask().unwrap().starts_with("web sees "));
    reach(&host, &web, &other);
    on("CHECK", &publishing, &web).silent();
    on("STATUS", &publishing, &web).silent();
    // ADD of another container is refused the port, with either backend.
    let taken = |backend: &str| {
        let mut conf = publishing.clone();
        conf["backend"] = json!(backend);
        conf["runtimeConfig"]["portMappings"] = json!([{"hostPort": 8080, "containerPort": 1}]);
        conf["prevResult"]["ips"][0]["address"] = json!("10.1.0.3/24");
        conf["prevResult"]["ips"][1]["address"] = json!("fd00:1::3/64");
        conf
    };
    let before_refusal = saved(variant);
    let (code, said) = on("ADD", &taken("iptables"), &other).error();
    assert_eq!(code, 102);
    assert!(
        said.starts_with("port 0.0.0.0:8080/tcp is published by container web on network net ("),
        "{said}"
    );
    assert_eq!(saved(variant), before_refusal, "a refused ADD leaves nothing");
    if variant == "nft" {
        let (code, also) = on("ADD", &taken("nftables"), &other).error();
        assert_eq!((code, also), (102, said));
    }
    // CHECK names the damage, and the same ADD repairs it.
    for line in [
        "-D PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
        "-F CNI-HOSTPORT-DNAT",
        "-F CNI-HOSTPORT-SETMARK",
        "-F CHAIN",
    ] {
        let chain = saved(variant)
            .iter()
            .find_map(|line| line.split("-j CNI-DN-").nth(1).map(str::to_owned))
            .unwrap();
        shell(&format!("ip6tables-{variant} -t nat {}", line.replace("CHAIN", &format!("CNI-DN-{chain}"))));
        let (code, said) = on("CHECK", &publishing, &web).error();
        assert!(code == 101 && said.contains("ip6tables"), "{line}: {said}");
        assert!(on("ADD", &publishing, &web).result().is_object());
        on("CHECK", &publishing, &web).silent();
    }
    let mut sorted = (saved(variant), before_refusal);
    sorted.0.sort();
    sorted.1.sort();
    assert_eq!(sorted.0, sorted.1, "no rule is there twice");
    // GC keeps a valid attachment, and removes any other. A DEL without result and mappings leaves nothing.
    publishing["cni.dev/valid-attachments"] = json!([{"containerID": "web", "ifname": "eth0"}]);
    on("GC", &publishing, &web).silent();
    assert!(ask_tcp(None, "127.0.0.1:8080").is_ok());
    if variant == "nft" {
        publishing["cni.dev/valid-attachments"] = json!([]);
        on("GC", &publishing, &web).silent();
        assert_eq!(saved(variant), Vec::<String>::new());
        assert!(on("ADD", &publishing, &web).result().is_object());
    }
    let plain = json!({"cniVersion": "1.0.0", "name": "net", "type": "portmap"});
    for _ in 0..2 {
        on("DEL", &plain, &web).silent();
        assert_eq!(saved(variant), Vec::<String>::new());
    }
    assert!(ask_tcp(None, "127.0.0.1:8080").is_err());
    for netns in [&web, &other] {
        call("DEL", &conf(), netns.name(), netns).run().silent();
    }
    drop((web, other));
    before.assert_unchanged();
}

#[test]
fn iptables_publishes_to_everybody() {
    isolated(|| everybody_reaches_it("nft"));
}

#[test]
fn iptables_of_the_legacy_variant_publishes_to_everybody() {
    isolated(|| everybody_reaches_it("legacy"));
}

#[test]
fn of_twenty_that_want_one_port_by_iptables_exactly_one_gets_it() {
    isolated(|| {
        let _host = bridged();
        let containers: Vec<Namespaced> = (0..20).map(|n| Namespaced::new(&format!("c{n}"))).collect();
        let conf = |n: usize| {
            let mut conf = portmap(&json!({"backend": "iptables"}), &json!([one(8080, "")]));
            conf["prevResult"]["ips"][0]["address"] = json!(format!("10.1.0.{}/24", n + 2));
            conf["prevResult"]["ips"].as_array_mut().unwrap().truncate(1);
            conf
        };
        let mut answers: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        thread::scope(|scope| {
            let calls: Vec<_> = containers
                .iter()
                .enumerate()
                .map(|(n, netns)| {
                    let call =
                        Call::new(OURS, "ADD", &conf(n)).of(netns.name(), netns, "eth0").env("PATH", PATH);
                    scope.spawn(move || (netns.name(), call.run()))
                })
                .collect();
            for call in calls {
                let (name, answer) = call.join().unwrap();
                let (code, said) =
                    if answer.output().status.success() { (0, name.to_owned()) } else { answer.error() };
                answers.entry(code).or_default().push(said);
            }
        });
        assert_eq!((answers[&0].len(), answers[&102].len()), (1, 19), "{answers:?}");
        let holder = format!("published by container {} on", answers[&0][0]);
        assert_eq!(saved("nft").iter().filter(|line| line.starts_with("-A CNI-HOSTPORT-DNAT ")).count(), 1);
        let named = answers[&102].iter().filter(|said| said.contains(&holder)).count();
        println!("{named} of 19 were told the winner's name");
        for (n, netns) in containers.iter().enumerate() {
            Call::new(OURS, "DEL", &conf(n)).of(netns.name(), netns, "eth0").env("PATH", PATH).run().silent();
        }
        assert_eq!(saved("nft"), Vec::<String>::new());
    });
}

/// A node changes to this suite while containers run whose ports the reference's nftables backend has published.
#[test]
fn the_references_nftables_rules_of_the_container_go() {
    isolated(|| {
        let _host = bridged();
        fs::write("/run/reference.nft", include_str!("../data/reference-hostport.nft")).unwrap();
        shell("nft -f /run/reference.nft");
        let netns = Namespaced::new("web");
        let plain = json!({"cniVersion": "1.0.0", "name": "net", "type": "portmap"});
        for _ in 0..2 {
            on_web(OURS, "DEL", &plain, &netns).run().silent();
            let output = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(!text.contains("comment \"web\""), "{text}");
            assert_eq!(text.matches("comment \"other\"").count(), 2, "{text}");
        }
    });
}

/// On a node that never used iptables, no program is started to look for that backend's rules.
#[test]
fn without_iptables_no_program_is_started() {
    isolated(|| {
        let _host = Host::new();
        install();
        let netns = Namespaced::new("web");
        let result = add(&conf(), "web", &netns);
        let mut conf = portmap(&json!({}), &json!([one(8080, "")]));
        conf["prevResult"] = result;
        for command in ["ADD", "CHECK", "DEL", "DEL"] {
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "-e", "trace=execve", "-o", "/run/trace", OURS]).env_clear();
            strace.envs([
                ("PATH", PATH),
                ("CNI_COMMAND", command),
                ("CNI_PATH", "/"),
                ("CNI_CONTAINERID", "web"),
            ]);
            strace.env("CNI_IFNAME", "eth0").env("CNI_NETNS", netns.path());
            let output = sandbox::run(&mut strace, conf.to_string().as_bytes());
            assert!(output.status.success(), "{output:?}");
            let trace = fs::read_to_string("/run/trace").unwrap();
            assert_eq!(trace.lines().count(), 1, "{command}: {trace}");
        }
    });
}

/// A network of an operator who wants iptables, from `cleat add` to `cleat del`.
#[test]
fn cleat_port_shows_what_iptables_publishes() {
    isolated(|| {
        let host = Host::new();
        prime("nft");
        install_networks();
        let before = Snapshot::take();
        let path = "/run/net.d/10-cleat.conflist";
        let list = fs::read_to_string(path).unwrap();
        let mut list: Value = serde_json::from_str(&list).unwrap();
        list["plugins"][1]["backend"] = json!("iptables");
        fs::write(path, list.to_string()).unwrap();
        let netns = Namespaced::new("web");
        serve_tcp(Some(&netns), "web", "[::]:80");
        let mappings = json!({"portMappings": [
            {"hostPort": 8080, "containerPort": 80},
            {"hostPort": 5353, "containerPort": 53, "protocol": "udp", "hostIP": "127.0.0.1"},
        ]});
        let run = |args: &[&str]| {
            let output = cleat(args)
                .env("CAP_ARGS", mappings.to_string())
                .env("CNI_CONTAINERID", "web")
                .output()
                .unwrap();
            assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let place = netns.path().to_str().unwrap();
        run(&["add", "cleat", place]);
        run(&["check", "cleat", place]);
        assert_eq!(ask_tcp(Some(&host.outside), "192.0.2.1:8080").unwrap(), "web sees 192.0.2.2");
        let id = fs::read_dir("/var/lib/cni/results").unwrap().next().unwrap().unwrap().file_name();
        let id = id.to_string_lossy().replace("cleat-", "").replace("-eth0", "");
        assert_eq!(run(&["port", &id]), "53/udp -> 127.0.0.1:5353\n80/tcp -> 0.0.0.0:8080\n");
        run(&["del", "cleat", place]);
        assert_eq!(saved("nft"), Vec::<String>::new());
        fs::write(path, fs::read_to_string("conf/10-cleat.conflist").unwrap()).unwrap();
        drop(netns);
        before.assert_unchanged();
    });
}

#[test]
fn status_names_what_is_missing() {
    isolated(|| {
        let _host = Host::new();
        install();
        let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "portmap"});
        let status = |conf: &Value| Call::new(OURS, "STATUS", conf).env("PATH", PATH).run();
        let before = Snapshot::take();
        status(&conf).silent();
        before.assert_unchanged();
        conf["backend"] = json!("iptables");
        status(&conf).silent();
        // A host without the programs.
        for folder in ["/usr/sbin", "/usr/local/sbin"] {
            shell(&format!("mount -t tmpfs none {folder}"));
        }
        let (code, said) = status(&conf).error();
        assert_eq!(code, 50);
        assert!(said.contains("install the package iptables"), "{said}");
    });
}

/// Mappings that the reference accepts, but does not all publish: our ADD gives the same result, CHECK agrees with it, and
/// there are rules only for what is published.
#[test]
fn what_leads_nowhere_is_taken_as_by_the_reference() {
    isolated(|| {
        let _host = bridged();
        let reference = format!("{REFERENCE}/portmap");
        let netns = Namespaced::new("web");
        let v4 = json!([{"interface": 2, "address": "10.1.0.2/24"}]);
        let v6 = json!([{"interface": 2, "address": "fd00:1::2/64"}]);
        let unroutable = json!([{"interface": 2, "address": "10.99.0.2/24"}]);
        for (about, ips, mappings, published) in [
            ("no address", json!([]), json!([one(8080, "")]), 0),
            (
                "a host address of IPv6 only",
                v4.clone(),
                json!([one(8080, "::1"), one(8081, "2001:db8::1")]),
                0,
            ),
            ("a host address of IPv4 only", v6.clone(), json!([one(8080, "127.0.0.1")]), 0),
            ("some of either", v4.clone(), json!([one(8080, "::1"), one(8081, "0.0.0.0")]), 1),
            ("no route", unroutable, json!([one(8080, "")]), 1),
            ("the same twice", v4, json!([one(8080, ""), one(8080, "0.0.0.0"), one(8080, "")]), 1),
        ] {
            let mut conf = portmap(&json!({}), &mappings);
            conf["prevResult"]["ips"] = ips;
            let theirs = on_web(&reference, "ADD", &conf, &netns).run().result();
            on_web(&reference, "DEL", &conf, &netns).run().silent();
            shell("nft flush ruleset");
            for backend in ["nftables", "iptables"] {
                conf["backend"] = json!(backend);
                let call = |verb: &str| {
                    let call = on_web(OURS, verb, &conf, &netns);
                    call.env("CNI_NETNS", "/some/where").env("CNI_ARGS", "none").run()
                };
                assert_eq!(call("ADD").result(), theirs, "{about} {backend}");
                call("CHECK").silent();
                let output = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
                let text = String::from_utf8(output.stdout).unwrap();
                let count = text.matches("eth0 net web\" : ").count() + text.matches(" dnat to ").count();
                // Each published port has an element in hair4 as well.
                let expected = if backend == "nftables" { 2 * published } else { published };
                assert_eq!(count, expected, "{about} {backend}: {text}");
                call("DEL").silent();
                let output = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
                let text = String::from_utf8(output.stdout).unwrap();
                assert!(!text.contains("80"), "{about} {backend}: {text}");
                shell("nft flush ruleset");
            }
        }
    });
}
