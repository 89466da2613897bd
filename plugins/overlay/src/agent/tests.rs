//! Tasks of several hosts with Debian's etcd: each has a network namespace of its own on one wire, and folders of its own.

#![allow(clippy::disallowed_methods, reason = "tests start programs")]

mod cluster;
mod encrypted;

use std::fs;
use std::process::Command as Process;
use std::thread;
use std::time::Duration;

use super::{Command, State};
use cluster::{Cluster, DEVICE, Host, OTHER, all_reach, eventually, network, three};

#[test]
fn three_nodes_reach_each_other_and_one_comes_back_without_the_engine() {
    sandbox::isolated(|| {
        let (mut cluster, mut hosts) = three();
        all_reach(&hosts);
        let before = hosts[0].status();
        assert_eq!((before.mtu, before.repairs, before.engine.up), (Some(1450), 0, true));
        assert!(before.local_done && before.listed && before.held.is_empty());
        let mut keys = cluster.keys();
        keys.retain(|key| !key.starts_with("blocks/"));
        assert_eq!(
            keys,
            [
                "alive/node1",
                "alive/node2",
                "alive/node3",
                "config",
                "nodes/node1",
                "nodes/node2",
                "nodes/node3"
            ]
        );

        // What others take away is put back.
        assert!(hosts[0].run(&format!("ip link set {DEVICE} down && ip link set {DEVICE} up")));
        hosts[0].until("repaired", |status| status.repairs > 0);
        eventually("the routes are back", || hosts[0].reaches(&hosts[1]) && hosts[1].reaches(&hosts[0]));

        thread::sleep(Duration::from_millis(300));
        hosts[0].stop();
        assert!(hosts[0].run_file().exists() && hosts[0].reaches(&hosts[2]), "nothing changes when it stops");
        cluster.etcd.kill();
        assert!(hosts[0].run(&format!("ip link del {DEVICE}; nft delete table inet cleat_overlay")));
        fs::remove_file(hosts[0].run_file()).unwrap();
        hosts[0].start();
        let status = hosts[0].until("it waits", |status| status.state == State::WaitingEngine);
        assert!(status.engine.stale_since.is_some() && !status.engine.up && status.local_done, "{status:#?}");
        assert_eq!((&status.blocks, status.mtu, status.peers.len()), (&before.blocks, before.mtu, 2));
        assert!(hosts[0].run_file().exists());
        all_reach(&hosts);

        // The data are gone: the nodes put theirs back.
        cluster.etcd.wipe();
        cluster.etcd.restart();
        cluster.etcd.await_health();
        eventually("all is back", || cluster.keys().len() == 10);
        for host in &hosts {
            let status = host.joined(2);
            assert_eq!((status.engine.up, status.engine.stale_since), (true, None));
        }
        assert_eq!(hosts[0].status().blocks, before.blocks);
        all_reach(&hosts);
    });
}

#[test]
fn a_node_that_lost_its_state_has_its_block_again_and_its_containers_are_no_obstacle() {
    sandbox::isolated(|| {
        let (_cluster, mut hosts) = three();
        let block = hosts[0].status().blocks[0];
        let gateway = block.iter().nth(1).unwrap();
        let bridge =
            format!("ip link add br0 type bridge && ip addr add {gateway}/24 dev br0 && ip link set br0 up");
        assert!(hosts[0].run(&bridge));
        thread::sleep(Duration::from_millis(300));
        for what in ["torn", "gone"] {
            hosts[0].stop();
            let state = hosts[0].folder().join("var/lib/cleat/overlay/wide/state.json");
            if what == "torn" {
                let whole = fs::read(&state).unwrap();
                fs::write(&state, &whole[..whole.len() / 2]).unwrap();
            } else {
                fs::remove_file(&state).unwrap();
            }
            // An entry that is taken away and put back is told.
            let log = format!("/run/{what}");
            let monitor = format!("ip monitor route neigh dev {DEVICE} >{log}");
            let monitor = hosts[0]
                .namespace
                .enter(|| Process::new("sh").args(["-c", &format!("exec {monitor}")]).spawn());
            let mut monitor = monitor.unwrap();
            thread::sleep(Duration::from_millis(200));
            hosts[0].start();
            assert_eq!(hosts[0].joined(2).blocks, [block], "{what}");
            all_reach(&hosts);
            monitor.kill().unwrap();
            monitor.wait().unwrap();
            assert!(!fs::read_to_string(log).unwrap().contains("eleted"), "{what}");
            eventually("it is kept again", || state.exists());
        }
    });
}

#[test]
fn a_node_goes_and_many_at_once_do_not() {
    sandbox::isolated(|| {
        let (cluster, mut hosts) = three();
        for host in &mut hosts[1..] {
            host.stop();
        }
        cluster.delete("nodes/");
        let status = hosts[0].until("held", |status| !status.held.is_empty());
        assert_eq!(status.held, ["node2", "node3"]);
        assert!(status.reason.unwrap().contains("cleat node sync --force wide"));
        assert!(hosts[0].reaches(&hosts[1]));
        eventually("its own record is back", || cluster.keys().contains(&"nodes/node1".to_owned()));
        hosts[1].start();
        hosts[0].until("one is back", |status| status.held == ["node3"]);
        hosts[0].commands.blocking_send(Command::Sync { force: true }).unwrap();
        let status = hosts[0].until("the other is gone", |status| status.held.is_empty());
        assert_eq!((status.peers.len(), status.reason), (1, None));
        assert!(hosts[0].reaches(&hosts[1]) && !hosts[0].reaches(&hosts[2]));
    });
}

#[test]
fn a_block_that_was_given_away_is_a_conflict_until_no_container_has_an_address_of_it() {
    sandbox::isolated(|| {
        let (cluster, hosts) = three();
        let block = hosts[0].status().blocks[0];
        let leases = hosts[0].folder().join("var/lib/cni/networks/net");
        fs::create_dir_all(&leases).unwrap();
        let lease = leases.join(block.iter().nth(2).unwrap().to_string());
        fs::write(&lease, "container\neth0").unwrap();
        let key = format!("blocks/{}-{}", block.network(), block.prefix());
        cluster.put(&key, r#"{"node":"other","machine":"00000000000000000000000000000009"}"#);
        let status = hosts[0].until("conflict", |status| status.state == State::Conflict);
        assert!(status.reason.unwrap().contains("given to node other"));
        assert!(!hosts[0].run_file().exists() && hosts[0].reaches(&hosts[1]), "traffic goes on");

        fs::remove_file(&lease).unwrap();
        hosts[0].commands.blocking_send(Command::Sync { force: false }).unwrap();
        let status = hosts[0].until("another block", |status| status.state == State::Watching);
        assert_ne!(status.blocks, [block]);
        for other in &hosts[1..] {
            other.until("told", |of| of.peers.iter().any(|peer| peer.blocks == status.blocks));
        }
        eventually("the file is back", || hosts[0].run_file().exists());
        all_reach(&hosts);
    });
}

#[test]
fn the_device_follows_the_interface() {
    sandbox::isolated(|| {
        let (cluster, hosts) = three();
        assert!(hosts[0].run("ip link set eth0 mtu 1400"));
        hosts[0].until("lower", |status| status.mtu == Some(1350));
        hosts[1].until("told", |status| status.peers[0].mtu == 1350);
        eventually("the plugins know", || {
            fs::read_to_string(hosts[0].run_file()).unwrap().contains("\"mtu\":1350")
        });
        assert!(hosts[0].run(
            "ip addr del 198.51.100.1/24 dev eth0 && sleep 0.3 && ip addr add 198.51.100.41/24 dev eth0"
        ));
        hosts[1].until("its new address", |status| status.peers[0].address == "198.51.100.41".parse().ok());
        eventually("they reach it", || hosts[1].reaches(&hosts[0]));
        all_reach(&hosts);
        let record = cluster.etcd.etcdctl(&["get", "--print-value-only", "/cleat/v1/wide/nodes/node1"]);
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        assert!(record["incarnation"].as_u64().unwrap() > 2, "{record}");
    });
}

#[test]
fn another_network_and_another_node_of_the_same_name_are_refused() {
    sandbox::isolated(|| {
        let cluster = Cluster::new();
        let mut host = Host::new(1);
        let before = host.joined(0);
        thread::sleep(Duration::from_millis(300));
        host.stop();
        cluster.put("config", &network(OTHER, 24));
        host.start();
        let status = host.until("refused", |status| status.state == State::Refused);
        assert!(status.reason.unwrap().contains("cleat network join --force wide"));
        assert!(host.run_file().exists() && status.blocks == before.blocks && status.local_done);
        host.stop();
        // The cure: what is of the old network goes.
        host.start_with(|conf| conf.id = Some(OTHER.to_owned()));
        let status = host.joined(0);
        assert_eq!((status.id.as_deref(), status.device.as_deref()), (Some(OTHER), Some("vx-0b5e7c1d")));
        assert!(!host.run(&format!("ip link show {DEVICE}")));
        host.stop();

        let record = r#"{"machine":"00000000000000000000000000000009","addresses":["198.51.100.9"],
            "mac":"02:00:00:00:00:09","blocks":["10.201.200.0/24"],"mtu":1450,"version":"0","incarnation":1}"#;
        cluster.put("nodes/node1", record);
        host.start_with(|conf| conf.id = Some(OTHER.to_owned()));
        let status = host.until("conflict", |status| status.state == State::Conflict);
        assert!(status.reason.unwrap().contains("cleat node rm"));
        // One that never had a block does not claim any.
        let keys = cluster.keys();
        let mut twin = Host::without_task(2);
        twin.start_with(|conf| {
            conf.id = Some(OTHER.to_owned());
            conf.public = "198.51.100.9".parse().ok();
        });
        let status = twin.until("conflict", |status| status.state == State::Conflict);
        assert!(status.reason.unwrap().contains("198.51.100.9"));
        assert!(!twin.run("ip link show vx-0b5e7c1d") && !twin.run_file().exists());
        let is_claimed = |key: &String| !key.starts_with("alive/") && !keys.contains(key);
        assert!(!cluster.keys().iter().any(is_claimed));
        cluster.delete("nodes/node1");
        twin.joined(1);
        host.joined(1);
        host.stop();
    });
}

#[test]
fn a_network_that_meets_the_hosts_routes_or_is_full_changes_nothing() {
    sandbox::isolated(|| {
        let cluster = Cluster::new();
        let mut met = Host::without_task(1);
        assert!(met.run("ip route add 10.201.64.0/18 via 198.51.100.9"));
        met.start();
        let status = met.until("refused", |status| status.state == State::Refused);
        assert!(status.reason.as_ref().unwrap().contains("10.201.64.0/18"), "{status:?}");
        assert!(!met.run(&format!("ip link show {DEVICE}")) && !met.run_file().exists());
        assert_eq!(cluster.keys(), ["config"]);
        assert!(met.run("ip route del 10.201.64.0/18"));
        met.commands.blocking_send(Command::Sync { force: false }).unwrap();
        met.joined(0);
        met.stop();
        cluster.delete("");

        cluster.create(17);
        let [first, second] = [2, 3].map(Host::new);
        first.joined(1);
        second.joined(1);
        let full = Host::new(4);
        let status = full.until("full", |status| status.state == State::Refused);
        assert!(status.reason.unwrap().contains("cleat node rm"));
        assert!(!full.run(&format!("ip link show {DEVICE}")) && !full.run_file().exists());
        cluster.delete("nodes/node3");
        let block = second.status().blocks[0];
        drop(second.task);
        second.commands.blocking_send(Command::Stop).unwrap();
        cluster.delete(&format!("blocks/{}-{}", block.network(), block.prefix()));
        full.joined(1);
    });
}
