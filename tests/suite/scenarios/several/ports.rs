//! Published ports move with a container from network to network.

use std::fs;
use std::process::Command;

use sandbox::traffic::{Datagrams, ask_tcp, serve_tcp, serve_udp};
use sandbox::{Namespaced, UPLINK_V4};
use serde_json::json as value;

use super::super::{cleat, eventually, json, ok, refused, said, serving, story};
use super::{gone, is_served_by, published_on, stays};
use crate::shared::cleat::NETWORKS;

/// moby#20918, #44137: the ports of a container move with it from network to network
#[test]
fn published_ports_follow_the_container() {
    story(|host| {
        for name in ["n", "m", "o"] {
            ok(&format!("network create {name}"));
        }
        ok("network create --internal inner");
        stays("--name web --network n -p 8080:80 -p 81 -p 5353:53/udp", &serving(80, "web"));
        let ports = ok("port web");
        assert_eq!(ports.lines().count(), 3, "{ports}");
        is_served_by(host, "web", "n", &ports);
        // Further networks change nothing, whether they can publish ports or not.
        ok("network connect inner web");
        ok("network connect m web");
        is_served_by(host, "web", "n", &ports);
        // The next network that can publish takes over with the same host ports, also the ephemeral one and that of UDP.
        ok("network disconnect n web");
        is_served_by(host, "web", "m", &ports);
        // No other container can publish them.
        assert!(refused("run --network o -p 8080:80 -- true").contains("8080"));
        // Reconnecting a network changes nothing while another one publishes.
        ok("network connect n web");
        is_served_by(host, "web", "m", &ports);
        ok("network disconnect m web");
        is_served_by(host, "web", "n", &ports);
        // Without a network that can publish ports, none is published until one is connected.
        ok("network disconnect n web");
        assert_eq!((ok("port web"), published_on("web")), (String::new(), Vec::new()));
        assert!(ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:8080")).is_err());
        ok("check");
        ok("network connect o web");
        is_served_by(host, "web", "o", &ports);
        // The same on no network at all.
        ok("network disconnect inner web");
        ok("network disconnect o web");
        assert_eq!(ok("port web"), "");
        ok("network connect m web");
        is_served_by(host, "web", "m", &ports);
        // Where another container has taken the port, connecting fails, and the container is not on the network.
        ok("network disconnect m web");
        stays("--name thief --network n -p 8080:80", &serving(80, "thief"));
        let text = refused("network connect m web");
        assert!(text.contains("port 0.0.0.0:8080/tcp is published by container"), "{text}");
        assert_eq!(json("inspect web")[0]["NetworkSettings"]["Networks"], value!({}));
        gone("thief");
        ok("network connect m web");
        is_served_by(host, "web", "m", &ports);
        // An ephemeral host port that another container has taken meanwhile is replaced by another number.
        let number = ports.lines().find_map(|line| line.strip_prefix("81/tcp -> 0.0.0.0:")).unwrap();
        ok("network disconnect m web");
        stays(&format!("--name thief --network n -p {number}:80"), &serving(80, "thief"));
        ok("network connect m web");
        let anew = ok("port web");
        assert!(anew.contains("81/tcp") && !anew.contains(number), "{anew}");
        is_served_by(host, "web", "m", &anew);
        gone("thief");
        gone("web");
        ok("network rm n m o inner");
    });
}

/// The same with the iptables backend, and for a container of another runtime, of which only the result cache is known
#[test]
fn ports_of_another_runtimes_container_follow_it_with_either_backend() {
    story(|host| {
        for (index, backend) in ["nftables", "iptables"].into_iter().enumerate() {
            for (name, third) in [("one", 1), ("two", 2)] {
                let third = 10 * index + third;
                let list = value!({"cniVersion": "0.4.0", "name": name, "plugins": [
                    {"type": "bridge", "bridge": format!("br-{name}"), "isDefaultGateway": true, "ipMasq": true,
                     "hairpinMode": true,
                     "ipam": {"type": "host-local", "ranges": [[{"subnet": format!("10.50.{third}.0/24")}]]}},
                    {"type": "host-port", "backend": backend, "capabilities": {"portMappings": true}}]});
                fs::write(format!("{NETWORKS}/20-{name}.conflist"), list.to_string()).unwrap();
            }
            let netns = Namespaced::new("c");
            let path = netns.path().to_str().unwrap().to_owned();
            let mappings = value!({"portMappings": [
                {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
                {"hostPort": 5353, "containerPort": 53, "protocol": "udp"}]});
            let id = "0123456789ab-web";
            let add =
                cleat(&["add", "one", &path, "--id", id]).env("CAP_ARGS", mappings.to_string()).output();
            assert!(add.as_ref().unwrap().status.success(), "{}", said(&add.unwrap()));
            serve_tcp(Some(&netns), "web", "0.0.0.0:80");
            serve_udp(Some(&netns), "web", "0.0.0.0:53");
            let flow = Datagrams::new(Some(&host.outside), &format!("{UPLINK_V4}:5353"));
            let is_served = |network: &str| {
                for place in [Some(&host.outside), None] {
                    let answer = ask_tcp(place, &format!("{UPLINK_V4}:8080")).unwrap();
                    assert!(answer.starts_with("web sees "), "{backend}, {network}: {answer}");
                }
                assert!(flow.ask().unwrap().starts_with("web sees "), "{backend}, {network}");
                let shown: Vec<String> = json("ps")
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(|row| row["ports"].as_array().is_some_and(|ports| ports.len() == 2))
                    .map(|row| row["network"].as_str().unwrap().to_owned())
                    .collect();
                assert_eq!(shown, [network], "{backend}");
                ok("check");
            };
            is_served("one");
            ok(&format!("network connect two {id}"));
            is_served("one");
            ok(&format!("network disconnect one {id}"));
            is_served("two");
            ok(&format!("network connect one {id} --gw-priority 5"));
            is_served("one");
            // After a flush, `repair` publishes the ports on the same network.
            if backend == "nftables" {
                assert!(Command::new("nft").args(["flush", "ruleset"]).status().unwrap().success());
                ok("repair");
                is_served("one");
            }
            ok(&format!("network disconnect one {id}"));
            is_served("two");
            ok(&format!("network disconnect two {id}"));
            assert!(ask_tcp(None, &format!("{UPLINK_V4}:8080")).is_err());
            drop((flow, netns));
            for name in ["one", "two"] {
                fs::remove_file(format!("{NETWORKS}/20-{name}.conflist")).unwrap();
            }
            // iptables' own tables stay, as after any program that has used iptables.
            if backend == "iptables" {
                assert!(Command::new("nft").args(["flush", "ruleset"]).status().unwrap().success());
            }
        }
    });
}

/// `network disconnect` is killed between any two of its steps: a second call and `repair` complete it
#[test]
fn ports_survive_that_disconnect_is_killed() {
    story(|host| {
        ok("network create n");
        ok("network create m");
        let mut kills = 0;
        stays("--name web --network n -p 8080:80", &serving(80, "web"));
        let ports = ok("port web");
        // Between any two changes, the program makes one of these system calls.
        for call in ["rename", "execve", "unlink", "close"] {
            for at in (1..40).step_by(if call == "close" { 9 } else { 1 }) {
                ok("network connect m web");
                let mut strace = Command::new("strace");
                let inject = format!("inject={call}:signal=KILL:when={at}");
                strace
                    .args(["-f", "-qq", "-o", "/dev/null", "-e", &inject])
                    .arg(crate::shared::programs::CLEAT);
                strace.args(["network", "disconnect", "n", "web"]);
                let prepared = cleat(&[]);
                strace.envs(prepared.get_envs().filter_map(|(key, value)| Some((key, value?))));
                let was_killed = !strace.output().unwrap().status.success();
                // A second call, which fails where the first one had disconnected already.
                let _ = cleat(&["network", "disconnect", "n", "web"]).output().unwrap();
                let _ = cleat(&["repair"]).output().unwrap();
                is_served_by(host, "web", "m", &ports);
                ok("network connect n web");
                ok("network disconnect m web");
                is_served_by(host, "web", "n", &ports);
                if !was_killed {
                    break;
                }
                kills += 1;
            }
        }
        assert!(kills > 5, "killed {kills} times only");
        gone("web");
        ok("network rm n m");
    });
}

/// libnetwork#2607: a port on an address of a family that the network lacks
#[test]
fn a_port_that_would_lead_nowhere_is_refused() {
    story(|_| {
        ok("network create four");
        for port in ["[::1]:8084:80", "[2001:db8::1]:8085:80", "[::]:8086:80"] {
            let output =
                cleat(&["run", "-d", "--name", "e", "--network", "four", "-p", port, "--", "true"]).output();
            let output = output.unwrap();
            let text = said(&output);
            assert_eq!(output.status.code(), Some(125), "{text}");
            assert!(
                text.contains("network four has no IPv6 addresses") && text.contains("IPv6 subnet"),
                "{text}"
            );
        }
        ok("network create --ipv6 dual");
        stays("--name e --network dual -p [::1]:8084:80 -p 8085:80", &serving(80, "e"));
        eventually("the port", || ask_tcp(None, "[::1]:8084").is_ok());
        // On a network without IPv6, a port of an IPv6 address is not shown.
        ok("network connect four e");
        ok("network disconnect dual e");
        assert_eq!(ok("port e"), "80/tcp -> 0.0.0.0:8085\n");
        ok("check");
        gone("e");
        ok("network rm four dual");
    });
}
