//! `ipMasqBackend: iptables`: the reference's chains, in both variants of iptables; and the other rules for masquerading that a
//! node has when it changes from the reference to this suite.

use std::fs;
use std::process::Command;

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{
    Answer, Call, Host, Namespaced, OUTSIDE_V4, OUTSIDE_V6, Snapshot, UPLINK_V4, UPLINK_V6, isolated,
};
use serde_json::{Value, json};

use crate::shared::bridge::{add, call, conf};
use crate::shared::iptables::{LEGACY, PATH, choose_legacy, prime, saved};
use crate::shared::programs::{BRIDGE, REFERENCE};
use crate::shared::shell::shell;

fn with_iptables() -> Value {
    let mut conf = conf();
    conf["ipMasqBackend"] = json!("iptables");
    conf
}

fn masquerades(variant: &str, path: Option<&str>) {
    let host = Host::new();
    if path.is_some() {
        choose_legacy();
    }
    prime(variant);
    let before = Snapshot::take();
    let netns = Namespaced::new("a");
    let call = |command: &str, conf: &Value| {
        let call = call(command, conf, "a", &netns);
        // Without a PATH, as when podman cleans up, the programs are found in the usual folders.
        match path {
            Some(path) => call.env("PATH", path),
            None => call.without("PATH"),
        }
    };
    let mut conf = with_iptables();
    let result = call("ADD", &conf).run().result();
    serve_tcp(Some(&host.outside), "outside", "[::]:80");
    for (outside, uplink) in [(OUTSIDE_V4.to_owned(), UPLINK_V4), (format!("[{OUTSIDE_V6}]"), UPLINK_V6)] {
        let answer = ask_tcp(Some(&netns), &format!("{outside}:80")).unwrap();
        assert_eq!(answer, format!("outside sees {uplink}"));
    }
    let rules = saved(variant);
    assert!(rules.iter().any(|rule| rule.contains("-s 10.1.0.2/32")) && rules.len() == 8, "{rules:#?}");
    conf["prevResult"] = result;
    call("CHECK", &conf).run().silent();
    for (broken, mended, words) in [
        (
            "-D POSTROUTING 1",
            "-A POSTROUTING -s fd00:1::2 -j CHAIN",
            "address fd00:1::2/128 is not masqueraded",
        ),
        ("-F CHAIN", "-A CHAIN -j MASQUERADE", "CHAIN is not masqueraded"),
    ] {
        let change =
            |words: &str| shell(&format!("ip6tables-{variant} -t nat {}", words.replace("CHAIN", &chain())));
        change(broken);
        let (code, said) = call("CHECK", &conf).run().error();
        assert_eq!((code, said.contains(&words.replace("CHAIN", &chain()))), (101, true), "{said}");
        change(mended);
        call("CHECK", &conf).run().silent();
    }
    // DEL without namespace and result, and with a configuration that no longer names iptables; twice.
    let del = call("DEL", &crate::shared::bridge::conf()).env("CNI_NETNS", "");
    drop(netns);
    for _ in 0..2 {
        del.run().silent();
        assert_eq!(saved(variant), Vec::<String>::new());
    }
    before.assert_unchanged();
}

/// The chain of container `a` on network `net`, as computed by coreutils.
fn chain() -> String {
    let output = Command::new("sh").args(["-c", "printf neta | sha512sum"]).output().unwrap();
    format!("CNI-{}", &String::from_utf8(output.stdout).unwrap()[..24])
}

#[test]
fn iptables_masquerades_both_families() {
    isolated(|| masquerades("nft", None));
}

#[test]
fn iptables_of_the_legacy_variant_masquerades_both_families() {
    isolated(|| masquerades("legacy", Some(&format!("{LEGACY}:{PATH}"))));
}

/// A node that changes from the reference to this suite under running containers, and back.
#[test]
fn either_program_removes_the_masquerading_of_the_other() {
    isolated(|| {
        let _host = Host::new();
        prime("nft");
        let reference = format!("{REFERENCE}/bridge");
        let run = |program: &str, command: &str, conf: &Value, netns: &Namespaced| -> Answer {
            Call::new(program, command, conf).of("a", netns, "eth0").env("PATH", PATH).run()
        };
        let netns = Namespaced::new("a");
        for _ in 0..2 {
            assert!(run(&reference, "ADD", &conf(), &netns).result().is_object());
            assert_eq!(saved("nft").len(), 8);
            run(BRIDGE, "DEL", &conf(), &netns).silent();
            assert_eq!(saved("nft"), Vec::<String>::new());
            assert!(run(BRIDGE, "ADD", &with_iptables(), &netns).result().is_object());
            run(&reference, "DEL", &with_iptables(), &netns).silent();
            assert_eq!(saved("nft"), Vec::<String>::new());
        }
    });
}

/// Two interfaces of a container on one network share the reference's chain. DEL of one removes the rules of that one only.
#[test]
fn interfaces_that_share_a_chain_go_one_by_one() {
    isolated(|| {
        let _host = Host::new();
        for variant in ["nft", "legacy"] {
            let path = if variant == "legacy" {
                choose_legacy();
                format!("{LEGACY}:{PATH}")
            } else {
                PATH.to_owned()
            };
            let netns = Namespaced::new("a");
            let call = |command: &str, conf: &Value, ifname: &str| {
                call(command, conf, "a", &netns).env("CNI_IFNAME", ifname).env("PATH", &path).run()
            };
            let mut conf = with_iptables();
            conf["ipam"]["routes"] = json!([]);
            let results = ["eth0", "eth1"].map(|ifname| call("ADD", &conf, ifname).result());
            assert_eq!(saved(variant).len(), 10, "{:#?}", saved(variant));
            let with = |result: &Value| {
                let mut conf = conf.clone();
                conf["prevResult"] = result.clone();
                conf
            };
            for _ in 0..2 {
                call("DEL", &with(&results[0]), "eth0").silent();
                assert_eq!(saved(variant).len(), 8, "{:#?}", saved(variant));
            }
            call("CHECK", &with(&results[1]), "eth1").silent();
            call("DEL", &with(&results[1]), "eth1").silent();
            assert_eq!(saved(variant), Vec::<String>::new());
        }
    });
}

#[test]
fn gc_removes_chains_and_rules_of_the_reference() {
    isolated(|| {
        let _host = Host::new();
        prime("nft");
        let before = Snapshot::take();
        let mut gc = conf();
        gc["cniVersion"] = json!("1.1.0");
        gc["cni.dev/valid-attachments"] = json!([{"containerID": "b", "ifname": "eth0"}]);
        let namespaces = ["a", "b", "c"].map(Namespaced::new);
        let mut other = with_iptables();
        other["name"] = json!("other");
        other["bridge"] = json!("br1");
        other["ipam"]["ranges"] = json!([[{"subnet": "10.2.0.0/24"}]]);
        other["ipam"]["routes"] = json!([]);
        for (conf, netns) in [with_iptables(), with_iptables(), other.clone()].iter().zip(&namespaces) {
            add(conf, netns.name(), netns);
        }
        assert_eq!(saved("nft").len(), 20);
        Call::new(BRIDGE, "GC", &gc).run().silent();
        let left = saved("nft");
        assert_eq!(left.len(), 12, "{left:#?}");
        assert!(!left.iter().any(|rule| rule.contains(r#"id: \"a\""#)), "{left:#?}");
        gc["cni.dev/valid-attachments"] = json!([]);
        Call::new(BRIDGE, "GC", &gc).run().silent();
        assert_eq!(saved("nft").len(), 4);
        call("DEL", &other, "c", &namespaces[2]).run().silent();
        drop(namespaces);
        before.assert_unchanged();
    });
}

/// What the reference's bridge makes from version 1.6 on with `ipMasqBackend: nftables`, for three attachments.
const REFERENCE_TABLE: &str = include_str!("../data/reference-masquerade.nft");

#[test]
fn the_references_own_table_loses_what_is_ours_to_remove() {
    isolated(|| {
        let _host = Host::new();
        fs::write("/run/reference.nft", REFERENCE_TABLE).unwrap();
        shell("nft -f /run/reference.nft");
        let comments = || -> Vec<String> {
            let chain = ["list", "chain", "inet", "cni_plugins_masquerade", "masq_checks"];
            let output = Command::new("nft").args(chain).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let rules = text.lines().filter(|line| line.contains(" masquerade comment "));
            rules.map(|line| line.rsplit(", ").next().unwrap().to_owned()).collect()
        };
        assert_eq!(comments().len(), 5);
        let gone = Namespaced::new("gone");
        call("DEL", &conf(), "a", &gone).env("CNI_NETNS", "").run().silent();
        assert_eq!(
            comments(),
            ["id: a\"", "id: a\"", "id: b\""],
            "the rules of another interface, another container and another network stay"
        );
        let mut gc = conf();
        gc["cniVersion"] = json!("1.1.0");
        gc["cni.dev/valid-attachments"] = json!([{"containerID": "b", "ifname": "eth0"}]);
        Call::new(BRIDGE, "GC", &gc).run().silent();
        assert_eq!(comments(), ["id: a\"", "id: b\""]);
    });
}

#[test]
fn twenty_at_once_with_iptables() {
    isolated(|| {
        let _host = Host::new();
        prime("nft");
        let before = Snapshot::take();
        let namespaces: Vec<Namespaced> = (0..20).map(|n| Namespaced::new(&format!("c{n}"))).collect();
        let at_once = |command: &str| -> Vec<Answer> {
            std::thread::scope(|scope| {
                let calls = namespaces.iter().map(|netns| {
                    scope.spawn(move || call(command, &with_iptables(), netns.name(), netns).run())
                });
                let calls: Vec<_> = calls.collect();
                calls.into_iter().map(|call| call.join().unwrap()).collect()
            })
        };
        for answer in at_once("ADD") {
            assert!(answer.result().is_object());
        }
        // A chain of two rules and a rule that leads to it, for each container and family.
        assert_eq!(saved("nft").len(), 20 * 8);
        for answer in at_once("DEL") {
            answer.silent();
        }
        assert_eq!(saved("nft"), Vec::<String>::new());
        drop(namespaces);
        before.assert_unchanged();
    });
}

/// A call of the bridge for container `a` under strace, which must succeed; the trace.
fn traced(command: &str, conf: &Value, options: &[&str]) -> String {
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-o", "/run/trace"]).args(options).arg(BRIDGE).env_clear();
    strace.env("CNI_COMMAND", command).env("CNI_CONTAINERID", "a").env("CNI_IFNAME", "eth0");
    strace.env("CNI_NETNS", "/run/netns/a").env("PATH", format!("{LEGACY}:{PATH}"));
    let output = sandbox::run(&mut strace, conf.to_string().as_bytes());
    assert!(output.status.success(), "{output:?}");
    let trace = fs::read_to_string("/run/trace").unwrap();
    fs::remove_file("/run/trace").unwrap();
    trace
}

#[test]
fn no_program_is_started_where_iptables_was_not_used() {
    isolated(|| {
        let _host = Host::new();
        let netns = Namespaced::new("a");
        let starts = |command: &str, conf: &Value| -> Vec<String> {
            let trace = traced(command, conf, &["-f", "-e", "trace=execve"]);
            // The plugin starts itself again to remove a link; that does not count.
            let is_start = |line: &&str| line.contains("execve(") && !line.contains("remove-link");
            trace.lines().filter(is_start).map(str::to_owned).collect()
        };
        // iptables is installed but unused, or another program has used one of its variants.
        for used in ["", "nft", "legacy"] {
            if !used.is_empty() {
                prime(used);
            }
            for command in ["ADD", "DEL"] {
                let started = starts(command, &conf());
                assert_eq!(started.len(), 1, "{used} {command}: {started:#?}");
            }
        }
        // The rules of iptables-nft are removed without starting a program; only the tables of iptables-legacy need one.
        add(&with_iptables(), "a", &netns);
        assert_eq!(saved("nft").len(), 8);
        let started = starts("DEL", &with_iptables());
        assert_eq!(saved("nft"), Vec::<String>::new());
        assert_eq!(started.iter().filter(|line| !line.contains("legacy")).count(), 1, "{started:#?}");
    });
}

/// A kernel without `nf_tables`, which strace simulates: the plugin's socket for it cannot be opened.
#[test]
fn where_the_kernel_has_no_nftables_iptables_masquerades() {
    isolated(|| {
        let host = Host::new();
        choose_legacy();
        let netns = Namespaced::new("a");
        let without_nftables = |command: &str, nth: u8| {
            let fault = format!("inject=socket:error=EPROTONOSUPPORT:when={nth}");
            let trace = traced(command, &conf(), &["-e", "trace=socket", "-e", &fault]);
            assert!(trace.contains("NETLINK_NETFILTER) = -1 EPROTONOSUPPORT"), "{trace}");
        };
        without_nftables("ADD", 2);
        assert_eq!((saved("legacy").len(), saved("nft").len()), (8, 0));
        serve_tcp(Some(&host.outside), "outside", "[::]:80");
        let answer = ask_tcp(Some(&netns), &format!("{OUTSIDE_V4}:80")).unwrap();
        assert_eq!(answer, format!("outside sees {UPLINK_V4}"));
        without_nftables("DEL", 2);
        assert_eq!(saved("legacy"), Vec::<String>::new());
    });
}
