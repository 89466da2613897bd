//! Encrypted networks. What needs a kernel with WireGuard is ignored here, and is run on Debian's: `make test-kernels`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use super::cluster::{Cluster, DEVICE, Host, all_reach, encrypted, eventually};
use crate::agent::{Command, State};

fn key_file(host: &Host) -> PathBuf {
    host.folder().join("var/lib/cleat/overlay/wide/key")
}

fn record(cluster: &Cluster, number: usize) -> Value {
    let key = format!("/cleat/v1/wide/nodes/node{number}");
    serde_json::from_str(&cluster.etcd.etcdctl(&["get", "--print-value-only", &key])).unwrap()
}

/// Where the kernel has it, the network works; where not, the node is told what to do, and takes no part.
#[test]
fn an_encrypted_network_is_refused_on_a_kernel_without_wireguard() {
    sandbox::isolated(|| {
        let cluster = Cluster::new();
        cluster.put("config", &encrypted());
        let host = Host::new(1);
        if host.run("ip link add probe type wireguard") {
            host.joined(0);
            return;
        }
        let status = host.until("refused", |status| status.state == State::Refused);
        let reason = status.reason.unwrap();
        assert!(reason.contains("encrypted") && reason.contains("modprobe wireguard"), "{reason}");
        assert_eq!(cluster.keys(), ["config"]);
        assert!(!host.run(&format!("ip link show {DEVICE}")) && !host.run_file().exists());
    });
}

#[test]
#[ignore = "needs a kernel with WireGuard: make test-kernels"]
fn three_nodes_of_an_encrypted_network() {
    sandbox::isolated(|| {
        let mut cluster = Cluster::new();
        cluster.put("config", &encrypted());
        let mut hosts = [1, 2, 3].map(Host::new);
        for host in &hosts {
            assert_eq!(host.joined(2).mtu, Some(1440));
            assert_eq!(fs::metadata(key_file(host)).unwrap().permissions().mode() & 0o7777, 0o600);
        }
        // A greeting that came too early is sent again after 5 s.
        for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 0)] {
            eventually("they reach each other", || hosts[from].reaches(&hosts[to]));
        }
        all_reach(&hosts);
        assert_eq!(hosts[0].status().reason, None);
        assert!(hosts[0].run(&format!("ip -d link show {DEVICE} | grep -q wireguard")));
        let published = record(&cluster, 1);
        assert!(published["key"].is_string() && published.get("mac").is_none(), "{published}");

        // After a reboot without the engine: the same key, and the peers of state.json.
        std::thread::sleep(std::time::Duration::from_secs(2));
        hosts[0].stop();
        cluster.etcd.kill();
        assert!(hosts[0].run(&format!("ip link del {DEVICE}")), "{:?}", hosts[0].status());
        hosts[0].start();
        hosts[0].until("it waits", |status| status.state == State::WaitingEngine && status.peers.len() == 2);
        eventually("they reach each other again", || {
            hosts[0].reaches(&hosts[1]) && hosts[2].reaches(&hosts[0])
        });
        cluster.etcd.restart();
        cluster.etcd.await_health();
        hosts[0].joined(2);
        assert_eq!(record(&cluster, 1)["key"], published["key"]);

        // Another key: the others follow.
        hosts[0].stop();
        fs::remove_file(key_file(&hosts[0])).unwrap();
        hosts[0].start();
        let status = hosts[0].until("its device has the old one", |status| status.reason.is_some());
        assert!(status.reason.as_ref().unwrap().contains("another key"), "{status:?}");
        assert!(hosts[0].run(&format!("ip link del {DEVICE}")));
        hosts[0].commands.blocking_send(Command::Sync { force: false }).unwrap();
        eventually("it publishes the new one", || record(&cluster, 1)["key"] != published["key"]);
        hosts[0].joined(2);
        eventually("they reach each other with it", || {
            hosts[0].reaches(&hosts[1]) && hosts[2].reaches(&hosts[0])
        });

        // A node whose record has no key is told of, and gets nothing.
        let mut keyless = record(&cluster, 3);
        keyless.as_object_mut().unwrap().remove("key");
        hosts[2].stop();
        cluster.put("nodes/node3", &keyless.to_string());
        let is_told = |host: &Host| {
            host.status()
                .peers
                .iter()
                .any(|peer| peer.reason.as_ref().is_some_and(|why| why.contains("public key")))
        };
        eventually("it is told", || is_told(&hosts[0]));
    });
}
