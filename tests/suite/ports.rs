//! Ports that host-port publishes when a runtime calls it: races, kills, and connections as soon as ADD and DEL return.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sandbox::traffic::{Datagrams, ask_tcp, ask_udp, serve_tcp, serve_udp};
use sandbox::{Call, Host, Namespaced, Snapshot, UPLINK_V4, UPLINK_V6, isolated};
use serde_json::{Value, json};

use crate::shared::bridge::{add, call, conf};
use crate::shared::programs::HOST_PORT;

/// A configuration that publishes `mappings` of a container that `bridge` attached with this result.
fn publishing(result: &Value, mappings: &Value) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "net", "type": "host-port", "prevResult": result,
        "runtimeConfig": {"portMappings": mappings}
    })
}

fn host_port(command: &str, conf: &Value, netns: &Namespaced) -> Call {
    Call::new(HOST_PORT, command, conf).of(netns.name(), netns, "eth0")
}

fn detach(conf: &Value, netns: &Namespaced) {
    host_port("DEL", conf, netns).without("CNI_NETNS").run().silent();
    call("DEL", &crate::shared::bridge::conf(), netns.name(), netns).run().silent();
}

/// A port answers as soon as ADD returns, and is refused as soon as DEL returns: a hundred containers, one port.
#[test]
fn what_add_published_answers_at_once_and_not_after_del() {
    isolated(|| {
        let host = Host::new();
        // By default the kernel sends a host "port unreachable" at most once a second (icmp(7)).
        for limit in ["ipv4/icmp_ratelimit", "ipv6/icmp/ratelimit"] {
            std::fs::write(format!("/proc/sys/net/{limit}"), "0").unwrap();
        }
        // The bridge stays, as it does on a node that has other containers.
        let stays = Namespaced::new("stays");
        add(&conf(), "stays", &stays);
        let outside = Some(&host.outside);
        let (v4, v6) = (format!("{UPLINK_V4}:8080"), format!("[{UPLINK_V6}]:8080"));
        let never_rests = [Datagrams::new(outside, &v4), Datagrams::new(outside, &v6)];
        for n in 0..100 {
            let netns = Namespaced::new(&format!("c{n}"));
            serve_tcp(Some(&netns), netns.name(), "[::]:80");
            let result = add(&conf(), netns.name(), &netns);
            for ip in result["ips"].as_array().unwrap() {
                let address = ip["address"].as_str().unwrap().split('/').next().unwrap();
                let shown = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
                serve_udp(Some(&netns), netns.name(), &format!("{shown}:80"));
            }
            let mappings = json!([
                {"hostPort": 8080, "containerPort": 80},
                {"hostPort": 8080, "containerPort": 80, "protocol": "udp"},
            ]);
            let conf = publishing(&result, &mappings);
            assert_eq!(host_port("ADD", &conf, &netns).run().result()["ips"], result["ips"]);
            // IPv6 comes first in every other round: where anything is not ready yet, the first packet is the one that is lost.
            let order = if n % 2 == 0 { [&v4, &v6] } else { [&v6, &v4] };
            for address in order {
                let start = Instant::now();
                let answer = ask_tcp(outside, address).unwrap();
                assert!(answer.starts_with(&format!("c{n} sees ")), "{answer}");
                assert!(ask_udp(outside, address).unwrap().starts_with(&format!("c{n} sees ")));
                // A lost packet costs a second.
                assert!(
                    start.elapsed() < Duration::from_millis(900),
                    "{:?} by {address}, {n}",
                    start.elapsed()
                );
            }
            for flow in &never_rests {
                assert!(flow.ask().unwrap().starts_with(&format!("c{n} sees ")));
            }
            detach(&conf, &netns);
            for (address, flow) in [&v4, &v6].into_iter().zip(&never_rests) {
                let refused = ask_tcp(outside, address).unwrap_err();
                assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{address} after DEL {n}");
                let refused = flow.ask().unwrap_err();
                assert_eq!(
                    refused.kind(),
                    std::io::ErrorKind::ConnectionRefused,
                    "udp {address} after DEL {n}"
                );
            }
        }
    });
}

#[test]
fn of_two_hundred_that_want_one_port_exactly_one_gets_it() {
    isolated(|| {
        let _host = Host::new();
        let before = Snapshot::take();
        let containers: Vec<(Namespaced, Value)> = (0..200)
            .map(|n| {
                let netns = Namespaced::new(&format!("c{n}"));
                let result = add(&conf(), netns.name(), &netns);
                let conf = publishing(&result, &json!([{"hostPort": 8080, "containerPort": 80}]));
                (netns, conf)
            })
            .collect();
        let mut winners = Vec::new();
        let mut refusals: BTreeMap<(u64, String), usize> = BTreeMap::new();
        thread::scope(|scope| {
            let calls: Vec<_> = containers
                .iter()
                .map(|(netns, conf)| scope.spawn(move || (netns.name(), host_port("ADD", conf, netns).run())))
                .collect();
            for call in calls {
                let (name, answer) = call.join().unwrap();
                if answer.output().status.success() {
                    winners.push(name.to_owned());
                } else {
                    *refusals.entry(answer.error()).or_default() += 1;
                }
            }
        });
        assert_eq!(winners.len(), 1, "{winners:?} {refusals:?}");
        let said = format!(
            "port 0.0.0.0:8080/tcp is published by container {} on network net (publish another host port, or remove \
             that container first)",
            winners[0]
        );
        assert_eq!(refusals, BTreeMap::from([((102, said), 199)]));
        for (netns, conf) in &containers {
            detach(conf, netns);
        }
        drop(containers);
        before.assert_unchanged();
    });
}

/// Whatever is left after a kill at any system call of an ADD or a DEL, the next DEL removes.
#[test]
fn whatever_kills_it_the_next_del_leaves_nothing() {
    isolated(|| {
        let _host = Host::new();
        let netns = Namespaced::new("web");
        let result = add(&conf(), "web", &netns);
        let conf = publishing(
            &result,
            &json!([
                {"hostPort": 8080, "containerPort": 80},
                {"hostPort": 0, "containerPort": 53, "protocol": "udp"},
            ]),
        );
        let settings = || {
            ["ipv4/conf/br0/route_localnet", "ipv6/conf/lo/disable_ipv6"]
                .map(|name| std::fs::read_to_string(format!("/proc/sys/net/{name}")).unwrap())
        };
        let before = (once_settled(), settings());
        for command in ["ADD", "DEL"] {
            let mut kills = 0;
            for name in
                ["openat", "read", "write", "socket", "bind", "sendto", "sendmsg", "recvfrom", "close"]
            {
                let mut at = 1;
                loop {
                    if command == "DEL" {
                        let made = host_port("ADD", &conf, &netns).run().result();
                        assert_eq!(made["ips"], result["ips"]);
                    }
                    let was_killed = killed_at(name, at, command, &conf, &netns);
                    host_port("DEL", &conf, &netns).without("CNI_NETNS").run().silent();
                    before.0.assert_unchanged();
                    assert_eq!(settings(), before.1, "after {command} was killed at {name} {at}");
                    if !was_killed {
                        break;
                    }
                    at += 1;
                    kills += 1;
                }
            }
            assert!(kills > 50, "{command} was killed at {kills} system calls only");
        }
    });
}

/// The host's state once it is stable: the kernel may give the container's veth a link-local address, which takes a second.
fn once_settled() -> Snapshot {
    thread::sleep(Duration::from_secs(3));
    Snapshot::take()
}

/// Kills the program at its Nth system call of that name. Returns false where it ended before.
fn killed_at(name: &str, number: usize, command: &str, conf: &Value, netns: &Namespaced) -> bool {
    let mut strace = Command::new("strace");
    strace
        .args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &format!("inject={name}:signal=KILL:when={number}"),
            HOST_PORT,
        ])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("CNI_COMMAND", command)
        .env("CNI_PATH", "/")
        .env("CNI_CONTAINERID", netns.name())
        .env("CNI_NETNS", netns.path())
        .env("CNI_IFNAME", "eth0");
    let output = sandbox::run(strace.stderr(Stdio::piped()), conf.to_string().as_bytes());
    let is_killed = output.status.signal() == Some(9) || output.status.code() == Some(128 + 9);
    assert!(is_killed || output.status.success(), "{output:?}");
    is_killed
}
