//! The story of docs/overlay.md by `cleat`, with the real agent: create, join, see, use, leave.

use std::process::Output;

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Namespaced, isolated};
use serde_json::Value;

use crate::cluster::{Cluster, ENGINE, NET};
use crate::host::{Host, said, until};
use crate::programs::program;

/// The programs that `cleat` and the plugins call.
fn cleat(host: &Host, line: &str) -> Output {
    for name in ["bridge", "host-local", "host-port", "link-env"] {
        program(name);
    }
    let args: Vec<&str> = line.split(' ').collect();
    host.run(&program("cleat"), &args, "")
}

/// What it prints. It must succeed.
fn done(host: &Host, line: &str) -> String {
    let output = cleat(host, line);
    assert!(output.status.success(), "cleat {line}: {}\n{}", said(&output), host.log());
    String::from_utf8(output.stdout).unwrap()
}

/// What it says when it fails, with that exit code.
fn fails(host: &Host, code: i32, line: &str) -> String {
    let output = cleat(host, line);
    assert_eq!(output.status.code(), Some(code), "cleat {line}: {}", said(&output));
    said(&output)
}

/// Attaches a namespace to the network, and returns its address.
fn add(host: &Host, name: &str) -> (Namespaced, String) {
    let netns = Namespaced::new(name);
    let result: Value = serde_json::from_str(&done(host, &format!("add {NET} /run/netns/{name}"))).unwrap();
    serve_tcp(Some(&netns), name, "[::]:80");
    let address = result["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap().to_owned();
    (netns, address)
}

#[test]
fn three_hosts_by_five_commands_and_back() {
    isolated(|| {
        let cluster = Cluster::bare();
        let [one, two, three] = &cluster.hosts;
        let before = one.kernel();
        cluster.hosts.iter().for_each(|host| host.start());
        done(
            one,
            &format!("network create -d overlay --engine etcd://{ENGINE} --subnet 10.201.0.0/16 {NET}"),
        );
        for host in [two, three] {
            done(host, &format!("network join --engine etcd://{ENGINE} {NET}"));
        }
        cluster.hosts.iter().for_each(|host| host.has_peers(2));
        let containers = cluster.hosts.each_ref().map(|host| add(host, &format!("on-{}", host.name())));
        for (from, _) in &containers {
            for (to, address) in &containers {
                let seen = ask_tcp(Some(from), &format!("{address}:80")).unwrap();
                assert!(seen.starts_with(to.name()), "{seen}");
            }
        }

        let nodes: Value = serde_json::from_str(&done(two, &format!("node ls --json {NET}"))).unwrap();
        let names: Vec<_> =
            nodes.as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["host1", "host2", "host3"]);
        let table = done(two, "node ls");
        assert!(table.contains("198.51.100.3") && table.contains("10.201."), "{table}");
        let shown = done(two, &format!("network inspect {NET}"));
        assert!(shown.contains("10.201.0.0/16") && shown.contains("host3"), "{shown}");
        for host in &cluster.hosts {
            done(host, "check");
            done(host, &format!("status {NET}"));
        }

        // An agent that has ended is seen by `check` alone.
        two.kill();
        let told = fails(two, 1, "check");
        assert!(told.contains("cleat-overlay"), "{told}");
        assert!(ask_tcp(Some(&containers[0].0), &format!("{}:80", containers[1].1)).is_ok());
        let refused = fails(one, 1, "node rm host2");
        assert!(refused.contains("--force"), "{refused}");
        two.start();
        two.is("watching");
        done(two, "check");

        let refused = fails(three, 1, &format!("network leave {NET}"));
        assert!(refused.contains("is on it"), "{refused}");
        for (host, name) in [(three, "on-host3"), (two, "on-host2"), (one, "on-host1")] {
            done(host, &format!("del {NET} /run/netns/{name}"));
        }
        done(three, &format!("network leave {NET}"));
        cluster.hosts[..2].iter().for_each(|host| host.has_peers(1));
        done(two, &format!("network leave {NET}"));
        done(one, &format!("network rm {NET}"));
        assert_eq!(cluster.keys(), [] as [&str; 0]);
        for host in &cluster.hosts {
            until("nothing is left of the network", || host.kernel() == before);
            assert_eq!(
                host.sh("ls -A /etc/cni/net.d /etc/cleat/overlay /var/lib/cleat/overlay")
                    .matches(NET)
                    .count(),
                0
            );
            assert!(host.run_file().is_none());
        }
    });
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    isolated(|| {
        let cluster = Cluster::bare();
        let host = &cluster.hosts[0];
        host.start();
        let folders = || host.sh("find /etc/cni /etc/cleat /run/cleat /var/lib/cleat ! -type d | sort");
        let (files, kernel) = (folders(), host.kernel());
        host.sh("ip link add local0 type bridge; ip addr add 10.77.0.1/24 dev local0; ip link set local0 up");
        for (line, words) in [
            (format!("network create -d overlay {NET}"), "--engine"),
            (format!("network create -d overlay --engine etcd://198.51.100.99 {NET}"), "198.51.100.99"),
            (
                format!("network create -d overlay --engine etcd://{ENGINE} --subnet 10.77.0.0/16 {NET}"),
                "10.77.0",
            ),
            (format!("network join --engine etcd://{ENGINE} {NET}"), NET),
            (format!("network create -d overlay --engine etcd://{ENGINE} -o encrypted {NET}"), "ireguard"),
        ] {
            let told = fails(host, 1, &line);
            assert!(told.to_lowercase().contains(&words.to_lowercase()), "{line}: {told}");
            assert_eq!((folders(), host.kernel()), (files.clone(), kernel.clone()), "{line}");
            assert_eq!(cluster.keys(), [] as [&str; 0], "{line}");
        }
    });
}
