//! STATUS on a host that drops forwarded packets: it names the chain that drops, its owner, and the remedy. It is silent where
//! some rule could let the network through. With both variants of iptables.

use std::fs;

use sandbox::{Answer, Call, Host, Namespaced, isolated};
use serde_json::{Value, json};

use crate::shared::programs::BRIDGE;
use crate::shared::shell::shell;

fn network(families: &[&str]) -> Value {
    let mut conf = crate::shared::bridge::conf();
    conf["cniVersion"] = json!("1.1.0");
    conf["ipam"]["ranges"] = families.iter().map(|subnet| json!([{ "subnet": subnet }])).collect();
    conf
}

fn status(conf: &Value) -> Answer {
    Call::new(BRIDGE, "STATUS", conf).run()
}

const V4: &str = "10.1.0.0/24";
const V6: &str = "fd00:1::/64";

/// What ufw (0.36) makes by default, shortened: every chain, with rules of each kind that its files have.
const UFW: &str = "
    -P FORWARD DROP
    -N ufw-before-logging-forward; -N ufw-before-forward; -N ufw-user-forward; -N ufw-after-forward
    -N ufw-after-logging-forward; -N ufw-reject-forward; -N ufw-track-forward
    -A FORWARD -j ufw-before-logging-forward; -A FORWARD -j ufw-before-forward; -A FORWARD -j ufw-after-forward
    -A FORWARD -j ufw-after-logging-forward; -A FORWARD -j ufw-reject-forward; -A FORWARD -j ufw-track-forward
    -A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    -A ufw-before-forward -p icmp -j ACCEPT; -A ufw-before-forward -j ufw-user-forward
    -A ufw-after-logging-forward -m limit --limit 3/min --limit-burst 10 -j LOG
";

/// Docker's chains, as 20.10 made them, with one published port.
const DOCKER: &str = "
    -P FORWARD DROP
    -N DOCKER; -N DOCKER-ISOLATION-STAGE-1; -N DOCKER-ISOLATION-STAGE-2; -N DOCKER-USER
    -A FORWARD -j DOCKER-USER; -A FORWARD -j DOCKER-ISOLATION-STAGE-1
    -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; -A FORWARD -o docker0 -j DOCKER
    -A FORWARD -i docker0 ! -o docker0 -j ACCEPT; -A FORWARD -i docker0 -o docker0 -j ACCEPT
    -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
    -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
    -A DOCKER-ISOLATION-STAGE-1 -j RETURN; -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
    -A DOCKER-ISOLATION-STAGE-2 -j RETURN; -A DOCKER-USER -j RETURN
";

/// Runs a program once for each change. Changes are separated by semicolons and line ends.
fn run(program: &str, changes: &str) {
    for change in changes.split([';', '\n']).map(str::trim).filter(|change| !change.is_empty()) {
        shell(&format!("{program} {change}"));
    }
}

fn clear() {
    shell("nft flush ruleset");
    for program in ["iptables-legacy", "ip6tables-legacy"] {
        run(program, "-P FORWARD ACCEPT; -F; -X");
    }
}

#[test]
fn status_names_the_chain_that_drops_and_whose_it_is() {
    isolated(|| {
        let _host = Host::new();
        shell("ip link add docker0 type bridge");
        for variant in ["nft", "legacy"] {
            for (changes, words) in [
                ("-P FORWARD DROP", ""),
                ("-A FORWARD -i lan0 -j ACCEPT; -A FORWARD -j DROP", ""),
                ("-A FORWARD -j REJECT", ""),
                // Rules after the DROP are never reached.
                ("-A FORWARD -j DROP; -A FORWARD -s 10.1.0.0/24 -j ACCEPT", ""),
                (UFW, "ufw"),
                (DOCKER, "Docker"),
            ] {
                for (program, table, subnet, other) in
                    [("iptables", "ip", V4, V6), ("ip6tables", "ip6", V6, V4)]
                {
                    clear();
                    let changes = match program {
                        "iptables" => changes.to_owned(),
                        _ => changes
                            .replace("172.17.0.2/32", "fd01::2/128")
                            .replace(V4, V6)
                            .replace("-p icmp", "-p icmpv6"),
                    };
                    run(&format!("{program}-{variant}"), &changes);
                    let place = match variant {
                        "nft" => format!("chain FORWARD of table {table} filter"),
                        _ => format!("chain FORWARD of /usr/sbin/{program}-legacy"),
                    };
                    for families in [&[subnet][..], &[V4, V6]] {
                        let (code, said) = status(&network(families)).error();
                        assert_eq!(code, 50, "{variant} {changes}: {said}");
                        let wanted = format!("{place} drops what is forwarded from and to bridge br0");
                        for words in [&wanted, words, "\"forward\": \"accept\""] {
                            assert!(said.contains(words), "{variant} {changes}: {said}");
                        }
                    }
                    // The packets of the other family pass.
                    status(&network(&[other])).silent();
                    let mut internal = network(&[subnet]);
                    internal["internal"] = json!(true);
                    status(&internal).silent();
                }
            }
        }
    });
}

#[test]
fn status_is_silent_where_something_could_let_the_network_through() {
    isolated(|| {
        let _host = Host::new();
        for variant in ["nft", "legacy"] {
            for change in [
                "-A FORWARD -s 10.1.0.0/24 -j ACCEPT",
                "-A FORWARD -o uplink -j ACCEPT",
                "-A FORWARD -i br+ -j ACCEPT",
                "-N X; -A X -m addrtype --src-type UNICAST -j ACCEPT; -A FORWARD -j X",
                "-A FORWARD -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT",
                "-A FORWARD -j NFQUEUE",
            ] {
                clear();
                let program = format!("iptables-{variant}");
                run(&program, "-P FORWARD DROP");
                assert_eq!(status(&network(&[V4])).error().0, 50);
                run(&program, change);
                status(&network(&[V4])).silent();
            }
            // ufw's own way to let a network through.
            clear();
            run(&format!("iptables-{variant}"), UFW);
            assert_eq!(status(&network(&[V4])).error().0, 50);
            run(&format!("iptables-{variant}"), "-A ufw-user-forward -i br0 -j ACCEPT");
            status(&network(&[V4])).silent();
        }
    });
}

#[test]
fn firewalld_is_named_too() {
    isolated(|| {
        let _host = Host::new();
        let file = "/run/firewalld.nft";
        let rules = "table inet firewalld {
            chain filter_FORWARD {
                type filter hook forward priority filter + 10; policy accept;
                ct state { established, related } accept
                ct status dnat accept
                iifname \"lo\" accept
                ct state invalid drop
                jump filter_FORWARD_ZONES
                reject with icmpx admin-prohibited
            }
            chain filter_FORWARD_ZONES { iifname \"lan0\" goto filter_FWD_trusted; }
            chain filter_FWD_trusted { accept; }
        }";
        fs::write(file, rules).unwrap();
        shell(&format!("nft -f {file}"));
        for subnet in [V4, V6] {
            let (code, said) = status(&network(&[subnet])).error();
            assert_eq!(code, 50, "{said}");
            let words =
                "chain filter_FORWARD of table inet firewalld drops what is forwarded from and to bridge br0";
            assert!(said.contains(words) && said.contains("firewalld's table"), "{said}");
        }
        shell("nft insert rule inet firewalld filter_FORWARD_ZONES iifname br0 goto filter_FWD_trusted");
        status(&network(&[V4, V6])).silent();
    });
}

/// Sets and verdict maps, as administrators write them by hand.
#[test]
fn sets_are_looked_into() {
    isolated(|| {
        let _host = Host::new();
        for (rules, is_closed) in [
            ("ct state vmap { established : accept, related : accept, invalid : drop }", true),
            ("ct state vmap { established : accept, new : accept }", false),
            ("ct state vmap { established : accept, new : jump more }", true),
            ("iifname { \"lan0\", \"lan1\" } accept", true),
            ("iifname { \"lan0\", \"br0\" } accept", false),
            ("iifname != { \"lan0\", \"br0\" } accept", true),
            ("iifname != { \"lan0\", \"lan1\" } accept", false),
            ("iifname { \"lan*\", \"br*\" } accept", false),
            ("iifname vmap { \"lan0\" : accept, \"br0\" : drop }", true),
            ("iifname vmap { \"lan0\" : drop, \"br0\" : accept }", false),
            ("meta l4proto { icmp, ipv6-icmp } accept", true),
            ("meta l4proto { tcp, udp } accept", false),
            ("ip saddr { 10.1.0.0/24, 10.2.0.0/24 } accept", false),
        ] {
            shell("nft flush ruleset");
            let table = format!(
                "table inet own {{ chain more {{ counter; }}; chain forward {{ type filter hook forward priority 0; policy drop; {rules}; }}; }}"
            );
            fs::write("/run/own.nft", table).unwrap();
            shell("nft -f /run/own.nft");
            if is_closed {
                let (code, said) = status(&network(&[V4])).error();
                assert!(code == 50 && said.contains("chain forward of table inet own"), "{rules}: {said}");
            } else {
                status(&network(&[V4])).silent();
            }
        }
    });
}

/// The network was let through, but the firewall's rules have been loaded anew since.
#[test]
fn a_chain_that_was_opened_and_is_closed_again_is_named() {
    isolated(|| {
        let _host = Host::new();
        let mut conf = network(&[V4]);
        conf["forward"] = json!("accept");
        for (variant, place) in [
            ("nft", "chain FORWARD of table ip filter"),
            ("legacy", "chain FORWARD of /usr/sbin/iptables-legacy"),
        ] {
            clear();
            let program = format!("iptables-{variant}");
            run(&program, "-P FORWARD DROP");
            status(&conf).silent();
            let netns = Namespaced::new("a");
            let call = |verb: &str| Call::new(BRIDGE, verb, &conf).of("a", &netns, "eth0").run();
            assert!(call("ADD").result().is_object());
            status(&conf).silent();
            run(&program, "-F FORWARD; -A FORWARD -o uplink -j ACCEPT");
            let (code, said) = status(&conf).error();
            assert!(code == 50 && said.contains(place) && said.contains("cleat repair"), "{said}");
            call("DEL").silent();
            status(&conf).silent();
        }
    });
}
