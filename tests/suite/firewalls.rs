//! Other firewalls on the host that drop by default: `forward: accept` opens them, and without it STATUS reports them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{
    Answer, Call, Host, Namespaced, OUTSIDE_V4, OUTSIDE_V6, Snapshot, UPLINK_V4, UPLINK_V6, isolated,
};
use serde_json::{Value, json};

use crate::shared::programs::{BRIDGE, CLEAT, HOST_PORT, folder};
use crate::shared::shell::shell;

fn conf(keys: &Value) -> Value {
    let mut conf = crate::shared::bridge::conf();
    conf["cniVersion"] = json!("1.1.0");
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    conf
}

fn accepting() -> Value {
    conf(&json!({"forward": "accept"}))
}

fn call(command: &str, conf: &Value, netns: &Namespaced) -> Answer {
    Call::new(BRIDGE, command, conf).of(netns.name(), netns, "eth0").run()
}

fn status(conf: &Value) -> Answer {
    Call::new(BRIDGE, "STATUS", conf).run()
}

/// A firewall: the commands that set it up, and the words by which STATUS names the chain that drops.
struct Firewall {
    setup: String,
    named: &'static str,
}

fn firewalls() -> Vec<Firewall> {
    for file in ["drops-by-default.nft", "rejects-the-rest.nft"] {
        let text = fs::read_to_string(format!("{}/tests/data/firewalls/{file}", env!("CARGO_MANIFEST_DIR")));
        fs::write(format!("/run/{file}"), text.unwrap()).unwrap();
    }
    let firewall = |setup: &str, named| Firewall { setup: setup.to_owned(), named };
    vec![
        firewall(
            "iptables-nft -P FORWARD DROP; ip6tables-nft -P FORWARD DROP",
            "chain FORWARD of table ip filter drops",
        ),
        firewall(
            "iptables-legacy -P FORWARD DROP; ip6tables-legacy -P FORWARD DROP",
            "chain FORWARD of /usr/sbin/iptables-legacy drops",
        ),
        firewall(
            "for p in iptables ip6tables; do $p-nft -A FORWARD -i lan0 -j ACCEPT; $p-nft -A FORWARD -j REJECT; done",
            "chain FORWARD of table ip filter drops",
        ),
        firewall("nft -f /run/drops-by-default.nft", "chain forward of table inet site drops"),
        firewall("nft -f /run/rejects-the-rest.nft", "chain forward of table inet zones drops"),
    ]
}

fn clear() {
    shell("nft flush ruleset");
    shell("for p in iptables ip6tables; do $p-legacy -P FORWARD ACCEPT; $p-legacy -F FORWARD; done");
}

/// The rules of iptables-legacy, which snapshots do not show.
fn legacy() -> String {
    let output = Command::new("sh").args(["-c", "iptables-legacy -S; ip6tables-legacy -S"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// What each address answers; empty for no answer, which takes two seconds, so all are asked at the same time.
fn ask_all<const N: usize>(questions: [(&Namespaced, String); N]) -> [String; N] {
    std::thread::scope(|scope| {
        let ask = |(from, address): (_, String)| scope.spawn(move || ask_tcp(Some(from), &address));
        questions.map(ask).map(|asked| asked.join().unwrap().unwrap_or_default())
    })
}

/// Whether a container reaches the outside by IPv4 and by IPv6, with the host's address as its source.
fn goes_out(netns: &Namespaced) -> [bool; 2] {
    let [v4, v6] = ask_all([(netns, format!("{OUTSIDE_V4}:80")), (netns, format!("[{OUTSIDE_V6}]:80"))]);
    [v4 == format!("outside sees {UPLINK_V4}"), v6 == format!("outside sees {UPLINK_V6}")]
}

#[test]
fn whatever_drops_by_default_lets_an_accepted_network_through() {
    isolated(|| {
        let host = Host::new();
        // Packets between containers of one bridge pass the forward hook, too.
        for name in ["iptables", "ip6tables"] {
            fs::write(format!("/proc/sys/net/bridge/bridge-nf-call-{name}"), "1").unwrap();
        }
        serve_tcp(Some(&host.outside), "outside", "[::]:80");
        host.outside.enter(|| shell("ip route add 10.1.0.0/24 via 192.0.2.1"));
        for firewall in firewalls() {
            clear();
            shell(&firewall.setup);
            let (before, before_legacy) = (Snapshot::take(), legacy());
            passes(&host, &firewall);
            // Without the leases the next round gets the same addresses.
            fs::remove_dir_all("/var/lib/cni").unwrap();
            before.assert_unchanged();
            assert_eq!(legacy(), before_legacy);
        }
    });
}

fn passes(host: &Host, firewall: &Firewall) {
    let setup = &firewall.setup;
    // Without the key `forward` the network is closed. STATUS names the chain that drops, and the remedy.
    let (closed, a, b) = (Namespaced::new("closed"), Namespaced::new("a"), Namespaced::new("b"));
    let plain = conf(&json!({"name": "plain", "bridge": "br1", "ipam": {
        "type": "host-local", "ranges": [[{"subnet": "10.2.0.0/24"}], [{"subnet": "fd00:2::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    }}));
    assert!(call("ADD", &plain, &closed).result().is_object());
    assert_eq!(goes_out(&closed), [false, false], "{setup}");
    let (code, said) = status(&plain).error();
    assert_eq!(code, 50, "{setup}: {said}");
    assert!(said.contains(firewall.named) && said.contains("bridge br1"), "{setup}: {said}");
    assert!(said.contains("\"forward\": \"accept\""), "{setup}: {said}");
    // With the key these pass: to the outside, to published ports, and between members. Nothing else comes in.
    status(&accepting()).silent();
    let mut result = call("ADD", &accepting(), &a).result();
    assert!(call("ADD", &accepting(), &b).result().is_object());
    assert_eq!((goes_out(&a), goes_out(&b)), ([true, true], [true, true]), "{setup}");
    for (netns, name) in [(&a, "a"), (&b, "b")] {
        for port in [80, 81] {
            serve_tcp(Some(netns), name, &format!("0.0.0.0:{port}"));
        }
    }
    let mut ports = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "host-port", "prevResult": result,
        "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80}]}
    });
    let published = Call::new(HOST_PORT, "ADD", &ports).of("a", &a, "eth0");
    result = published.run().result();
    ports["prevResult"] = result.clone();
    let seen = ask_all([
        (&host.outside, format!("{UPLINK_V4}:8080")),
        (&host.outside, "10.1.0.2:81".to_owned()),
        (&host.outside, "10.1.0.3:80".to_owned()),
        (&b, "10.1.0.2:81".to_owned()),
    ]);
    assert_eq!(seen, ["a sees 192.0.2.2", "", "", "a sees 10.1.0.3"], "{setup}");
    // The other network is still closed, and iptables and nft can read all rules.
    assert_eq!(goes_out(&closed), [false, false], "{setup}");
    assert_eq!(status(&plain).error().0, 50);
    status(&accepting()).silent();
    shell("iptables-nft -S && ip6tables-nft -S && nft list ruleset > /run/listed && nft -c -f /run/listed");
    fs::remove_file("/run/listed").unwrap();
    let mut checked = accepting();
    checked["prevResult"] = result;
    call("CHECK", &checked, &a).silent();
    // All ports of the bridge share the same rules, which are removed with the last port.
    Call::new(HOST_PORT, "DEL", &ports).of("a", &a, "eth0").run().silent();
    for _ in 0..2 {
        call("DEL", &accepting(), &a).silent();
        assert_eq!(goes_out(&b), [true, true], "{setup}");
    }
    for (conf, netns) in [(&accepting(), &b), (&plain, &closed)] {
        // DEL needs neither the key `forward` nor the namespace.
        let mut conf = conf.clone();
        conf["forward"] = json!("host");
        Call::new(BRIDGE, "DEL", &conf).of(netns.name(), netns, "eth0").env("CNI_NETNS", "").run().silent();
    }
}

#[test]
fn a_firewall_that_is_loaded_anew_is_noticed_and_opened_again() {
    isolated(|| {
        let host = Host::new();
        serve_tcp(Some(&host.outside), "outside", "[::]:80");
        shell("iptables-nft -P FORWARD DROP; ip6tables-nft -P FORWARD DROP");
        let (a, b) = (Namespaced::new("a"), Namespaced::new("b"));
        let mut checked = accepting();
        checked["prevResult"] = call("ADD", &accepting(), &a).result();
        let rules = "iptables-nft-save > /run/rules && ip6tables-nft-save > /run/rules6";
        shell(rules);
        shell("iptables-nft -F FORWARD; ip6tables-nft -F FORWARD");
        assert_eq!(goes_out(&a), [false, false]);
        let words = "chain FORWARD of table ip filter drops what is forwarded from and to bridge br0";
        let (code, said) = call("CHECK", &checked, &a).error();
        assert_eq!((code, said.contains(words)), (101, true), "{said}");
        let (code, said) = status(&accepting()).error();
        assert_eq!((code, said.contains(words)), (50, true), "{said}");
        // The next container's ADD opens it again for all.
        assert!(call("ADD", &accepting(), &b).result().is_object());
        assert_eq!((goes_out(&a), goes_out(&b)), ([true, true], [true, true]));
        call("CHECK", &checked, &a).silent();
        status(&accepting()).silent();
        // Rules that iptables has saved and restored are still recognised as ours.
        shell(&format!(
            "{rules} && iptables-nft-restore < /run/rules && ip6tables-nft-restore < /run/rules6"
        ));
        call("CHECK", &checked, &a).silent();
        shell("rm /run/rules /run/rules6");
        for netns in [&a, &b] {
            call("DEL", &accepting(), netns).silent();
        }
        drop((a, b));
        let left = Snapshot::take();
        let left: Vec<&str> =
            left.lines().filter(|line| line.contains("br0") || line.contains("cleat")).collect();
        assert_eq!(left, Vec::<&str>::new());
    });
}

/// The chain is not one of iptables. STATUS names `cleat repair`, which opens it again.
#[test]
fn repair_opens_a_firewall_again_that_was_loaded_anew() {
    isolated(|| {
        let host = Host::new();
        serve_tcp(Some(&host.outside), "outside", "[::]:80");
        let file = format!("{}/tests/data/firewalls/drops-by-default.nft", env!("CARGO_MANIFEST_DIR"));
        shell(&format!("nft -f {file}"));
        fs::create_dir("/run/net.d").unwrap();
        let mut plugin = accepting();
        let keys = plugin.as_object_mut().unwrap();
        let (version, name) = (keys.remove("cniVersion").unwrap(), keys.remove("name").unwrap());
        let list = json!({"cniVersion": version, "name": name, "plugins": [plugin]});
        fs::write("/run/net.d/net.conflist", list.to_string()).unwrap();
        let before = Snapshot::take();
        let cleat = |args: &[&str]| {
            let mut command = Command::new(CLEAT);
            command.args(args).env("CNI_PATH", folder()).env("NETCONFPATH", "/run/net.d");
            let output = command.output().unwrap();
            assert!(output.status.success(), "{args:?}: {output:?}");
        };
        let namespaces = ["a", "b"].map(Namespaced::new);
        for netns in &namespaces {
            cleat(&["add", "net", netns.path().to_str().unwrap()]);
            assert_eq!(goes_out(netns), [true, true]);
        }
        shell(&format!("nft delete table inet site; nft -f {file}"));
        assert_eq!(goes_out(&namespaces[0]), [false, false]);
        let (code, said) = status(&accepting()).error();
        assert_eq!((code, said.contains("cleat repair")), (50, true), "{said}");
        cleat(&["repair"]);
        status(&accepting()).silent();
        for netns in &namespaces {
            assert_eq!(goes_out(netns), [true, true]);
            cleat(&["del", "net", netns.path().to_str().unwrap()]);
        }
        drop(namespaces);
        before.assert_unchanged();
    });
}

#[test]
fn status_is_silent_where_the_firewall_may_let_the_network_through() {
    isolated(|| {
        let _host = Host::new();
        let plain = crate::shared::bridge::conf();
        let plain = conf(&json!({"ipam": plain["ipam"]}));
        let docker = format!("{}/tests/data/firewalls/docker-20.10.iptables", env!("CARGO_MANIFEST_DIR"));
        let drop = "iptables-nft -P FORWARD DROP";
        for (setup, is_closed) in [
            ("true".to_owned(), false),
            (drop.to_owned(), true),
            // Rules of an administrator or of another plugin that may accept packets of this network.
            (format!("{drop}; iptables-nft -A FORWARD -s 10.1.0.0/24 -j ACCEPT"), false),
            (format!("{drop}; iptables-nft -A FORWARD -o uplink -j ACCEPT"), false),
            (
                format!(
                    "{drop}; iptables-nft -N X; iptables-nft -A X -m addrtype --src-type UNICAST -j ACCEPT; iptables-nft -A FORWARD -j X"
                ),
                false,
            ),
            (
                format!("{drop}; iptables-nft -A FORWARD -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT"),
                false,
            ),
            (format!("{drop}; iptables-nft -A FORWARD -j NFQUEUE"), false),
            // Rules that do not accept new connections of this network.
            (
                format!(
                    "{drop}; iptables-nft -A FORWARD -i lan0 -j ACCEPT; iptables-nft -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
                ),
                true,
            ),
            (
                format!("{drop}; iptables-nft -A FORWARD -p icmp -j ACCEPT; iptables-nft -A FORWARD -j LOG"),
                true,
            ),
            // Only IPv6 is closed, and the network uses it.
            ("ip6tables-nft -P FORWARD DROP".to_owned(), true),
            // Docker's rules and its bridge.
            (format!("ip link add docker0 type bridge; iptables-nft-restore < {docker}"), true),
        ] {
            clear();
            shell(&setup);
            if is_closed {
                assert_eq!(status(&plain).error().0, 50, "{setup}");
            } else {
                status(&plain).silent();
            }
            // Packets of an internal network are not forwarded, so its STATUS ignores the firewall.
            status(&conf(&json!({"internal": true}))).silent();
        }
        clear();
        shell("ip6tables-nft -P FORWARD DROP");
        let v4 = json!({"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]], "routes": [{"dst": "::/0"}]}});
        status(&conf(&v4)).silent();
    });
}

#[test]
fn an_accepted_network_stays_as_closed_as_it_says() {
    isolated(|| {
        let host = Host::new();
        serve_tcp(Some(&host.outside), "outside", "[::]:80");
        host.outside.enter(|| shell("ip route add 10.1.0.0/24 via 192.0.2.1"));
        shell("iptables-nft -P FORWARD DROP; ip6tables-nft -P FORWARD DROP");
        for (keys, out, inward) in [
            (json!({"internal": true}), [false, false], false),
            (json!({"ingress": "published"}), [true, true], false),
            (json!({"ingress": "any"}), [true, true], true),
        ] {
            let before = Snapshot::take();
            let netns = Namespaced::new("a");
            let mut conf = accepting();
            conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
            assert!(call("ADD", &conf, &netns).result().is_object());
            serve_tcp(Some(&netns), "a", "0.0.0.0:80");
            assert_eq!(goes_out(&netns), out, "{keys}");
            assert_eq!(ask_tcp(Some(&host.outside), "10.1.0.2:80").is_ok(), inward, "{keys}");
            call("DEL", &conf, &netns).silent();
            drop(netns);
            fs::remove_dir_all("/var/lib/cni").unwrap();
            before.assert_unchanged();
        }
    });
}

#[test]
fn a_table_that_its_program_keeps_for_itself_fails_the_add() {
    isolated(|| {
        let _host = Host::new();
        // With the flag `owner` the kernel lets no other program change the table while its owner runs.
        let mut nft =
            Command::new("nft").arg("-i").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = nft.stdin.take().unwrap();
        input
            .write_all(b"add table inet kept { flags owner; chain forward { type filter hook forward priority 0; policy drop; }; }\nlist tables\n")
            .unwrap();
        input.flush().unwrap();
        let mut lines = BufReader::new(nft.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("table inet kept")));
        let netns = Namespaced::new("a");
        let before = Snapshot::take();
        let (code, said) = call("ADD", &accepting(), &netns).error();
        assert_eq!(code, 50, "{said}");
        assert!(said.contains("opened for bridge br0") && said.contains("inet kept forward"), "{said}");
        assert!(said.contains("firewall-cmd"), "{said}");
        before.assert_unchanged();
        drop(input);
        nft.wait().unwrap();
        assert!(call("ADD", &accepting(), &netns).result().is_object());
        call("DEL", &accepting(), &netns).silent();
    });
}

#[test]
fn ten_at_once_have_one_rule_set() {
    isolated(|| {
        let _host = Host::new();
        shell("iptables-nft -P FORWARD DROP; ip6tables-nft -P FORWARD DROP");
        let before = Snapshot::take();
        let namespaces: Vec<Namespaced> = (0..10).map(|n| Namespaced::new(&format!("c{n}"))).collect();
        let at_once = |command: &str| -> Vec<Answer> {
            std::thread::scope(|scope| {
                let calls: Vec<_> = namespaces
                    .iter()
                    .map(|netns| scope.spawn(move || call(command, &accepting(), netns)))
                    .collect();
                calls.into_iter().map(|call| call.join().unwrap()).collect()
            })
        };
        for _ in 0..3 {
            for answer in at_once("ADD") {
                assert!(answer.result().is_object());
            }
            for program in ["iptables-nft", "ip6tables-nft"] {
                let listed = Command::new(program).args(["-S", "FORWARD"]).output().unwrap();
                let listed = String::from_utf8(listed.stdout).unwrap();
                assert_eq!(listed.lines().count(), 3, "{listed}");
            }
            for answer in at_once("DEL") {
                answer.silent();
            }
        }
        drop(namespaces);
        before.assert_unchanged();
    });
}
